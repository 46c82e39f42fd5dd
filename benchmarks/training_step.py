"""What training costs, and what its caches save: tiles decoded or mapped, features computed or cached, and a step.

    python benchmarks/training_step.py [--backbone efficientnet-lite0] [--weights imagenet] [--spots 256]
        [--batch 64] [--repeats 5] [--json FILE]

A made-up section over the demo slide. Steps are forward, loss, backward and AdamW, once on cached features of the
frozen backbone (head only) and once through the whole tower on cached tiles. Medians; ratios to the dearer way of
each pair.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from side_by_side import median, report
from torch.nn import functional as F

from bleep_cli.base.assets import DEMO_SLIDE, asset
from bleep_cli.types import Section, TileSpec
from bleep_train.config.schema import LossConfig, ModelConfig
from bleep_train.data.tile_cache import cached_tiles
from bleep_train.model.loss import ContrastiveLoss
from bleep_train.model.towers import Towers, build_towers
from bleep_train.training.frozen import cached_features
from bleep_train.training.source import FeatureSource, TileSource

PX, UM, GENES = 224, 112.0, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet-lite0")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--spots", type=int, default=256)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    towers = build_towers(ModelConfig(backbone=arguments.backbone, weights=arguments.weights), 1, GENES)
    section = made_up_section(arguments.spots)
    times: dict[str, list[float]] = {name: [] for name in PAIRS}
    for _ in range(arguments.repeats):
        with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
            for how, seconds in one_round(towers, section, Path(name), arguments.batch).items():
                times[how].append(seconds)
    rows = [
        {"what": how, "seconds": median(found, 4), "times_faster": median(ratio(times, how), 1)}
        for how, found in times.items()
    ]
    report(rows, arguments.json, backbone=arguments.backbone, spots=arguments.spots, batch=arguments.batch)


PAIRS = {  # each way, and the dearer way it is compared with
    "tiles decoded": "tiles decoded",
    "tiles mapped": "tiles decoded",
    "features computed (8 views)": "features computed (8 views)",
    "features mapped (8 views)": "features computed (8 views)",
    "step, whole tower": "step, whole tower",
    "step, head only": "step, whole tower",
}


def one_round(towers: Towers, section: Section, cache: Path, batch: int) -> dict[str, float]:
    """Seconds of each way, the caches empty at first."""
    spec, device, times = TileSpec(PX, (UM,)), torch.device("cpu"), {}
    for how in ("tiles decoded", "tiles mapped"):
        times[how], tiles = timed(lambda: [np.array(part) for part in cached_tiles([section], spec, cache)])
    for how in ("features computed (8 views)", "features mapped (8 views)"):
        times[how], features = timed(
            lambda: cached_features([section], towers.image.backbone, spec, cache, device)
        )
    sources = {"step, whole tower": TileSource(tiles, device), "step, head only": FeatureSource(features, device)}
    for how, source in sources.items():
        step = make_step(towers, source, batch, len(section.barcodes))
        step()
        times[how], _ = timed(step)
    return times


def ratio(times: dict[str, list[float]], how: str) -> list[float]:
    return [dear / cheap for dear, cheap in zip(times[PAIRS[how]], times[how], strict=True)]


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    out = work()
    return time.perf_counter() - start, out


def made_up_section(spots: int) -> Section:
    """Spots on a square over the middle of the demo slide, counts at random."""
    rng = np.random.default_rng(0)
    names = np.array([f"GENE{i}" for i in range(GENES)])
    counts = sparse.random(spots, GENES, 0.2, format="csr", dtype=np.float32, rng=rng)
    return Section(
        id="made-up",
        donor="nobody",
        sha256="0" * 64,
        counts=counts,
        symbols=names,
        gene_ids=names,
        barcodes=np.array([f"S{i}" for i in range(spots)]),
        xy_l0=rng.uniform(500, 1500, (spots, 2)),
        image=str(asset(DEMO_SLIDE)),
        mpp=None,
    )


def make_step(towers: Towers, source: FeatureSource | TileSource, batch: int, spots: int) -> Callable[[], None]:
    """One optimiser step on random spots."""
    model = towers.modules()
    model.train()
    loss_of = ContrastiveLoss(LossConfig(), 1)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    rng = np.random.default_rng(0)
    panel = torch.rand(spots, GENES)

    def step() -> None:
        rows = rng.choice(spots, batch, replace=False)
        image = source.embed(towers.image, rows, rng.integers(0, 8, batch))
        expression = towers.expression(panel[torch.from_numpy(rows)])
        pre = F.normalize(panel[torch.from_numpy(rows)], dim=1)
        optimiser.zero_grad()
        torch.as_tensor(loss_of(image, expression, pre)).backward()  # type: ignore[no-untyped-call]
        optimiser.step()

    return step


if __name__ == "__main__":
    main()
