"""Differences between methods: by hand, paired, over seeds, from saved files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bleep_train.metrics.per_gene import pearson
from bleep_train.study.differences import PairedFold, differences, differences_table, saved_fold
from bleep_train.study.saved import FoldFolder, FoldTruth

XY = np.stack(np.meshgrid(np.arange(20), np.arange(20)), axis=-1).reshape(-1, 2) * 50.0
SYMBOLS = np.array([f"G{i}" for i in range(6)])
SETS = {"hvg50": ["G1", "G0"], "all": ["G1", "G0", "G2", "G3", "G4"]}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Three folds; ``good`` follows the measurement, ``bad`` less so, ``twin`` is nearly ``good``."""
    rng = np.random.default_rng(0)
    for fold in "ABC":
        measured = rng.normal(size=(400, 6)).astype(np.float32)
        folder = FoldFolder.of(tmp_path, fold)
        names = np.array([f"s{i}" for i in range(400)])
        section, reference = np.array([fold] * 400), measured.astype("f2")
        folder.save_truth(FoldTruth(SYMBOLS, measured, measured[0], section, names, XY, reference), SETS)
        for seed in (0, 1):
            noise = rng.normal(size=(3, 400, 6))
            folder.save_predicted("good", seed, (measured + noise[0]).astype(np.float32))
            folder.save_predicted("bad", seed, (measured + 2 * noise[0] + noise[1]).astype(np.float32))
            folder.save_predicted("twin", seed, (measured + noise[0] + 0.01 * noise[2]).astype(np.float32))
    return tmp_path


def folds_of(out: Path, methods: tuple[str, ...]) -> list[PairedFold]:
    return [saved_fold(out, fold, {method: [0, 1] for method in methods}) for fold in "ABC"]


def test_the_mean_difference_is_over_seeds_and_folds(out: Path) -> None:
    (found,) = differences(folds_of(out, ("good", "bad")), ("good", "bad"))
    by_hand = []
    for fold in "ABC":
        folder = FoldFolder.of(out, fold)
        r = {
            m: np.mean([pearson(folder.predicted(m, seed), folder.truth().measured)[:2] for seed in (0, 1)])
            for m in ("good", "bad")
        }
        by_hand.append(r["good"] - r["bad"])
    assert (found.reference, found.method) == ("good", "bad")
    assert found.mean["hvg50"] == pytest.approx(np.mean(by_hand))
    assert list(found.mean) == ["hvg50", "all"]
    for name in found.mean:
        low, high = found.intervals[name]
        assert 0 < low < found.mean[name] < high


def test_paired_methods_that_hardly_differ_have_a_narrow_interval(out: Path) -> None:
    bad, twin = differences(folds_of(out, ("good", "bad", "twin")), ("good", "bad", "twin"))
    widths = [np.diff(one.intervals["hvg50"])[0] for one in (bad, twin)]
    assert widths[1] < widths[0] / 20
    assert abs(twin.mean["hvg50"]) < 0.002


def test_the_same_files_give_the_same_numbers(out: Path) -> None:
    first, again = (differences(folds_of(out, ("good", "bad")), ("good", "bad")) for _ in range(2))
    assert first == again


def test_a_gene_that_is_not_predicted_counts_as_zero(out: Path) -> None:
    folder = FoldFolder.of(out, "A")
    predicted = folder.predicted("good")
    predicted[:, 0] = np.nan
    folder.save_predicted("half", 0, predicted)
    fold = saved_fold(out, "A", {"half": [0], "good": [0]})
    (found,) = differences([fold], ("good", "half"))
    missing = pearson(folder.predicted("good"), fold.measured)[0]
    assert found.mean["hvg50"] == pytest.approx(missing / 2)


def test_the_table_says_what_was_resampled(out: Path) -> None:
    folds = folds_of(out, ("good", "bad"))
    found = differences(folds, ("good", "bad"))
    table = differences_table(found, folds, "p")
    assert table.columns == ("method", "HVG50 r difference", "95 %", "all r difference", "95 %")
    assert table.title == "p: good minus each other method"
    assert table.rows[0][:2] == ("bad", f"{found[0].mean['hvg50']:.3f}")
    assert "squares of 5 spot pitches and folds resampled" in table.notes[0]
    assert len(table.notes) == 1
    few = [PairedFold("D", f.measured, np.minimum(f.blocks, 3), f.sets, f.predicted) for f in folds[:1]]
    notes = differences_table(differences(few, ("good", "bad")), few, "p").notes
    assert "not folds" in notes[0]
    assert notes[1].endswith("rough: D (4).")


def test_one_method_differs_from_nothing(out: Path) -> None:
    assert differences(folds_of(out, ("good",)), ("good",)) == []
