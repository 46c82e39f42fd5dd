"""``bleep doctor``: is this installation fit to predict?"""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from bleep_cli.base.assets import DEMO_BUNDLE, asset
from bleep_cli.base.machine import free_memory_mb, usable_cores, versions
from bleep_cli.base.privacy import telemetry_is_off
from bleep_cli.base.text import counted
from bleep_cli.base.version import __version__
from bleep_cli.choices import RunsOn
from bleep_cli.embedding.lanes import lanes_for
from bleep_cli.errors import BleepError, DeviceError, option
from bleep_cli.towers.encoder import OnnxEncoder, views_of
from bleep_cli.towers.session import available_providers, choose_device
from bleep_cli.types import U8

PACKAGES = (
    "numpy", "scipy", "onnxruntime", "onnxruntime-gpu", "hnswlib", "zarr", "anndata",
    "imagecodecs", "openslide-python", "openslide-bin", "pillow", "matplotlib", "typer",
)  # fmt: skip


def examine() -> tuple[dict[str, Any], list[str], BleepError | None]:
    """Record, lines, and the first problem that keeps predictions from running."""
    found = versions(PACKAGES)
    problem: BleepError | None = None
    if {"onnxruntime", "onnxruntime-gpu"} <= set(found):
        problem = DeviceError(
            "onnxruntime and onnxruntime-gpu are both installed and overwrite each other; uninstall both, then "
            "install bleep-cli[cpu] or bleep-cli[gpu]"
        )
    if _installed("chroma-hnswlib") and _installed("hnswlib"):
        problem = problem or DeviceError(
            "hnswlib and chroma-hnswlib provide the same module; uninstall the latter"
        )
    providers: list[str] = []
    device: RunsOn | None = None
    try:
        providers, device = available_providers(), choose_device("auto")
    except DeviceError as error:
        problem = problem or error
    memory, cores = free_memory_mb(), usable_cores()
    record: dict[str, Any] = {
        "bleep": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores,
        "lanes": None if device is None else asdict(lanes_for(device, cores)),
        "free_memory_mb": memory,
        "providers": providers,
        "device": device,
        "telemetry": "off" if telemetry_is_off() else "on",
        "versions": found,
    }
    lines = [
        f"bleep {__version__}, Python {record['python']}, {record['system']}, {counted(cores, 'core')}, "
        + (f"{memory} MB of memory free" if memory else "free memory unknown"),
        f"device auto = {device or 'none'}; ONNX Runtime providers: {', '.join(providers) or 'none'}",
        f"telemetry of ONNX Runtime: {record['telemetry']}; nothing leaves this machine",
        "search: "
        + ("exact and HNSW" if "hnswlib" in found else "exact (hnswlib is not installed, none is needed)"),
        "  ".join(f"{name} {number}" for name, number in found.items()),
    ]
    if device is None:
        return record, lines, problem
    try:
        record["self_test"] = self_test()
        lines.append(f"self-test: {record['self_test']}")
    except BleepError as error:
        problem = problem or error
        lines.append(f"self-test FAILED: {error}")
    return record, lines, problem


def built_in_tile(px: int, channels: int) -> U8:
    """A tile without symmetry: a colour ramp with a dark disc off its centre; u8[1, px, px, channels]."""
    y, x = np.mgrid[0:px, 0:px]
    ramp = np.stack([255 - x // 2, 120 + (x * y) // px // 2, 160 + y // 3], axis=2).clip(0, 255)
    disc = (x - px * 0.3) ** 2 + (y - px * 0.6) ** 2 < (px * 0.15) ** 2
    ramp[disc] = (80, 40, 120)
    return np.tile(ramp.astype(np.uint8), (1, 1, 1, channels // 3)).reshape(1, px, px, channels)


def self_test() -> str:
    """Embeds the built-in tile and its eight views with the shipped tower and searches the shipped reference.

    Raises ``BleepError`` when the vectors are not finite unit vectors, depend on the batch, or the turned
    tile is not told from the tile.
    """
    from bleep_cli.bundle.open import open_bundle

    bundle = open_bundle(asset(DEMO_BUNDLE))
    encoder = OnnxEncoder(bundle.tower("image"))
    views = np.concatenate(list(views_of(built_in_tile(encoder.tile_px, encoder.channels), 8)))
    together = encoder.embed(views)
    alone = encoder.embed(views[:1])
    if not np.allclose(np.linalg.norm(together, axis=1), 1.0, atol=1e-3):
        raise DeviceError(f"the tower's output on {encoder.device} is no unit vector; use {option('device')} cpu")
    if not np.allclose(alone[0], together[0], atol=1e-3):
        raise DeviceError(
            f"the tower's output on {encoder.device} depends on the batch; use {option('device')} cpu"
        )
    if np.allclose(together[0], together[1], atol=1e-5):
        raise DeviceError(
            f"the tower's output on {encoder.device} does not depend on the tile; use {option('device')} cpu"
        )
    found = bundle.index(bundle.info.key).search(alone, bundle.info.k)
    return f"ok on {encoder.device}; nearest of {bundle.n_spots} spots at cosine {found.similarity[0, 0]:.3f}"


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True
