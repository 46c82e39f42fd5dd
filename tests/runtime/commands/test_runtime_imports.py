"""The runtime never loads the training stack: shown on the modules of a process that has predicted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset

FORBIDDEN = {"torch", "torchvision", "scanpy", "harmonypy", "bleep_train", "sklearn", "tifffile"}
HEAVY = {"zarr", "anndata", "scipy", "pandas", "matplotlib", "onnxruntime", "PIL", "openslide", "rich"}


def loaded(code: str, *arguments: str) -> set[str]:
    tail = "\nimport json, sys; print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    result = subprocess.run(
        [sys.executable, "-c", code + tail, *arguments], capture_output=True, text=True, check=True, timeout=300
    )
    return set(json.loads(result.stdout.splitlines()[-1]))


def test_importing_the_command_line_is_light() -> None:
    assert not loaded("import bleep_cli.cli") & (FORBIDDEN | HEAVY)


def test_a_whole_prediction_needs_no_training_stack(tmp_path: Path) -> None:
    code = """
import sys
from bleep_cli.cli import app
app(["predict", sys.argv[1], "--ref", sys.argv[2], "-o", sys.argv[3], "--stride-um", "300"], standalone_mode=False)
"""
    modules = loaded(code, str(asset(DEMO_SLIDE)), str(asset(DEMO_BUNDLE)), str(tmp_path))
    assert (tmp_path / "demo-slide.h5ad").exists()
    assert not modules & FORBIDDEN
