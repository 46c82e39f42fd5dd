"""Studies: the numbers of ``evaluate`` by another way, files that hold everything, no job done twice."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError
from bleep_cli.genes.normalise import log1p_normalise
from bleep_train.methods.simple import SHUFFLES, shuffled_rows
from bleep_train.metrics.clusters import cluster_agreement, leiden
from bleep_train.metrics.gene_gene import gene_gene, structure_agreement
from bleep_train.metrics.gene_sets import pick_gene_sets
from bleep_train.metrics.per_gene import pearson, score
from bleep_train.metrics.shifts import shifts
from bleep_train.study.plan import StudyPlan
from bleep_train.study.saved import FoldFolder, load_study

Command = Callable[..., str]
TINY = ("--config", "tiny", "--set", "data.tile_px=64", "--set", "optim.epochs=12")
MARKERS = ("--markers", "CYP3A4,HAL,NOPE,GLUL,VWF,SOX9,KRT7")
DONORS = ("--protocol", "leave-one-donor-out", "--seeds", "0", *TINY, *MARKERS)
METHODS = ("bleep", "ridge", "mean", "shuffled", "shifted")
ALL = ("--methods", ",".join(METHODS))


@pytest.fixture(scope="module")
def study(
    evaluated: Any, run: Path, phantoms: Path, bleep_train: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of a study on all three donors, and what was printed; the features lie in the run's cache."""
    out = tmp_path_factory.mktemp("study") / "out"
    shutil.copytree(run / "cache", out / "cache")
    return out, bleep_train("evaluate", phantoms, "-o", out, *DONORS, *ALL)


def rows(out: Path) -> dict[tuple[str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    return {(line["job"]["fold"], line["job"]["method"]): line for line in lines}


def positions(folder: FoldFolder) -> dict[str, np.ndarray]:
    slot = {symbol: i for i, symbol in enumerate(folder.truth().symbols.tolist())}
    return {name: np.array([slot[gene] for gene in genes]) for name, genes in folder.genes().items()}


def test_a_fold_is_the_evaluation_of_its_run(study: tuple[Path, str], evaluated: Any) -> None:
    """The study queries through torch, the evaluation through the exported bundle, which holds float16."""
    expected = json.loads((evaluated.folder / "metrics.json").read_text())["sections"]["C-S1"]
    for method, tolerance in {"bleep": 2e-3, "ridge": 1e-3, "mean": 1e-3, "shuffled": 2e-3}.items():
        scored = rows(study[0])["C", method]["scores"]
        for name in ("hvg50", "heg50", "all", "spearman", "mse"):
            assert scored[name] == pytest.approx(expected[method][name], abs=tolerance)
    ends, other = rows(study[0])["C", "ridge"]["intervals"]["hvg50"], expected["ridge"]["intervals"]["hvg50"]
    assert ends == pytest.approx(other, abs=0.05)  # resamples drawn anew


def test_everything_is_there(study: tuple[Path, str]) -> None:
    out, printed = study
    assert list(rows(out)) == [(fold, method) for fold in "ABC" for method in METHODS]
    record = load_study(out)
    assert (record.protocol, record.truth) == ("leave-one-donor-out", "leak-free")
    assert (record.methods, record.seeds, list(record.folds)) == (METHODS, (0,), ["A", "B", "C"])
    donors = {"train": ["B", "C"], "test": ["A"], "shared": []}
    assert (record.folds["A"]["sections"], record.folds["A"]["donors"]) == (["A-S1"], donors)
    assert record.config["optim"]["epochs"] == 12
    names = {f"{kind}{method}-0.npz" for kind in ("", "scores-", "clusters-", "maps-") for method in METHODS}
    found = {path.name for path in (out / "predictions" / "B").iterdir()}
    assert found == names | {"truth.npz", "genes.json", "clusters-measured.npz", "ceiling.npz"}
    assert printed == (out / "table.md").read_text()
    assert sorted(p.name for p in out.glob("*.md")) == ["clusters.md", "genegene.md", "table.md", "top_genes.md"]


def test_truth_is_the_measurement_and_gene_sets_are_of_the_training_spots(
    study: tuple[Path, str], phantoms: Path
) -> None:
    truth, sections = FoldFolder.of(study[0], "C").truth(), read_cohort(phantoms)
    held_out = sections[2]
    assert truth.barcode.tolist() == held_out.barcodes.tolist()
    assert set(truth.section.tolist()) == {"C-S1"}
    np.testing.assert_array_equal(truth.xy_l0, held_out.xy_l0)
    log1p = [log1p_normalise(s.counts, 1e4).toarray() for s in sections]
    slot = {symbol: i for i, symbol in enumerate(held_out.symbols.tolist())}
    columns = [slot[symbol] for symbol in truth.symbols.tolist()]
    np.testing.assert_allclose(truth.measured, log1p[2][:, columns], rtol=1e-6)
    training = np.concatenate(log1p[:2])
    np.testing.assert_allclose(truth.train_mean, training[:, columns].mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(truth.reference, training[:, columns], rtol=1e-3)
    picked = pick_gene_sets(training, held_out.symbols, np.ones(len(held_out.symbols), bool))
    genes = FoldFolder.of(study[0], "C").genes()
    assert {name: genes[name] for name in picked.names()} == picked.names()
    assert genes["markers"] == [gene for gene in MARKERS[1].split(",") if gene in slot]


def test_every_number_can_be_made_again_from_the_files(study: tuple[Path, str]) -> None:
    folder = FoldFolder.of(study[0], "B")
    truth, sets, found = folder.truth(), positions(folder), rows(study[0])
    for method in ("bleep", "ridge", "mean"):
        predicted, row = folder.predicted(method), found["B", method]
        inside = {"hvg50_within": row["scores"]["hvg50"]}  # one section in the fold
        assert {**score(predicted, truth.measured, sets), **inside} == pytest.approx(row["scores"], abs=1e-12)
        labels = leiden(predicted[:, sets["all"]])
        assert labels.tolist() == folder.clusters(method, 0).tolist()
        assert cluster_agreement(folder.clusters(), labels) == row["clusters"]
        structure = [gene_gene(side[:, sets["markers"]]) for side in (truth.measured, predicted)]
        expected = {"genes": "markers", **structure_agreement(*structure)}
        assert row["genegene"] == pytest.approx(expected, nan_ok=True)
    assert folder.clusters().tolist() == leiden(truth.measured[:, sets["all"]]).tolist()
    assert folder.clusters().max() > 0
    r = pearson(folder.predicted("bleep"), truth.measured)[sets["all"]]
    best = np.argsort(-r)[:5]
    top = [(truth.symbols[sets["all"][i]], pytest.approx(r[i])) for i in best]
    assert [tuple(pair) for pair in found["B", "bleep"]["top"]] == top
    assert found["B", "mean"]["top"] == []


def test_shuffled_is_the_mean_over_permutations_of_the_bleep_prediction(study: tuple[Path, str]) -> None:
    folder = FoldFolder.of(study[0], "A")
    truth, sets, original = folder.truth(), positions(folder), folder.predicted("bleep")
    orders = [shuffled_rows(len(original), i) for i in range(SHUFFLES)]
    by_hand = np.mean([score(original[order], truth.measured, sets)["hvg50"] for order in orders])
    row = rows(study[0])["A", "shuffled"]
    assert row["scores"]["hvg50"] == pytest.approx(by_hand)
    assert abs(row["scores"]["hvg50"]) < 0.1 < rows(study[0])["A", "bleep"]["scores"]["hvg50"]
    assert (row["intervals"], row["job"]["of"]) == ({}, "bleep")
    np.testing.assert_array_equal(folder.predicted("shuffled"), original[orders[0]])


def test_shifted_is_the_mean_over_maps_moved_on_their_section(study: tuple[Path, str]) -> None:
    folder = FoldFolder.of(study[0], "A")
    truth, sets, original = folder.truth(), positions(folder), folder.predicted("bleep")
    moved = shifts(original, truth.xy_l0, truth.section)
    by_hand = np.mean([score(one, truth.measured, sets)["hvg50"] for one in moved])
    row = rows(study[0])["A", "shifted"]
    assert row["scores"]["hvg50"] == pytest.approx(by_hand)
    assert (row["intervals"], row["job"]["of"]) == ({}, "bleep")
    np.testing.assert_array_equal(folder.predicted("shifted"), moved[0])


def test_a_study_run_before_maps_and_ceilings_has_them_made(
    study: tuple[Path, str], phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(study[0], tmp_path / "out"))
    later = [*out.glob("predictions/*/maps-*.npz"), *out.glob("predictions/*/ceiling.npz")]
    kept = {path: FoldFolder(path.parent).maps("ridge", 0) for path in later if path.name == "maps-ridge-0.npz"}
    assert (len(later), len(kept)) == (18, 3)
    for path in later:
        path.unlink()
    before = (out / "results.jsonl").read_text()
    assert bleep_train("evaluate", phantoms, "-o", out, *DONORS, *ALL) == study[1]
    assert (out / "results.jsonl").read_text() == before
    for path, arrays in kept.items():
        for name, values in FoldFolder(path.parent).maps("ridge", 0).items():
            np.testing.assert_array_equal(values, arrays[name])


def test_tables_and_csv_agree_with_the_rows(study: tuple[Path, str]) -> None:
    out, printed = study
    found, metrics = rows(out), json.loads((out / "metrics.json").read_text())
    for method in METHODS:
        scored = [found[fold, method]["scores"] for fold in "ABC"]
        mean = np.mean([s["hvg50"] for s in scored])
        assert metrics["methods"][method]["mean"]["hvg50"] == pytest.approx(mean)
        assert metrics["methods"][method]["deviation"]["hvg50"] == 0
        assert f"\n| {method} | {mean:.3f} | " in printed
        assert f"\n| A | {method} | {scored[0]['hvg50']:.3f} | " in printed
    low, high = metrics["methods"]["bleep"]["intervals"]["hvg50"]
    assert low < metrics["methods"]["bleep"]["mean"]["hvg50"] < high
    widths = [np.diff(found[fold, "bleep"]["intervals"]["hvg50"])[0] for fold in "ABC"]
    assert high - low < min(widths)  # three folds tell more than one
    assert f"| [{low:.3f}, {high:.3f}] |" in printed
    assert (metrics["leaks"], len(metrics["rows"])) == (False, 15)
    assert "leaks" not in printed and "both sides" not in printed
    with (out / "genes.csv").open(newline="") as file:
        genes = [row for row in csv.DictReader(file) if (row["fold"], row["method"]) == ("C", "ridge")]
    r = np.array([float(row["pearson"]) for row in genes if row["hvg50"] == "1"])
    assert np.nan_to_num(r).mean() == pytest.approx(found["C", "ridge"]["scores"]["hvg50"], abs=1e-4)
    assert "| C | ridge | " in (out / "clusters.md").read_text()
    assert f"{found['C', 'bleep']['top'][0][0]} " in (out / "top_genes.md").read_text()
    assert "| C | bleep | markers | " in (out / "genegene.md").read_text()


def test_a_study_goes_on_where_it_stopped(
    study: tuple[Path, str], phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(study[0], tmp_path / "out"))
    shutil.rmtree(out / "runs")
    whole = (out / "results.jsonl").read_text()
    lines = whole.splitlines(keepends=True)
    (out / "results.jsonl").write_text("".join(lines[:-5]) + lines[-5][:30])  # killed while writing fold C's bleep
    (out / "predictions" / "A" / "mean-0.npz").unlink()
    assert bleep_train("evaluate", phantoms, "-o", out, *DONORS, *ALL) == study[1]
    redone = (out / "results.jsonl").read_text().splitlines(keepends=True)
    assert redone == [*lines[:-5], lines[2], *lines[-5:]]
    assert [folder.name for folder in (out / "runs").iterdir()] == ["bleep-C-0"]
    assert FoldFolder.of(out, "A").has_predicted("mean", 0)
    part = bleep_train("evaluate", phantoms, "-o", out, *DONORS, "--methods", "mean,ridge", "--test", "C,A")
    assert (out / "results.jsonl").read_text() == "".join(redone)
    assert "leave-one-donor-out: 2 folds, one seed" in part
    assert "| B |" not in part and "bleep" not in part


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((*DONORS, "--set", "optim.epochs=11"), "another config; give its config and set"),
        (DONORS[:-2], "another markers; give its markers"),
        (("--protocol", "leave-one-section-out", *DONORS[2:]), "another protocol; give its protocol"),
    ],
)
def test_a_folder_holds_one_study(
    study: tuple[Path, str], phantoms: Path, bleep_train: Command, options: tuple[str, ...], told: str
) -> None:
    before = (study[0] / "study.json").read_text()
    with pytest.raises(UsageError, match=f"out holds a study with {told}, or another folder with out"):
        bleep_train("evaluate", phantoms, "-o", study[0], *options, "--methods", "mean")
    assert (study[0] / "study.json").read_text() == before


def test_a_file_of_predictions_is_scored_on_the_same_spots_and_genes(
    study: tuple[Path, str], phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    """Ridge's own predictions come back from a file with ridge's own scores; another file is scored anew."""
    parts = []
    for fold in "ABC":
        folder = FoldFolder.of(study[0], fold)
        truth, own = folder.truth(), folder.predicted("ridge")
        data = anndata.AnnData(own[::-1].copy())
        data.var_names, data.obs["barcode"] = truth.symbols, truth.barcode[::-1]
        data.obs["sample_id"] = truth.section[::-1]
        parts.append(data)
    together = anndata.concat(parts, join="inner", index_unique="-")
    together.write_h5ad(tmp_path / "theirs.h5ad")
    options = (*DONORS, "--methods", f"mean,external-log1p:other={tmp_path / 'theirs.h5ad'}")
    printed = bleep_train("evaluate", phantoms, "-o", tmp_path / "out", *options)
    found, ridge = rows(tmp_path / "out"), rows(study[0])
    lost = {f: len(FoldFolder.of(study[0], f).truth().symbols) - together.n_vars for f in "ABC"}
    for fold in "ABC":
        row = found[fold, "external:other"]
        assert row["told"][0] == f"{fold}-S1: values are log1p per 10,000 (as said)"
        if not lost[fold]:
            assert row["scores"] == pytest.approx(ridge[fold, "ridge"]["scores"])
        assert row["scores"]["mse"] == pytest.approx(ridge[fold, "ridge"]["scores"]["mse"], rel=0.1)
    assert (
        "external:other, fold A: A-S1: values are log1p per 10,000 (as said); A-S1: matched by barcode" in printed
    )
    assert "mean minus each other method" in printed  # there is no BLEEP among them
    assert bleep_train("evaluate", phantoms, "-o", tmp_path / "out", *options) == printed
    together.X = together.X + 1
    together.write_h5ad(tmp_path / "theirs.h5ad")
    bleep_train("evaluate", phantoms, "-o", tmp_path / "out", *options)
    again = rows(tmp_path / "out")
    assert again["A", "external:other"]["scores"]["mse"] > found["A", "external:other"]["scores"]["mse"] + 0.5
    assert again["A", "mean"] == found["A", "mean"]


def test_the_paper_protocol_leaks_and_says_so(
    study: tuple[Path, str], phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    """Truth is corrected, genes are picked on the held-out section: another study than the leak-free one."""
    shutil.copytree(study[0] / "cache", tmp_path / "cache")
    options = ("--protocol", "paper", "--test", "C-S1", "--methods", "ridge,mean", "--seeds", "0")
    printed = bleep_train("evaluate", phantoms, "-o", tmp_path, *options, *TINY)
    assert printed.count("paper (leaks): ") == 4
    assert "noise ceiling" not in printed  # truth is no measurement
    assert "This protocol leaks: " in printed
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["protocol"], metrics["truth"], metrics["leaks"]) == ("paper", "paper", True)
    leaking, honest = FoldFolder.of(tmp_path, "C-S1"), FoldFolder.of(study[0], "C")
    assert leaking.truth().barcode.tolist() == honest.truth().barcode.tolist()
    assert leaking.genes()["hvg50"] != honest.genes()["hvg50"]
    genes = sorted(set(leaking.truth().symbols) & set(honest.truth().symbols))
    sides = [f.truth().measured[:, np.searchsorted(np.sort(f.truth().symbols), genes)] for f in (leaking, honest)]
    assert len(genes) > 50 and not np.allclose(*sides, atol=1e-3)
    variance = leaking.truth().measured.var(axis=0, dtype=np.float64)
    assert variance[positions(leaking)["hvg50"]].min() >= np.sort(variance)[-50]
    assert "(leaks)" in (tmp_path / "top_genes.md").read_text()


def test_sections_of_one_donor(
    study: tuple[Path, str], phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    """On both sides, it is told; left out together, they are also scored one by one."""
    text = phantoms.read_text().replace('donor = "C"', 'donor = "A"')
    for key in ("image", "spaceranger"):
        text = text.replace(f'{key} = "', f'{key} = "{phantoms.parent.as_posix()}/')
    cohort = tmp_path / "cohort.toml"
    cohort.write_text(text)
    options = ("--protocol", "leave-one-section-out", "--methods", "mean", *TINY)
    printed = bleep_train("evaluate", cohort, "-o", tmp_path / "out", *options)
    told = "donor A is on both sides: this measures a new section, not a new patient."
    assert f"Fold A-S1: {told}" in printed and f"Fold C-S1: {told}" in printed
    assert "Fold B-S1" not in printed
    folds = json.loads((tmp_path / "out" / "metrics.json").read_text())["folds"]
    assert folds["C-S1"]["donors"]["shared"] == ["A"]
    shutil.copytree(study[0] / "cache", tmp_path / "donors" / "cache")
    options = ("--protocol", "leave-one-donor-out", "--methods", "ridge", "--test", "A", *TINY)
    printed = bleep_train("evaluate", cohort, "-o", tmp_path / "donors", *options)
    folder = FoldFolder.of(tmp_path / "donors", "A")
    truth, of_set, predicted = folder.truth(), positions(folder)["hvg50"], folder.predicted("ridge")
    assert truth.section.tolist() == ["A-S1"] * 45 + ["C-S1"] * 45
    halves = (slice(0, 45), slice(45, 90))
    r = [np.nan_to_num(pearson(predicted[half], truth.measured[half])[of_set]).mean() for half in halves]
    scored = rows(tmp_path / "donors")["A", "ridge"]["scores"]
    assert scored["hvg50_within"] == pytest.approx(np.mean(r), abs=1e-6)
    assert scored["hvg50_within"] != pytest.approx(scored["hvg50"], abs=1e-3)
    assert "| HVG50 r | HVG50 r in sections |" in printed


def test_what_no_seed_changes_runs_once_and_shuffling_comes_last() -> None:
    plan = StudyPlan("paper", ("shuffled", "bleep:clip", "ridge", "bleep", "mean"), seeds=(3, 4))
    bleeps = [("bleep:clip", 3), ("bleep:clip", 4), ("ridge", 3), ("bleep", 3), ("bleep", 4), ("mean", 3)]
    assert plan.jobs() == [*bleeps, ("shuffled", 3), ("shuffled", 4)]
    assert plan.null_of == "bleep:clip"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ((), "--protocol is missing for COHORT alone"),
        (("--on", "C-S1"), "--on needs RUN|BUNDLE COHORT"),
        (("-k", "5", "--views", "8", "--no-ridge", "--protocol", "paper"), "-k, --views, --no-ridge needs RUN"),
        (("COHORT", "--on", "C-S1", "--protocol", "paper"), "--protocol trains on a COHORT alone"),
        (("COHORT", "--on", "C-S1", "--seeds", "0", "--set", "a.b=1"), "--seeds, --set trains on a COHORT alone"),
        (("COHORT",), "--on is missing"),
        (("--protocol", "paper", "--methods", "mean,best"), "methods best: choose among"),
        (("--protocol", "paper", "--methods", "mean,shuffled"), "methods shuffled: needs a bleep method"),
        (("--protocol", "paper", "--methods", ","), "methods and seeds need at least one entry"),
        (("--protocol", "paper", "--methods", "external:none.h5ad"), "methods external:none: no file none.h5ad"),
        (("--protocol", "paper", "--methods", "mean,shifted"), "methods shifted: needs a bleep method"),
        (("--protocol", "paper", "--seeds", "one"), "one: whole numbers separated by commas"),
        (("--protocol", "paper", "--test", "C", "--methods", "mean"), "no section is named C; there are A-S1"),
        (("--protocol", "leave-one-donor-out", "--test", "C-S1", "--methods", "mean"), "no donor is named C-S1"),
    ],
)
def test_what_does_not_go_together_is_told(
    phantoms: Path, bleep_train: Command, tmp_path: Path, args: tuple[str, ...], told: str
) -> None:
    given = [phantoms if arg == "COHORT" else arg for arg in args]
    with pytest.raises(UsageError) as error:
        bleep_train("evaluate", phantoms, *given, "-o", tmp_path / "out")
    assert told in str(error.value)
    assert not (tmp_path / "out" / "study.json").exists()
