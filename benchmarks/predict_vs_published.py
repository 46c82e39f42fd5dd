"""``bleep predict`` against the published pipeline rebuilt (``published.py``): same tower, tiles and reference.

    python benchmarks/predict_vs_published.py [--run RUN --ref BUNDLE] [--backbone resnet50] [--also BUNDLE ...]
        [--without-ref] [--slide SLIDE.tif | --side 6000] [--spots 2000] [--genes 3000] [--repeats 3] [--json FILE]

With ``--run`` and ``--ref`` the tower is a trained one (one field of view) and the reference its bundle; without,
an untrained backbone and a reference made up around its embeddings of the slide's tiles. ``--also`` names further
bundles, such as a student's; every bundle runs at each precision it holds. All predict at the same positions. Each
run is a process of its own, in turn; medians; ratios to the published pipeline of the same run.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
from made_up import write_reference, write_slide
from side_by_side import Measured, child, median, report

from bleep_cli.bundle.open import Bundle, open_bundle, stored_costs
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.types import TileSpec

HERE = Path(__file__).parent
PX, UM = 224, 112.0
PUBLISHED = "published, rebuilt"


@dataclass(frozen=True)
class Way:
    """One way to predict: its name, the command without its output, whether its tower is the published one's."""

    name: str
    command: list[str]
    same_tower: bool


def main() -> None:
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        slide = arguments.slide or write_slide(folder / "slide.tif", arguments.side)
        tower = {"run": arguments.run, "backbone": arguments.backbone, "weights": arguments.weights}
        ref = arguments.ref or made_up_reference(folder, tower, slide, arguments.spots, arguments.genes)
        tiles = write_task(folder, tower, open_bundle(ref), slide, arguments.k)
        ways = [Way(PUBLISHED, [sys.executable, str(HERE / "published.py"), str(folder)], True)]
        for bundle in (*([] if arguments.without_ref else [ref]), *arguments.also):
            ways += bleep_ways(bundle, ref, folder, slide, arguments.k)
        runs: dict[str, list[Measured]] = {way.name: [] for way in ways}
        for _ in range(arguments.repeats):
            for way in ways:
                runs[way.name].append(child([*way.command, *output_of(way, folder)]))
        told = tower | {"run": tower["run"] and Path(tower["run"]).name}
        report(rows_of(ways, runs, folder, tiles), arguments.json, slide=slide.name, tiles=tiles, tower=told)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", help="run folder of bleep-train with the tower of --ref")
    parser.add_argument("--ref", type=Path)
    parser.add_argument("--backbone", default="resnet50")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--also", type=Path, nargs="*", default=[])
    parser.add_argument("--without-ref", action="store_true", help="only the published pipeline and --also")
    parser.add_argument("--slide", type=Path, help="a TIFF; default a made-up one of --side")
    parser.add_argument("--side", type=int, default=6000)
    parser.add_argument("--spots", type=int, default=2000)
    parser.add_argument("--genes", type=int, default=3000)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if bool(arguments.run) != bool(arguments.ref):
        parser.error("--run and --ref go together")
    return arguments


def made_up_reference(folder: Path, tower: dict[str, Any], slide: Path, spots: int, genes: int) -> Path:
    """A bundle with an untrained tower, its spots around what the tower makes of the slide's own tiles."""
    import torch
    from published import make_tower

    from bleep_cli.slide.open import open_slide
    from bleep_cli.towers.encoder import OnnxEncoder
    from bleep_train.export.graph import to_onnx
    from bleep_train.export.towers import ImageGraph

    model = to_onnx(ImageGraph(make_tower(tower)), torch.zeros(2, PX, PX, 3, dtype=torch.uint8), "tiles")
    with closing(open_slide(slide)) as opened:
        places = np.random.default_rng(0).uniform(0, np.array(opened.size_l0) - PX, (64, 2)).round()
        tiles = np.stack([opened.read((x, y), (PX, PX), (PX, PX)) for x, y in places])
    vectors = OnnxEncoder(model, "cpu").embed(tiles)
    spec = TileSpec(PX, (UM,))
    return write_reference(folder / "made-up.zarr", spots, genes, tower=model, spec=spec, vectors=vectors)


def write_task(folder: Path, tower: dict[str, Any], bundle: Bundle, slide: Path, k: int) -> int:
    """What both read: positions of the tiles, and the reference in arrays. Returns the number of tiles."""
    spec, key = bundle.info.tile, bundle.info.key
    if len(spec.um) > 1:
        raise SystemExit("the published pipeline has one field of view; give a bundle with one")
    ready = plan(slide, bundle.info, PredictOptions(mpp=spec.mpp()))
    ready.slide.close()
    inside = np.array(ready.slide.size_l0) - spec.px / 2
    centres = np.floor(ready.grid.centre_l0)  # whole pixels, as the published pipeline cuts them
    centres = centres[((centres >= spec.px / 2) & (centres <= inside)).all(axis=1)]
    task = {"slide": str(slide), "centres": centres.tolist(), "px": spec.px, "k": k, "tower": tower}
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    expression = bundle.expression(None, 1 << 40)
    np.savez(folder / "reference.npz", embeddings=bundle.embeddings(key), expression=expression)
    lines = ["id,x,y", *(f"t{i},{x},{y}" for i, (x, y) in enumerate(centres))]
    (folder / "at.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(centres)


def bleep_ways(path: Path, ref: Path, folder: Path, slide: Path, k: int) -> list[Way]:
    """``bleep predict`` with a bundle at each precision it holds, one view, neighbours averaged as the published
    pipeline does; the slide has the scale of ``ref``."""
    bundle, mpp = open_bundle(path), open_bundle(ref).info.tile.mpp()
    command = [sys.executable, "-m", "bleep_cli.cli", "-q", "predict", str(slide), "--ref", str(path)]
    command += ["--at", str(folder / "at.csv"), "--mpp", str(mpp), "-k", str(k), "--views", "1"]
    command += ["--aggregation", "average", "--format", "h5ad", "--device", "cpu", "--force"]
    held = ["fp32", *(p for p in stored_costs(bundle.root) if p == "int8")]
    return [Way(f"bleep {path.name} {p}", [*command, "--precision", p], path == ref) for p in held]


def output_of(way: Way, folder: Path) -> list[str]:
    if way.name == PUBLISHED:
        return [str(folder / "published.npz")]
    return ["-o", str(folder / way.name.replace(" ", "-").replace("/", "-"))]


def rows_of(
    ways: Sequence[Way], runs: dict[str, list[Measured]], folder: Path, tiles: int
) -> list[dict[str, Any]]:
    """A row per way; neighbours and expression are compared where the tower is the same."""
    base = runs[PUBLISHED]
    published = np.load(folder / "published.npz", allow_pickle=False)
    rows = []
    for way in ways:
        found = runs[way.name]
        row = {
            "way": way.name,
            "wall_s": median([run.wall_s for run in found], 2),
            "cpu_s": median([run.cpu_s for run in found], 2),
            "peak_rss_mb": round(median([run.rss_mb for run in found])),
            "tiles_per_s": round(tiles / median([run.wall_s for run in found]), 1),
            "times_faster": median([b.wall_s / run.wall_s for b, run in zip(base, found, strict=True)], 2),
            "less_cpu": median([b.cpu_s / run.cpu_s for b, run in zip(base, found, strict=True)], 2),
            "same_neighbours": None,
            "largest_difference": None,
        }
        if way.same_tower and way.name != PUBLISHED:
            [table] = Path(output_of(way, folder)[1]).glob("*.h5ad")
            adata = anndata.read_h5ad(table)
            row |= agreement(adata, published)
        rows.append(row)
    return rows


def agreement(adata: Any, published: Any) -> dict[str, float]:
    """Share of the K neighbours in common, and the largest difference of the expression."""
    order = np.argsort([int(str(name).rsplit("t", 1)[1]) for name in adata.obs["tile_id"]])
    ours, theirs = np.asarray(adata.obsm["neighbours"])[order], published["index"]
    shared = [len(np.intersect1d(a, b)) / len(b) for a, b in zip(ours, theirs, strict=True)]
    difference = np.abs(np.asarray(adata.X)[order] - published["predicted"]).max()
    return {"same_neighbours": round(float(np.mean(shared)), 4), "largest_difference": float(f"{difference:.1e}")}


if __name__ == "__main__":
    main()
