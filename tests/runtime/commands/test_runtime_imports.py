"""The runtime never loads the training stack: shown on the modules of a process that has predicted.

Nor do the runtime's own tests need it: shown by collecting them where it cannot be found.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset

ROOT = Path(__file__).parents[3]
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


@pytest.mark.slow
def test_a_whole_prediction_needs_no_training_stack(tmp_path: Path) -> None:
    code = """
import sys
from bleep_cli.cli import app
app(["predict", sys.argv[1], "--ref", sys.argv[2], "-o", sys.argv[3], "--stride-um", "300"], standalone_mode=False)
"""
    modules = loaded(code, str(asset(DEMO_SLIDE)), str(asset(DEMO_BUNDLE)), str(tmp_path))
    assert (tmp_path / "demo-slide.h5ad").exists()
    assert not modules & FORBIDDEN


COLLECT = """
import json, sys
from importlib.machinery import PathFinder
import pytest

absent = set(json.loads(sys.argv[1]))

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in absent else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", *sys.argv[2:]]))
"""


@pytest.mark.slow
def test_the_runtimes_tests_are_collected_where_there_is_no_training_stack() -> None:
    absent = FORBIDDEN - {"tifffile"} | {"squidpy", "spatialdata", "skimage", "igraph", "umap"}
    command = [sys.executable, "-c", COLLECT, json.dumps(sorted(absent)), "tests/runtime", "tests/benchmarks"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 0, found.stdout
    assert found.stdout.count("::") > 800


@pytest.mark.slow
def test_a_stack_that_cannot_be_found_is_noticed(tmp_path: Path) -> None:
    """The collection above fails for a test file that does import it."""
    (tmp_path / "test_a.py").write_text("import torch\n")
    command = [sys.executable, "-c", COLLECT, '["torch"]', str(tmp_path), "-c", str(tmp_path / "none.ini")]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert found.returncode == 2
    assert "No module named 'torch'" in found.stdout
