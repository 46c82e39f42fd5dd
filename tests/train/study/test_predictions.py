"""What a study saves is what comes back, in files that are safe to open."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bleep_cli.errors import UsageError
from bleep_train.study.saved import FoldFolder, FoldTruth, StudyRecord, file_name, load_study, save_study

TRUTH = FoldTruth(
    symbols=np.array(["HAL", "CYP3A4"]),
    measured=np.array([[0, 1], [2, 3], [4, 5]], np.float32),
    train_mean=np.array([1, 2], np.float32),
    section=np.array(["C5", "C5", "C6"]),
    barcode=np.array(["AAC-1", "AAG-1", "AAT-1"]),
    xy_l0=np.array([[1.5, 2], [3, 4], [5, 6]]),
    reference=np.array([[0.5, 1.5]], np.float16),
)


def test_truth_comes_back_with_its_types(tmp_path: Path) -> None:
    folder = FoldFolder.of(tmp_path, "C:5")
    folder.save_truth(TRUTH, {"hvg50": ["HAL"], "all": ["HAL", "CYP3A4"]})
    assert sorted(p.name for p in (tmp_path / "predictions" / "C-5").iterdir()) == ["genes.json", "truth.npz"]
    back = folder.truth()
    for name in FoldTruth.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(back, name), getattr(TRUTH, name))
        assert getattr(back, name).dtype == getattr(TRUTH, name).dtype
    assert folder.genes() == {"hvg50": ["HAL"], "all": ["HAL", "CYP3A4"]}


def test_predictions_clusters_and_scores_come_back(tmp_path: Path) -> None:
    folder = FoldFolder.of(tmp_path, "A")
    predicted = np.array([[1, np.nan]], np.float32)
    assert not folder.has_predicted("bleep:paper", 1)
    folder.save_predicted("bleep:paper", 1, predicted + 1)
    folder.save_predicted("bleep:paper", 1, predicted)  # replaced
    np.testing.assert_array_equal(folder.predicted("bleep:paper", 1), predicted)
    assert folder.has_predicted("bleep:paper", 1)
    assert not folder.has_predicted("bleep", 1)
    folder.save_clusters(np.array([0, 1]))
    folder.save_clusters(np.array([1, 0]), "ridge", 0)
    assert folder.clusters().tolist() == [0, 1]
    assert folder.clusters("ridge", 0).tolist() == [1, 0]
    folder.save_scores("ridge", 0, {"pearson": np.array([0.5])})
    assert folder.scores("ridge")["pearson"] == pytest.approx(0.5)


def test_what_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"A holds no ridge-0\.npz; run bleep-train evaluate --protocol"):
        FoldFolder.of(tmp_path, "A").predicted("ridge")
    with pytest.raises(UsageError, match=r"A holds no genes\.json"):
        FoldFolder.of(tmp_path, "A").genes()
    with pytest.raises(UsageError, match=r"study\.json"):
        load_study(tmp_path)


def test_objects_are_not_stored(tmp_path: Path) -> None:
    folder = FoldFolder.of(tmp_path, "A")
    with pytest.raises(TypeError, match="arrays of objects are not stored"):
        folder.save_clusters(np.array([1, None], dtype=object))
    assert not (tmp_path / "predictions").exists()


def test_a_study_comes_back(tmp_path: Path) -> None:
    record = StudyRecord(
        cohort="cohort.toml",
        protocol="paper",
        truth="paper",
        methods=("bleep", "mean"),
        seeds=(0, 2),
        markers=(),
        folds={"A": {"sections": ["A-1"]}},
        config={"optim": {"epochs": 3}},
    )
    save_study(tmp_path, record)
    assert load_study(tmp_path) == record


@pytest.mark.parametrize(
    ("name", "safe"), [("bleep:paper", "bleep-paper"), ("a/../b", "a-..-b"), ("..", "-"), ("C5 (1)", "C5--1-")]
)
def test_names_are_safe_in_files(name: str, safe: str) -> None:
    assert file_name(name) == safe
