"""What a prediction loads, when, and how often: nothing that it does not need, and models once for all slides."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from made_cohorts import write_picture

from bleep_cli import api
from bleep_cli.base.beside import loading
from bleep_cli.cli import app
from bleep_cli.signatures.tiles import shipped_features

UNNEEDED = {"checks", "cohort", "comparison", "fitting", "qc", "receipts", "reliability", "viewer"}


def loaded(code: str) -> set[str]:
    """The modules that a fresh process has after the code."""
    tail = "\nimport sys; print('\\n'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stderr.splitlines())


def test_a_prediction_loads_no_room_that_it_does_not_need() -> None:
    found = loaded("from bleep_cli import api; api.predict_batch, api.prepare_batch, api.list_slides")
    assert "bleep_cli.prediction.predictor" in found
    assert not {name.split(".")[1] for name in found if name.startswith("bleep_cli.")} & UNNEEDED


def test_every_name_of_the_face_is_there_when_it_is_asked_for() -> None:
    for name in api.__all__:
        assert getattr(api, name) is getattr(api, name)
    with pytest.raises(AttributeError, match=r"'bleep_cli\.api' has no attribute 'nothing'"):
        _ = api.nothing


@pytest.mark.parametrize(("kinds", "drawn"), [("h5ad", False), ("h5ad,png", True)])
def test_matplotlib_is_for_pictures(
    kinds: str, drawn: bool, small_bundle: Path, query_slide: Path, tmp_path: Path
) -> None:
    words = ["predict", query_slide, "--ref", small_bundle, "--format", kinds, "-o", tmp_path, "--device", "cpu"]
    found = loaded(f"from bleep_cli.cli import app\napp({[*map(str, words)]!r}, standalone_mode=False)")
    assert "anndata" in found
    assert ("matplotlib" in found) == drawn
    assert (tmp_path / "query.h5ad").exists()


def test_many_slides_load_the_models_that_one_does(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    whole = onnxruntime.InferenceSession

    def counted(model: bytes, *args: Any, **options: Any) -> Any:
        made.append(len(model))
        return whole(model, *args, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", counted)
    slides = [str(write_picture(tmp_path / f"s{seed}.tif", seed)) for seed in (7, 8, 9)]

    def predicted(*names: str) -> list[int]:
        made.clear()
        shipped_features.cache_clear()
        words = ["predict", *names, "--ref", str(small_bundle), "-o", str(tmp_path / f"of{len(names)}")]
        assert not app([*words, "--device", "cpu", "--format", "h5ad"], standalone_mode=False)
        return sorted(made)

    one = predicted(slides[0])
    assert one
    assert predicted(*slides) == one


def test_packages_are_there_when_the_work_beside_them_ends() -> None:
    code = """
import sys
from bleep_cli.base.beside import loading
with loading(["no_such_package", "wave"]):
    pass
assert "wave" in sys.modules
"""
    assert "wave" in loaded(code)


def test_an_error_of_the_work_comes_through_and_leaves_no_thread() -> None:
    with pytest.raises(ZeroDivisionError), loading(["json"]):
        raise ZeroDivisionError
    assert "imports" not in {thread.name for thread in threading.enumerate()}
