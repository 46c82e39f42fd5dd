"""A doubtful scale as a prediction, its record and the command line tell it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from made_nuclei import section, tissue

from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.outputs.formats import FORMATS
from bleep_cli.outputs.read import open_result
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.parts import Built
from bleep_cli.signatures.make import signature_or_why
from bleep_cli.types import TileSpec


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("slide") / "q.png"
    tissue(5).save(path)
    return path


@pytest.fixture(scope="module")
def signed(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The made-up bundle with the signature of other tissue, so that a slide can be weighed by it."""
    folder = tmp_path_factory.mktemp("signed")
    sections = [section(folder / f"{seed}.png", tissue(seed), 0.5, f"S{seed}") for seed in (0, 1, 2)]
    signature, _ = signature_or_why(sections, TileSpec(16, (64.0,)))
    write_bundle(folder / "b.zarr.zip", small_built.info, replace(small_built.arrays, signature=signature))
    return folder / "b.zarr.zip"


def test_the_signature_is_kept_and_verified(signed: Path) -> None:
    bundle = open_bundle(signed)
    kept = bundle.signature()
    assert kept is not None
    (told,) = [check for check in verify(bundle) if check.name == "signature"]
    assert told.ok
    tiles = len(kept.section)
    assert told.detail == f"{tiles} tiles of 112 px at 1 µm/px, 64 components, scales 0.5, 0.7, 1, 1.4, 2"
    assert sum(bundle.array(path).nbytes for path in kept.arrays()) < 1 << 20


@pytest.mark.parametrize("stated", [0.25, 1.0])
def test_a_prediction_tells_and_records_a_doubtful_scale(
    signed: Path, slide: Path, tmp_path: Path, stated: float
) -> None:
    predictor = Predictor(signed, PredictOptions(k=3, views=1, device="cpu"))
    prediction = predictor.predict(slide, mpp=stated, progress=False)
    assert [f.severity for f in prediction.findings if f.code == "mpp-doubtful"] == ["warning"]
    check = prediction.provenance["scale_check"]
    assert check["verdict"] == "doubtful"
    assert check["low"] < 0.5 < check["high"]
    FORMATS["h5ad"].write(prediction, tmp_path / "q.h5ad")
    assert open_result(tmp_path / "q.h5ad").provenance["scale_check"] == pytest.approx(check)


def test_a_right_scale_is_recorded_and_not_told(signed: Path, slide: Path) -> None:
    predictor = Predictor(signed, PredictOptions(k=3, views=1, device="cpu"))
    prediction = predictor.predict(slide, mpp=0.5, progress=False)
    assert [f for f in prediction.findings if f.code == "mpp-doubtful"] == []
    check = prediction.provenance["scale_check"]
    assert check["verdict"] == "agrees"
    assert list(check) == ["verdict", "estimate", "low", "high"]
    assert check["low"] < 0.5 < check["high"]


def test_a_bundle_without_a_signature_says_that_nothing_was_checked(small_bundle: Path, slide: Path) -> None:
    predictor = Predictor(small_bundle, PredictOptions(k=3, views=1, device="cpu"))
    prediction = predictor.predict(slide, mpp=1.0, progress=False)
    assert prediction.provenance["scale_check"] == {
        "verdict": "not checked",
        "reason": "the reference keeps no signature of its tissue",
    }
    assert [f for f in prediction.findings if f.code == "mpp-doubtful"] == []


def bleep(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bleep_cli.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=os.environ)


def test_a_dry_run_tells_it_and_strict_refuses_it(signed: Path, slide: Path, tmp_path: Path) -> None:
    given = ["predict", slide, "--ref", signed, "--mpp", "1.0", "--dry-run"]
    told = bleep("--json", *given)
    assert told.returncode == 0, told.stderr
    record = json.loads(told.stdout)
    assert record["scale_check"]["verdict"] == "doubtful"
    assert "mpp-doubtful" in [finding["code"] for finding in record["findings"]]
    assert "give the right one with --mpp" in told.stderr
    strict = bleep(*given, "--strict")
    assert strict.returncode == 3
    assert "the tissue looks like the reference's at about" in strict.stderr
    assert "(refused, as --strict asks)" in strict.stderr
    assert list(tmp_path.iterdir()) == []
