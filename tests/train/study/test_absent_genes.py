"""A gene that a held-out section does not measure is in none of a study's further numbers, and told below them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_train.metrics.shifts import benjamini_hochberg
from bleep_train.study.maps import saved_maps, study_ceilings
from bleep_train.study.run import StudyResult
from bleep_train.study.saved import FoldFolder, FoldTruth, StudyRecord
from bleep_train.study.tables import StudyTables

SIDE, GENES, ABSENT = 12, 6, 2
TOLD = "Fold A: 1 of the genes of *all* are not measured there and are in none of its means."


def study(out: Path, *, absent: bool) -> StudyTables:
    """Two methods on a fold of 144 spots whose gene 2 is not measured, or not asked for."""
    rng = np.random.default_rng(0)
    xy = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2).astype(float)
    smooth = np.sin(xy[:, :1] / 2 + np.arange(GENES)) + np.cos(xy[:, 1:] / 3)
    measured = (smooth + rng.normal(0, 0.3, smooth.shape)).astype(np.float32)
    predicted = (smooth + rng.normal(0, 0.6, smooth.shape)).astype(np.float32)
    symbols = np.array([f"G{i}" for i in range(GENES)])
    measured[:, ABSENT] = np.nan
    kept = np.ones(GENES, bool) if absent else np.arange(GENES) != ABSENT
    names = np.array(["A"] * len(xy))
    truth = FoldTruth(
        symbols[kept], measured[:, kept], measured[0, kept], names, names, xy, measured[:, kept].astype("f2")
    )
    folder = FoldFolder.of(out, "A")
    folder.save_truth(truth, {"hvg50": symbols[kept][:4].tolist(), "all": symbols[kept].tolist()})
    folder.save_ceiling(np.where(kept & (np.arange(GENES) != ABSENT), 0.64, np.nan)[kept])
    rows: list[Any] = []
    for method, prediction in {"bleep": predicted, "ridge": measured[::-1] + predicted * 0.2}.items():
        folder.save_predicted(method, 0, np.nan_to_num(prediction[:, kept], nan=1.0))
        folder.save_scores(method, 0, {})
        scores = {"hvg50": 0.1, "all": 0.1, "n_spots": len(xy), "n_nan": 0, "n_absent": int(absent)}
        rows.append({"job": {"fold": "A", "method": method, "seed": 0}, "scores": scores, "intervals": {}})
    folds: Any = {"A": {"sections": ["A"], "donors": {"train": [], "test": [], "shared": []}, "data": "0"}}
    record = StudyRecord("c.toml", "leave-one-section-out", "leak-free", ("bleep", "ridge"), (0,), (), folds, {})
    return StudyTables(StudyResult(record, tuple(rows)), out)


@pytest.fixture
def both(tmp_path: Path) -> tuple[StudyTables, StudyTables]:
    """With a gene that was not measured, and of the measured ones alone; hvg50 holds 3 of 4 and 4."""
    return study(tmp_path / "absent", absent=True), study(tmp_path / "without", absent=False)


def test_every_further_number_is_that_of_the_measured_genes(both: tuple[StudyTables, StudyTables]) -> None:
    lacking, whole = both
    assert lacking.map_scores == whole.map_scores
    assert lacking.map_scores["bleep"][0][0]["significant"] > 0
    (found,), (expected,) = lacking.differences[0], whole.differences[0]
    assert found.mean["all"] == pytest.approx(expected.mean["all"])
    assert found.intervals["all"] == pytest.approx(expected.intervals["all"])
    ceilings = study_ceilings(lacking.out, ["A"])["A"]
    assert ceilings == {
        name: {"reliability": pytest.approx(0.64), "ceiling": pytest.approx(0.8)} for name in ceilings
    }
    assert list(ceilings) == ["hvg50", "all"]


def test_a_gene_that_was_not_measured_is_no_test_that_was_made(both: tuple[StudyTables, StudyTables]) -> None:
    maps = saved_maps(FoldFolder.of(both[0].out, "A"), "bleep", 0)
    assert np.isnan([maps["p"][ABSENT], maps["q"][ABSENT]]).all()
    expected = benjamini_hochberg(np.delete(maps["p"], ABSENT).astype(float))
    np.testing.assert_allclose(np.delete(maps["q"], ABSENT), expected, rtol=1e-5)


def test_it_is_told_below_every_table_of_means(both: tuple[StudyTables, StudyTables]) -> None:
    for tables, times in zip(both, (1, 0), strict=True):
        assert [sum(note == TOLD for note in table.notes) for table in tables.main()] == [times] * 5
    paper = StudyTables(StudyResult(replace(both[0].record, truth="paper"), both[0].rows), both[0].out)
    assert all(sum("This protocol leaks" in note for note in table.notes) == 1 for table in paper.main())
