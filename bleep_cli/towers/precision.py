"""Which of a bundle's image towers runs: float32, int8 (CPU) or float16 (GPU), and what the cheaper ones cost.

A bundle may hold other precisions beside the float32 tower, each with a record of how far its answers were from
float32's when it was made. ``auto`` takes one only where the record says that nothing is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bleep_cli.choices import Precision, RunsOn
from bleep_cli.errors import DeviceError, UsageError, option

Chosen = Literal["fp32", "int8", "fp16"]
TowerName = Literal["image", "image_int8", "image_fp16"]
TOWERS: dict[Chosen, TowerName] = {"fp32": "image", "int8": "image_int8", "fp16": "image_fp16"}
FAST: dict[RunsOn, Chosen] = {"cpu": "int8", "cuda": "fp16"}  # what auto may take on each device

LEAST_OVERLAP50 = 0.9
MOST_DELTA_R = 0.005


@dataclass(frozen=True)
class Cost:
    """What a precision costs against float32 of the same tower, on tiles it was not calibrated with.

    NaN = not measured.
    """

    cosine: float
    """Mean cosine of the embeddings to float32's."""
    overlap50: float
    """Mean share of the 50 nearest neighbours that agree, 0 to 1."""
    delta_r_hvg50: float
    """Change of the mean Pearson r over the 50 most variable genes; negative: worse."""
    measured_on: str
    """The sections, in words."""

    @property
    def within_tolerance(self) -> bool:
        """Whether ``auto`` may take it; what was not measured is not within."""
        return self.overlap50 >= LEAST_OVERLAP50 and abs(self.delta_r_hvg50) <= MOST_DELTA_R

    def attrs(self) -> dict[str, Any]:
        """As the attributes of a bundle's array."""
        return asdict(self)

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Cost:
        """From the attributes of a bundle's array; what is missing or no number counts as not measured."""
        cosine, overlap, delta = (_number(attrs.get(name)) for name in ("cosine", "overlap50", "delta_r_hvg50"))
        return cls(cosine, overlap, delta, str(attrs.get("measured_on", "")))

    def line(self) -> str:
        """One line for a person."""
        return (
            f"cosine {self.cosine:.4f}, neighbours shared {self.overlap50:.2f}, Δr {self.delta_r_hvg50:+.4f} "
            f"on {self.measured_on or 'an unknown set'}"
        )


@dataclass(frozen=True)
class OtherTower:
    """The image tower at another precision."""

    model: bytes
    """ONNX."""
    cost: Cost


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def choose_precision(
    asked: Precision, device: RunsOn, stored: Mapping[Chosen, Cost], *, tensorrt: bool = False
) -> Chosen:
    """The tower to run on ``device``.

    ``auto`` is the device's fast precision where the bundle holds it within tolerance, else float32. A precision
    that was asked for by name is taken whatever it costs; ``tensorrt`` makes float16 of the float32 tower.

    Raises ``UsageError`` where the bundle does not hold it, ``DeviceError`` where the device gains nothing by it.
    """
    if asked == "auto":
        fast = FAST[device]
        return fast if fast in stored and stored[fast].within_tolerance else "fp32"
    if asked == "fp32":
        return "fp32"
    if asked == "fp16" and device == "cpu":
        raise DeviceError(f"{option('precision')} fp16 is for {option('device')} cuda; on a CPU use int8 or fp32")
    if asked in stored or (asked == "fp16" and tensorrt):
        return asked
    raise UsageError(
        f"{option('precision')} {asked}: the bundle holds no such image tower; use auto or fp32, or make a "
        "bundle that holds one (bleep-train export)"
    )
