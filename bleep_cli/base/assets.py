"""Where the shipped demo and backbone lie: inside the installed package, or in ``artifacts/`` of a source tree."""

from __future__ import annotations

from pathlib import Path

from bleep_cli.errors import UsageError

DEMO_BUNDLE = "demo-liver-phantom.zarr.zip"
DEMO_SLIDE = "demo-slide.tif"
DEMO_TRUTH = "demo-slide_truth.npz"
DEMO_CARD = "demo.json"
BACKBONE = "efficientnet-lite0-stages.onnx"


def asset(name: str) -> Path:
    """The path of a shipped file. Raises ``UsageError`` where this installation lacks it."""
    here = Path(__file__).parents[1]
    for folder in (here / "artifacts", here.parent / "artifacts"):
        if (folder / name).exists():
            return folder / name
    raise UsageError(f"this installation lacks {name}; make it with make artifacts, or install the wheel")
