"""What a GPU makes of training and of frozen features, measured with the code that trains.

    python benchmarks/on_gpu.py [--json FILE] [--seconds 40] [--toy]

Needs torch, torchvision and numpy beside this checkout, which need not be installed, and nothing from a network:
tiles are noise, weights are random, and time depends on neither. Under eight minutes on one GPU; ``--seconds``
bounds what a row of training takes. ``--toy`` is the same at toy size, for a CPU.

Training is the preset ``paper`` (ResNet50 whole, batches of 512): an epoch of 6,992 spots, three sections of the
paper's liver; where that takes longer than ``--seconds``, some of its steps, and the epoch by proportion. Loss and
gradients of one batch without dropout are compared with the CPU's, and both with float64. Features are those of
``training/frozen.py``. ``torchrun`` starts one rank over NCCL (gloo without a GPU) that goes the way of several:
DDP, gathered embeddings, synchronised batch norms.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "train")]

import numpy as np  # noqa: E402
import torch  # noqa: E402
from side_by_side import machine, table  # noqa: E402
from torch import Tensor, nn  # noqa: E402

from bleep_cli.towers.encoder import ALL_VIEWS  # noqa: E402
from bleep_cli.types import F32, F64, I64, U8  # noqa: E402
from bleep_train.backbones.build import build_backbone  # noqa: E402
from bleep_train.config.schema import Config  # noqa: E402
from bleep_train.config.toml import load_config  # noqa: E402
from bleep_train.model.towers import build_towers  # noqa: E402
from bleep_train.training.batches import Batch  # noqa: E402
from bleep_train.training.distributed import Group, join_group, pick_device  # noqa: E402
from bleep_train.training.frozen import FeatureExtractor  # noqa: E402
from bleep_train.training.gradcache import Pair  # noqa: E402
from bleep_train.training.loop import (  # noqa: E402
    TrainingState,
    assemble,
    batch_gradients,
    compiled,
    train_epoch,
)
from bleep_train.training.source import TileSource  # noqa: E402

WARM_STEPS = 2
NEAR = 4.0  # times the CPU's own distance from float64: two orders of summation differ by no more
MB = 1e6


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    px: int
    backbone: str
    spots: int
    batch: int
    micro: int
    genes: int
    compared: int
    """Tiles of the batch whose gradients are compared with the CPU's."""
    features: tuple[str, ...]
    feature_batches: tuple[int, ...]


REAL = Size(224, "resnet50", 6992, 512, 64, 3467, 16, ("efficientnet-lite0", "resnet50", "vit_b_16"), (32, 256))
TOY = Size(32, f"file:{__file__}", 24, 8, 4, 40, 8, (f"file:{__file__}",), (4,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--seconds", type=float, default=40.0)
    parser.add_argument("--toy", action="store_true")
    parser.add_argument("--rank-of-one", type=Path, help=argparse.SUPPRESS)  # what torchrun starts
    arguments = parser.parse_args()
    size = TOY if arguments.toy else REAL
    if arguments.rank_of_one:
        arguments.rank_of_one.write_text(json.dumps(of_one_rank(size)), encoding="utf-8")
        return
    device, start = pick_device(), time.perf_counter()
    record: dict[str, Any] = {
        "machine": machine(),
        "device": told(device),
        "size": {**vars(size), "backbone": size.backbone.partition(":")[0]},
    }
    for name, rows in (
        ("training", training(size, device, arguments.seconds)),
        ("gradients", compared(size, device)),
        ("features", features(size, device, arguments.seconds / 8)),
        ("one rank", [ranks(arguments.toy)]),
    ):
        record[name] = list(rows)
        print(f"\n{name}\n\n{table(record[name])}", flush=True)
    record["seconds"] = round(time.perf_counter() - start, 1)
    print(f"\n{record['device']}; {record['seconds']} s")
    if arguments.json:
        arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def told(device: torch.device) -> dict[str, Any]:
    """The card, and with which libraries it was asked."""
    versions = {"torch": torch.__version__, "python": platform.python_version()}
    if device.type != "cuda":
        return {"name": "CPU: no GPU was measured", **versions}
    card = torch.cuda.get_device_properties(device)
    memory = round(card.total_memory / 1e9, 1)
    return {"name": card.name, "memory_gb": memory, "cuda": torch.version.cuda, **versions}


class Toy(nn.Module):
    """A backbone in small."""

    dim, mean, std = 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4, bias=False), nn.BatchNorm2d(16), nn.ReLU())

    @property
    def stages(self) -> list[nn.Module]:
        """The only one."""
        return [self.net]

    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.net(x)).mean(dim=(2, 3))


def backbone() -> nn.Module:
    """This file is the backbone of ``--toy``: ``model.backbone=file:on_gpu.py``."""
    return Toy()


# --- training


class InPrecision(Pair):
    """Both towers with autocast as it is told, where :class:`Pair` goes by the device."""

    def __init__(self, state: TrainingState, bf16: bool) -> None:
        super().__init__(state.towers, state.source, state.device)
        self._bf16 = bf16

    def autocast(self) -> AbstractContextManager[object]:
        """See :class:`Pair`."""
        return torch.autocast(self._device, dtype=torch.bfloat16, enabled=self._bf16)


def paper(size: Size, *more: str) -> Config:
    """The preset at a size."""
    model = [f"model.backbone={size.backbone}", "model.weights=random", f"data.tile_px={size.px}"]
    return load_config("paper", [*model, f"optim.batch_size={size.batch}", "validation.by=none", *more])


def state_of(config: Config, tiles: U8, genes: int, device: torch.device, group: Group) -> TrainingState:
    """Towers of random weights and made-up expression of as many spots as there are tiles."""
    torch.manual_seed(0)
    towers = build_towers(config.model, 1, genes)
    towers.image.to(device)
    panel = np.random.default_rng(1).random((len(tiles), genes), np.float32)
    return assemble(towers, TileSource([tiles], device), panel, config, None, device, group)


def noise(count: int, px: int, file: Path | None = None) -> U8:
    """u8[count, px, px, 3], mapped from ``file`` as cached tiles are."""
    tiles = np.random.default_rng(0).integers(0, 256, (count, px, px, 3), np.uint8)
    if file is None:
        return tiles
    np.save(file, tiles)
    return np.load(file, mmap_mode="r")  # type: ignore[no-any-return]


def training(size: Size, device: torch.device, seconds: float) -> Iterator[dict[str, Any]]:
    """A row for each way of training an epoch."""
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        tiles = noise(size.spots, size.px, Path(folder) / "tiles.npy")
        state = state_of(paper(size), tiles, size.genes, device, Group())
        for what, bf16, fast, micro in (
            ("fp32", False, False, 0),
            ("bf16", True, False, 0),
            ("bf16, compiled", True, True, 0),
            (f"fp32, gradient cache of {size.micro}", False, False, size.micro),
            (f"bf16, gradient cache of {size.micro}", True, False, size.micro),
        ):
            pair = InPrecision(state, bf16)
            optim = replace(state.config.optim, compile=fast, micro_batch=micro)
            config = replace(state.config, optim=optim)
            ready = replace(state, pair=pair, learner=compiled(pair) if fast else pair, config=config)
            yield {"training": what, **or_why(partial(epoch, ready, seconds), EPOCH)}
            state.optimiser.zero_grad(set_to_none=True)
        del tiles


EPOCH = ("step s", "epoch s", "of its steps", "spots/s", "peak MB")


def epoch(state: TrainingState, seconds: float) -> dict[str, Any]:
    """Step and epoch of one way of training, and the memory that it takes on a GPU."""
    batch, device = state.config.optim.batch_size, state.device
    steps = -(-len(state.rows) // batch)

    def some(count: int) -> float:
        part = replace(state, rows=state.rows[: count * batch])
        return timed(lambda: train_epoch(part, 0), device)

    some(WARM_STEPS)  # kernels chosen, graphs compiled
    with peak(device) as used:
        taken = min(steps, max(WARM_STEPS, int(seconds * WARM_STEPS / some(WARM_STEPS))))
        spent = some(taken)
    spots = min(taken * batch, len(state.rows))
    rate = spots / spent
    values = (round(spent / taken, 4), round(len(state.rows) / rate, 2), f"{taken} of {steps}", round(rate, 1))
    return dict(zip(EPOCH, (*values, used[0]), strict=True))


# --- loss and gradients


class Doubles(TileSource):
    """Tiles as float64."""

    def prepare(self, fetched: Tensor, views: I64, stain: F32 | None = None) -> Tensor:
        """See ``ImageSource``."""
        return super().prepare(fetched, views, stain).double()


def gradients(
    size: Size, device: torch.device, bf16: bool = False, double: bool = False, group: Group | None = None
) -> tuple[float, F64]:
    """Loss and all gradients, side by side, of one batch without dropout."""
    tiles = noise(size.compared, size.px)
    state = state_of(paper(size, "model.dropout=0.0"), tiles, size.genes, device, group or Group())
    if double:
        state.model.double()
        source = Doubles([tiles], device)
        state = replace(state, source=source, expression=state.expression.double())
    if group is None:
        state = replace(state, learner=InPrecision(state, bf16))
    state.model.train()
    batch = Batch(np.arange(len(tiles)), np.arange(len(tiles)) % ALL_VIEWS)
    loss, _ = batch_gradients(state, batch, state.source.fetch(batch.rows))
    found = [p.grad.detach().flatten().double().cpu() for p in state.model.parameters() if p.grad is not None]
    return float(loss), torch.cat(found).numpy()


def compared(size: Size, device: torch.device) -> Iterator[dict[str, Any]]:
    """The device's loss and gradients beside the CPU's; distances relative, of gradients by their norms."""
    cpu = torch.device("cpu")
    exact, ours = gradients(size, cpu, double=True), gradients(size, cpu)
    own = apart(ours, exact)[1]

    def row(found: tuple[float, F64]) -> dict[str, Any]:
        (loss, of_cpu), of_exact = apart(found, ours), apart(found, exact)[1]
        values = (*(f"{value:.1e}" for value in (loss, of_cpu, of_exact)), bool(of_exact <= NEAR * own))
        return dict(zip(APART, values, strict=True))

    def on_device(bf16: bool) -> dict[str, Any]:
        return row(gradients(size, device, bf16))

    yield {"gradients": "CPU, fp32", **row(ours), "not measured": None}
    for what, bf16, tf32 in (("fp32", False, False), ("fp32, TF32", False, True), ("bf16", True, True)):
        if tf32 and not bf16 and device.type != "cuda":
            continue
        with tensor_cores(tf32):
            yield {
                "gradients": f"{device.type}, {what}",
                **or_why(partial(on_device, bf16), APART),
            }


APART = (
    "loss from the CPU's",
    "gradients from the CPU's",
    "gradients from float64's",
    "as near to float64 as the CPU",
)


def apart(found: tuple[float, F64], other: tuple[float, F64]) -> tuple[float, float]:
    """Relative distance of the loss, and of the gradients."""
    norm = float(np.linalg.norm(other[1]))
    return abs(found[0] - other[0]) / abs(other[0]), float(np.linalg.norm(found[1] - other[1])) / norm


@contextmanager
def tensor_cores(allowed: bool) -> Iterator[None]:
    """TF32, which convolutions of float32 use unless they are told not to."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


# --- features of a frozen backbone


def features(size: Size, device: torch.device, seconds: float) -> Iterator[dict[str, Any]]:
    """A row for each backbone and batch: as ``bleep-train`` computes them, and what bf16 would make of it."""
    for name in size.features:
        for count in size.feature_batches:
            yield {
                "features": name.partition(":")[0],
                "batch": count,
                **or_why(partial(extraction, name, count, size.px, device, seconds), FEATURES),
            }


FEATURES = ("tiles/s, 8 views", "tiles/s, 1 view", "the same, bf16", "peak MB")


def extraction(name: str, count: int, px: int, device: torch.device, seconds: float) -> dict[str, Any]:
    """Tiles a second through the extractor, bytes in and floats out."""
    torch.manual_seed(0)
    extractor, tiles = FeatureExtractor(build_backbone(name, "random"), px, device), noise(count, px)

    def rate() -> float:
        extractor.views(tiles)
        once = timed(lambda: extractor.views(tiles), device)
        repeats = max(1, int(seconds / once))
        return count * repeats / timed(lambda: [extractor.views(tiles) for _ in range(repeats)], device)

    with peak(device) as used:
        ours = rate()
    half = None
    if device.type == "cuda":
        with torch.autocast("cuda", dtype=torch.bfloat16):
            half = round(rate() * ALL_VIEWS, 1)
    return dict(zip(FEATURES, (round(ours, 1), round(ours * ALL_VIEWS, 1), half, used[0]), strict=True))


# --- one rank of torchrun


def ranks(toy: bool) -> dict[str, Any]:
    """What a rank found that torchrun started by itself."""
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        out = Path(folder) / "rank.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
        command += [str(Path(__file__).resolve()), "--rank-of-one", str(out), *(["--toy"] if toy else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [""])[-1]
            return {**dict.fromkeys(RANK), "not measured": f"exit status {done.returncode}: {last}"}
        return {**json.loads(out.read_text(encoding="utf-8")), "not measured": None}


RANK = ("backend", "ranks", "loss from one process's", "gradients from one process's")


def of_one_rank(size: Size) -> dict[str, Any]:
    """Loss and gradients through the group, beside those without one, in the precision that training has."""
    device = pick_device()
    bf16 = device.type == "cuda"
    alone = gradients(size, device, bf16)
    group = join_group(always=True)
    try:
        found = gradients(size, device, bf16, group=group)
        backend = torch.distributed.get_backend()
    finally:
        group.leave()
    return dict(zip(RANK, (backend, group.world, *(f"{value:.1e}" for value in apart(found, alone))), strict=True))


# --- what all have in common


def timed(work: Callable[[], Any], device: torch.device) -> float:
    """Seconds, the GPU's work included."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@contextmanager
def peak(device: torch.device) -> Iterator[list[int | None]]:
    """The most memory that tensors took on the GPU inside, in MB; None without one."""
    used: list[int | None] = [None]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    yield used
    if device.type == "cuda":
        used[0] = round(torch.cuda.max_memory_allocated(device) / MB)


def or_why(work: Callable[[], dict[str, Any]], columns: Sequence[str]) -> dict[str, Any]:
    """A row's numbers, or why there are none: one that does not fit this card costs no other."""
    try:
        return {**work(), "not measured": None}
    except Exception as error:  # torch, its compiler and CUDA share no base class
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        why = (str(error).strip().splitlines() or [""])[0][:100]
        return {**dict.fromkeys(columns), "not measured": f"{type(error).__name__}: {why}"}


if __name__ == "__main__":
    main()
