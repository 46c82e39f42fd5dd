"""``bleep cohort`` on what ``bleep predict`` wrote."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import read_h5ad

from bleep_cli.cli import app
from bleep_cli.errors import UsageError

SLIDES = ("p1", "p2", "p3", "p4")


@pytest.fixture(scope="module")
def results(small_bundle: Path, query_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One slide under four names, as four patients; of the first two, tiles at the left alone."""
    out = tmp_path_factory.mktemp("cohort")
    at = out / "left.csv"
    at.write_text("id,x,y\n" + "".join(f"t{i},{40 + 10 * i},{60 + 8 * i}\n" for i in range(6)))
    for place, name in enumerate(SLIDES):
        slide = out / f"{name}.tif"
        shutil.copy(query_slide, slide)
        words = ["predict", slide, "--ref", small_bundle, "--device", "cpu", "-o", out, "--format", "h5ad"]
        words += ["--at", at] if place < 2 else []
        assert not app([str(word) for word in words], standalone_mode=False)
    (out / "groups.csv").write_text(
        "slide,patient,group\n"
        + "".join(f"{n}.tif,{n},{'left' if i < 2 else 'whole'}\n" for i, n in enumerate(SLIDES))
    )
    return [out / f"{name}.h5ad" for name in SLIDES]


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert not app([str(word) for word in words], standalone_mode=False)
    return capsys.readouterr().out


def test_predictions_are_compared(results: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    groups, out = results[0].parent / "groups.csv", tmp_path / "out"
    told = json.loads(run(capsys, "--json", "cohort", *results, "--groups", groups, "-o", out))
    assert {Path(file).name for file in told["files"]} == {file.name for file in out.iterdir()}
    assert [(c["comparison"], c["patients"]) for c in told["comparisons"]] == [
        ("whole against left in all tissue", [2, 2])
    ]
    left, whole = (np.asarray(read_h5ad(results[place]).X, np.float64).mean(axis=0) for place in (0, 2))
    found = pd.read_csv(out / "comparison.csv")
    np.testing.assert_allclose(found["effect"], whole - left, atol=2e-6)
    lines = run(capsys, "cohort", *results, "--groups", groups, "-o", tmp_path / "again").splitlines()
    assert (
        lines[0] == f"whole against left in all tissue: 0 of {len(found)} genes with q <= 0.05 (2 and 2 patients)"
    )
    assert lines[1] == f"page {tmp_path / 'again' / 'comparison.html'}"


def test_a_table_that_names_no_result_is_refused(results: list[Path], tmp_path: Path) -> None:
    words = [
        "cohort",
        results[0],
        results[2],
        "--groups",
        results[0].parent / "groups.csv",
        "-o",
        tmp_path / "out",
    ]
    with pytest.raises(UsageError) as caught:
        app([str(word) for word in words], standalone_mode=False)
    assert caught.value.exit_code == 2
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["p2.tif", "p4.tif"]
