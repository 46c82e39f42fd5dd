"""benchmarks/on_gpu.py at toy size on a CPU: it needs torch alone, and its comparison would tell."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from absent_packages import without

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
ABSENT = (
    "scipy", "safetensors", "onnxruntime", "onnxscript", "pandas", "pyarrow", "h5py", "zarr", "anndata", "scanpy",
    "sklearn", "matplotlib", "imagecodecs", "openslide", "tifffile", "rich", "typer", "harmonypy", "timm",
)  # fmt: skip
RUN = """
import runpy
sys.argv = ["on_gpu.py", "--toy", "--json", {json!r}]
sys.path.insert(0, {folder!r})
runpy.run_path({script!r}, run_name="__main__")
"""


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("on_gpu")


@pytest.mark.slow
@pytest.mark.torch
def test_it_runs_where_torch_and_numpy_are_all_there_is(tmp_path: Path) -> None:
    script, out = BENCHMARKS / "on_gpu.py", tmp_path / "gpu.json"
    code = without(ABSENT, RUN.format(json=str(out), folder=str(BENCHMARKS), script=str(script)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(out.read_text(encoding="utf-8"))
    assert "no GPU" in found["device"]["name"]
    ways = [row["training"] for row in found["training"]]
    assert ways[:3] == ["fp32", "bf16", "bf16, compiled"]
    assert "fp32, gradient cache of 4" in ways
    for row in found["training"]:
        assert row["not measured"] is None, row
        assert row["of its steps"] == "3 of 3"
        assert row["epoch s"] == pytest.approx(3 * row["step s"], rel=0.05, abs=0.01)
    same = {row["gradients"]: row for row in found["gradients"]}
    assert same["cpu, fp32"]["gradients from the CPU's"] == "0.0e+00"
    assert same["cpu, fp32"]["as near to float64 as the CPU"] is True
    assert same["cpu, bf16"]["as near to float64 as the CPU"] is False
    assert 0 < float(same["CPU, fp32"]["gradients from float64's"]) < 1e-5
    assert found["one rank"] == [
        {
            "backend": "gloo",
            "ranks": 1,
            "loss from one process's": "0.0e+00",
            "gradients from one process's": "0.0e+00",
            "not measured": None,
        }
    ]
    why = found["features"][0]["not measured"]  # on a CPU features go through ONNX
    assert "onnx" in why
    assert "| training | step s |" in done.stdout


@pytest.mark.torch
def test_features_are_counted_in_tiles(on_gpu: Any) -> None:
    row = on_gpu.extraction(on_gpu.TOY.features[0], 4, 32, torch.device("cpu"), 0.01)
    assert row["tiles/s, 1 view"] == pytest.approx(8 * row["tiles/s, 8 views"], rel=0.05)
    assert row["peak MB"] is None


@pytest.mark.torch
def test_gradients_are_all_of_the_paper_s_towers_and_a_wrong_one_is_told(on_gpu: Any) -> None:
    size, cpu = replace(on_gpu.TOY, compared=6), torch.device("cpu")
    loss, gradients = on_gpu.gradients(size, cpu)
    state = on_gpu.state_of(on_gpu.paper(size), on_gpu.noise(6, size.px), size.genes, cpu, on_gpu.Group())
    assert state.config.model.trainable == "all"
    assert len(gradients) == sum(p.numel() for p in state.model.parameters() if p.requires_grad)
    assert on_gpu.apart((loss, gradients), (loss, gradients)) == (0, 0)
    wrong = gradients.copy()
    wrong[np.abs(wrong).argmax()] *= -1
    assert on_gpu.apart((loss, wrong), (loss, gradients))[1] > 1e-2


def test_a_row_that_does_not_fit_says_so(on_gpu: Any) -> None:
    def too_large() -> dict[str, Any]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore")

    row = on_gpu.or_why(too_large, on_gpu.EPOCH)
    assert row["not measured"] == "OutOfMemoryError: CUDA out of memory. Tried to allocate"
    assert row["step s"] is None
