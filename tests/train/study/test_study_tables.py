"""A study's tables from made-up rows: means over folds and seeds, methods in order, what is missing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_train.metrics.per_gene import GENE_METRICS
from bleep_train.study.run import StudyResult
from bleep_train.study.saved import FoldFolder, FoldTruth, StudyRecord
from bleep_train.study.tables import LEAKS, StudyTables

R = {  # method: fold: r of each seed
    "mean": {"A": [0.0], "B": [0.0]},
    "bleep": {"A": [0.1, 0.2], "B": [0.3, 0.4]},
}


def row(fold: str, method: str, seed: int, r: float) -> dict[str, Any]:
    scores = {"hvg50": r, "heg50": r / 2, "all": r / 4, "variance_ratio": math.nan, "spearman": r, "mse": 1.0}
    first: dict[str, Any] = {
        "clusters": {"nmi": 0.5, "ari": -0.25, "measured": 3, "predicted": 2},
        "genegene": {"genes": "hvg50", "r": math.nan, "mad": 0.125, "pairs": 1225},
    }
    return {
        "job": {"fold": fold, "method": method, "seed": seed},
        "scores": {**scores, "n_spots": 40, "n_nan": 2},
        "intervals": {"hvg50": (r - 0.1, r + 0.1)} if seed == 0 else {},
        "top": [("HAL", r)] if r else [],
        **(first if seed == 0 else {}),
    }


@pytest.fixture
def tables(tmp_path: Path) -> StudyTables:
    rows = [row(f, m, s, r) for f in "AB" for m in R for s, r in enumerate(R[m][f])]
    for fold in "AB":
        folder = FoldFolder.of(tmp_path, fold)
        flat, names = np.zeros((40, 2), np.float32), np.array(["x"] * 40)
        truth = FoldTruth(
            np.array(["HAL", "VWF"]), flat, flat[0], names, names, flat.astype(float), flat.astype("f2")
        )
        folder.save_truth(truth, {"hvg50": ["VWF"], "all": ["HAL", "VWF"]})
        for method, folds in R.items():
            for seed, r in enumerate(folds[fold]):
                arrays = {name: np.array([r, math.nan]) for name in GENE_METRICS}
                resampled = {"resampled_hvg50": np.linspace(r - 0.1, r + 0.1, 1001)} if method == "bleep" else {}
                folder.save_predicted(method, seed, flat)
                folder.save_scores(method, seed, {**arrays, **resampled})
    folds = {f: {"sections": [f], "donors": {"train": [], "test": [], "shared": []}, "data": "0"} for f in "AB"}
    record = StudyRecord("c.toml", "leave-one-donor-out", "leak-free", tuple(R), (0, 1), (), folds, {})
    return StudyTables(StudyResult(record, tuple(rows)), tmp_path)


def test_summary_by_hand(tables: StudyTables) -> None:
    summary = tables.summary()
    assert summary.title == "leave-one-donor-out: 2 folds, mean over 2 seeds ± the largest deviation"
    columns = ("method", "HVG50 r", "HEG50 r", "all r", "variance ratio", "HVG50 ρ", "MSE", "HVG50 r 95 %")
    assert summary.columns == columns
    deviating = ("0.250 ± 0.050", "0.125 ± 0.025", "0.062 ± 0.013", "– ± –", "0.250 ± 0.050", "1.000 ± 0.000")
    assert summary.rows[0] == ("bleep", *deviating, "[0.155, 0.345]")  # 0.25 ± 0.1 over seeds, its inner 95 %
    assert summary.rows[1] == ("mean", "0.000", "0.000", "0.000", "–", "0.000", "1.000", "–")


def test_markers_that_are_not_scored_are_told(tables: StudyTables) -> None:
    assert not any("Markers" in note for note in tables.summary().notes)
    asked = StudyTables(StudyResult(replace(tables.record, markers=("HAL", "NOPE")), tables.rows), tables.out)
    for fold, genes in {"A": ["HAL"], "B": ["HAL"]}.items():
        folder = FoldFolder.of(tables.out, fold)
        folder.save_truth(folder.truth(), {**folder.genes(), "markers": genes})
    told = "Markers not among the genes of every fold, and left out there: NOPE."
    assert told in asked.summary().notes


def test_folds_by_hand(tables: StudyTables) -> None:
    found = {(r[0], r[1]): r for r in tables.per_fold().rows}
    assert found["B", "bleep"][2] == "0.350 ± 0.050"
    assert found["B", "bleep"][-3:] == ("[0.255, 0.445]", "40", "2")  # 0.35 ± 0.1
    assert found["A", "mean"][2] == "0.000"


def test_a_leaking_protocol_is_told_below_every_table(tables: StudyTables) -> None:
    for fold in "AB":
        FoldFolder.of(tables.out, fold).save_ceiling(np.array([0.5, math.nan]))
    paper = StudyTables(StudyResult(replace(tables.record, truth="paper"), tables.rows), tables.out)
    for of in (tables, paper):
        every = (*of.main(), of.top_genes(), of.clusters(), of.gene_gene())
        assert [sum(note == LEAKS for note in table.notes) for table in every] == [int(of is paper)] * 8


def test_several_sections_in_a_fold_are_also_scored_one_by_one(tables: StudyTables) -> None:
    assert "hvg50_within" not in tables.numbers
    folds = {name: {**fold, "sections": [name, "more"]} for name, fold in tables.record.folds.items()}
    rows = tuple({**r, "scores": {**r["scores"], "hvg50_within": 0.125}} for r in tables.rows)
    several = StudyTables(StudyResult(replace(tables.record, folds=folds), rows), tables.out).summary()
    assert several.columns[1:3] == ("HVG50 r", "HVG50 r in sections")
    assert several.rows[1][2] == "0.125"


def test_structure_and_top_genes_are_of_the_first_seed(tables: StudyTables) -> None:
    assert tables.top_genes().rows[1] == ("A", "bleep", "HAL 0.100", "–", "–", "–", "–")
    assert tables.clusters().rows[1] == ("A", "bleep", "0.500", "-0.250", "3", "2")
    assert tables.gene_gene().rows[1] == ("A", "bleep", "hvg50", "–", "0.125", "1225")
    assert [len(t.rows) for t in (tables.top_genes(), tables.clusters(), tables.gene_gene())] == [4, 4, 4]


def test_files(tables: StudyTables, tmp_path: Path) -> None:
    tables.write()
    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=pytest.fail)  # no NaN in JSON
    bleep = metrics["methods"]["bleep"]
    assert bleep["mean"]["hvg50"] == pytest.approx(0.25)
    assert bleep["deviation"]["hvg50"] == pytest.approx(0.05)
    assert bleep["mean"]["variance_ratio"] is None
    assert bleep["intervals"] == {"hvg50": pytest.approx([0.155, 0.345]), "heg50": None, "all": None}
    assert bleep["n_nan"] == 4
    assert metrics["rows"][1]["genegene"]["r"] is None
    (compared,) = metrics["differences"]
    assert (compared["reference"], compared["method"]) == ("bleep", "mean")  # BLEEP first
    assert compared["intervals"] == {"hvg50": [0, 0], "all": [0, 0]}  # constant predictions
    assert "bleep minus each other method" in (tmp_path / "table.md").read_text()
    assert metrics["folds"]["A"] == {"sections": ["A"], "donors": {"train": [], "test": [], "shared": []}}
    lines = (tmp_path / "genes.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 2 * 2
    assert lines[3].startswith("A,bleep,HAL,0,0,1,0,0,0,0.15,0.15,")  # the mean over seeds
    assert lines[4].startswith("A,bleep,VWF,1,0,1,0,0,0,nan,nan,")
