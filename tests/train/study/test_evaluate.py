"""Train → export → evaluate: the numbers are those of ``bleep predict``, whichever way one comes to them."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest

from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.storage.content_hash import content_sha256
from bleep_cli.bundle.storage.store import open_group
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.genes.columns import measured_log1p
from bleep_cli.types import Section
from bleep_train.methods.simple import mean_predictor
from bleep_train.metrics.gene_sets import pick_gene_sets
from bleep_train.metrics.per_gene import pearson, score
from bleep_train.runs.record import RunFolder

Command = Callable[..., str]
METHODS = ["bleep", "ridge", "mean", "shuffled", "shifted"]
SETS = ("hvg50", "heg50", "all")


def metrics(folder: Path) -> Any:
    return json.loads((folder / "metrics.json").read_text())


def without_intervals(scored: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in scored.items() if key != "intervals"}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "genes.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def genes_of(folder: Path, method: str, column: str) -> dict[str, float]:
    """A column of ``genes.csv`` by gene."""
    return {row["gene"]: float(row[column]) for row in rows(folder) if row["method"] == method}


def measured_on(section: Section, bundle: Bundle) -> Any:
    return measured_log1p(section, bundle.symbols, bundle.gene_ids, bundle.info.target_sum)


def rewritten(phantoms: Path, out: Path, old: str, new: str) -> Path:
    """The cohort file with something replaced, its paths leading to the same sections."""
    text = phantoms.read_text().replace('image = "', f'image = "{phantoms.parent.as_posix()}/')
    text = text.replace('spaceranger = "', f'spaceranger = "{phantoms.parent.as_posix()}/')
    assert text.count(old) == 1
    out.write_text(text.replace(old, new))
    return out


def test_metrics_have_the_documented_keys(evaluated: Any) -> None:
    written = metrics(evaluated.folder)
    assert list(written["sections"]) == ["C-S1"]
    assert list(written["sections"]["C-S1"]) == METHODS
    for method, scored in written["sections"]["C-S1"].items():
        resampled = {"intervals"} if method not in ("shuffled", "shifted") else set()
        assert set(scored) == {
            *SETS,
            "variance_ratio",
            "spearman",
            "mse",
            "n_spots",
            "n_nan",
            "n_absent",
            *resampled,
        }
        assert scored["n_spots"] == 45
    assert written["donors"] == {"train": ["A", "B"], "test": ["C"], "shared": []}
    assert written["protocol"] == "leak-free"


def test_what_is_learned_shows_and_the_baselines_are_in_their_place(evaluated: Any) -> None:
    scored = metrics(evaluated.folder)["sections"]["C-S1"]
    assert scored["bleep"]["hvg50"] > 0.25
    assert scored["ridge"]["hvg50"] > 0.25
    assert abs(scored["shuffled"]["hvg50"]) < 0.1
    assert abs(scored["shifted"]["hvg50"]) < 0.2  # smooth maps agree by chance, 45 spots hold few of them
    assert [scored["mean"][name] for name in SETS] == [0, 0, 0]
    assert scored["mean"]["variance_ratio"] == 0
    assert scored["mean"]["n_nan"] > 100  # all that is scored
    assert scored["bleep"]["n_nan"] < 10
    assert scored["bleep"]["spearman"] > 0.25
    assert scored["mean"]["spearman"] == 0
    assert scored["bleep"]["mse"] < scored["mean"]["mse"] < scored["shuffled"]["mse"]


def test_differences_maps_and_ceiling_stand_beside_the_scores(evaluated: Any) -> None:
    written = metrics(evaluated.folder)
    scored = written["sections"]["C-S1"]
    assert [one["method"] for one in written["differences"]] == ["ridge", "mean"]
    for one in written["differences"]:
        by_hand = scored["bleep"]["hvg50"] - scored[one["method"]]["hvg50"]
        assert one["mean"]["hvg50"] == pytest.approx(by_hand, abs=1e-6)
        low, high = one["intervals"]["hvg50"]
        assert low < by_hand < high
    maps = written["maps"]["C-S1"]
    assert list(maps) == METHODS
    assert maps["bleep"]["auc"] > 0.55 and maps["mean"]["auc"] == 0.5
    assert maps["bleep"]["significant"] > maps["shuffled"]["significant"] == 0
    assert maps["bleep"]["ssim"] > maps["shuffled"]["ssim"]
    assert (maps["mean"]["moran_r"], maps["mean"]["svg_hits"]) == (None, 0)
    for name, found in written["ceilings"]["C-S1"].items():
        assert scored["bleep"][name] < found["ceiling"] < 1
        assert found["reliability"] < found["ceiling"]
    for told in ("bleep minus each other method", "sections: maps", "noise ceiling", "genes at FDR 5 %"):
        assert told in evaluated.printed
    q = np.array(list(genes_of(evaluated.folder, "bleep", "q").values()))
    assert (q < 0.05).sum() == maps["bleep"]["significant"]


def test_intervals_over_spots_hold_the_estimate(evaluated: Any) -> None:
    scored = metrics(evaluated.folder)["sections"]["C-S1"]
    for method in ("bleep", "ridge"):
        assert set(scored[method]["intervals"]) == set(SETS)
        for name in SETS:
            low, high = scored[method]["intervals"][name]
            assert low < scored[method][name] < high
    assert scored["bleep"]["intervals"]["hvg50"][0] > 0
    assert scored["mean"]["intervals"] == {name: [0, 0] for name in SETS}
    columns = (genes_of(evaluated.folder, "bleep", name) for name in ("pearson_low", "pearson", "pearson_high"))
    low, r, high = (np.array(list(column.values())) for column in columns)
    known = ~np.isnan(r)
    assert np.mean((low < r)[known] & (r < high)[known]) > 0.98
    assert np.isnan(list(genes_of(evaluated.folder, "shuffled", "pearson_low").values())).all()


def test_table_csv_and_gene_sets_agree_with_the_metrics(evaluated: Any) -> None:
    table = (evaluated.folder / "table.md").read_text()
    assert evaluated.printed == table
    sets, genes = json.loads((evaluated.folder / "gene_sets.json").read_text()), rows(evaluated.folder)
    scored = metrics(evaluated.folder)["sections"]["C-S1"]
    assert list(dict.fromkeys(row["method"] for row in genes)) == METHODS
    assert {row["fold"] for row in genes} == {"C-S1"}
    for name in SETS:
        assert len(sets[name]) == (50 if name != "all" else len(genes) / 5)
        assert {row["gene"] for row in genes if row[name] == "1"} == set(sets[name])
    for method in METHODS:
        r, error, ranks = (genes_of(evaluated.folder, method, name) for name in ("pearson", "mse", "spearman"))
        assert f"| C-S1 | {method} | {scored[method]['hvg50']:.3f} | " in table
        for name in SETS:
            by_hand = np.mean(np.nan_to_num([r[gene] for gene in sets[name]]))
            assert scored[method][name] == pytest.approx(by_hand, abs=1e-9)
        assert scored[method]["mse"] == pytest.approx(np.mean([error[gene] for gene in sets["all"]]), abs=1e-9)
        of_hvg = np.nan_to_num([ranks[gene] for gene in sets["hvg50"]])
        assert scored[method]["spearman"] == pytest.approx(np.mean(of_hvg), abs=1e-9)


def test_gene_sets_are_picked_on_the_training_spots(evaluated: Any, phantoms: Path) -> None:
    bundle = open_bundle(evaluated.bundle)
    known = read_cohort(phantoms, only=["A-S1", "B-S1"])
    training = np.concatenate([measured_on(section, bundle) for section in known])
    training = training.astype(np.float16).astype(np.float32)  # as the bundle holds it
    everywhere = np.ones(len(bundle.symbols), bool)
    picked = pick_gene_sets(training, bundle.symbols, everywhere).names()
    assert json.loads((evaluated.folder / "gene_sets.json").read_text()) == picked
    held_out = measured_on(read_cohort(phantoms, only=["C-S1"])[0], bundle)
    assert pick_gene_sets(held_out, bundle.symbols, everywhere).names() != picked
    mean = score(mean_predictor(training, 45), held_out, pick_gene_sets(training, bundle.symbols, everywhere).sets)
    assert without_intervals(metrics(evaluated.folder)["sections"]["C-S1"]["mean"]) == mean


def test_the_bundle_gives_the_numbers_of_its_run(
    evaluated: Any, run: Path, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    """A bundle alone, moved elsewhere and under another name; the frozen features are taken from the cache."""
    bundle = shutil.copytree(evaluated.bundle, tmp_path / "moved.zarr")
    shutil.copytree(run / "cache", tmp_path / "result" / "cache")
    printed = bleep_train("evaluate", bundle, phantoms, "--on", "C-S1", "-o", tmp_path / "result")
    assert printed == evaluated.printed
    assert metrics(tmp_path / "result") == metrics(evaluated.folder)
    assert rows(tmp_path / "result") == rows(evaluated.folder)


def test_predict_gives_exactly_what_was_scored(
    evaluated: Any, phantoms: Path, bleep: Command, tmp_path: Path
) -> None:
    """Every spot of the positions file through ``bleep predict --at``, scored by hand."""
    section = phantoms.parent / "C-S1"
    positions = section / "outs" / "spatial" / "tissue_positions.csv"
    bleep(
        "predict", section / "C-S1.tif", "--ref", evaluated.bundle, "--at", positions, "-o", tmp_path,
        "--format", "h5ad",
    )  # fmt: skip
    predicted = anndata.read_h5ad(tmp_path / "C-S1.h5ad")
    bundle, (held_out,) = open_bundle(evaluated.bundle), read_cohort(phantoms, only=["C-S1"])
    assert len(predicted) > len(held_out.barcodes)  # those outside tissue, too
    assert list(predicted.var_names) == bundle.symbols.tolist()
    at = predicted[held_out.barcodes.tolist()]
    np.testing.assert_array_equal(at.obsm["spatial"], held_out.xy_l0)
    x, measured = np.asarray(at.X), measured_on(held_out, bundle)
    slot = {symbol: i for i, symbol in enumerate(bundle.symbols)}
    names = json.loads((evaluated.folder / "gene_sets.json").read_text())
    sets = {name: np.array([slot[gene] for gene in genes]) for name, genes in names.items()}
    written = metrics(evaluated.folder)["sections"]["C-S1"]["bleep"]
    assert score(x, measured, sets) == without_intervals(written)
    r = pearson(x, measured)
    found = genes_of(evaluated.folder, "bleep", "pearson")
    assert found == pytest.approx({gene: r[slot[gene]] for gene in found}, rel=0, abs=0, nan_ok=True)


def test_the_runtime_builds_the_same_bundle_from_the_towers(
    evaluated: Any, run: Path, phantoms: Path, bleep: Command, tmp_path: Path
) -> None:
    out = tmp_path / "built.zarr.zip"
    bleep("build-reference", phantoms, "--only", "A-S1,B-S1", "--encoders", run / "encoders", "-o", out)
    built, exported = open_bundle(out), open_bundle(evaluated.bundle)
    seen = tuple(replace(section, towers_saw_it=True) for section in built.info.sections)  # which it cannot know
    assert replace(built.info, sections=seen) == exported.info
    for name in ("expression", "embeddings/image", "embeddings/expression", "genes/heldout_r"):
        np.testing.assert_array_equal(built.read(name), exported.read(name))
    assert exported.n_spots == 89
    assert [s.id for s in exported.info.sections] == ["A-S1", "B-S1"]
    assert exported.gene_ids[exported.panel].tolist() == json.loads((run / "run.json").read_text())["panel"]


def test_export_says_what_it_packed(evaluated: Any) -> None:
    assert f"89 spots × 327 genes, {open_bundle(evaluated.bundle).content_sha256[:12]}" in evaluated.exported
    assert "100.0% of the 50 neighbours agree" in evaluated.exported


@pytest.mark.parametrize("name", ["A-S1", "Z-S9"])
def test_a_section_of_the_reference_is_refused_under_any_name(
    evaluated: Any, phantoms: Path, bleep_train: Command, tmp_path: Path, name: str
) -> None:
    cohort = rewritten(phantoms, tmp_path / "cohort.toml", 'id = "A-S1"', f'id = "{name}"')
    with pytest.raises(UsageError, match=f"on {name}: these sections are in the reference; hold them out"):
        bleep_train("evaluate", evaluated.bundle, cohort, "--on", f"C-S1,{name}", "-o", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("on", "told"), [("D-S1", r"cohort\.toml has no section D-S1"), (" , ", "on names no section")]
)
def test_what_is_asked_for_must_be_there(
    evaluated: Any, phantoms: Path, bleep_train: Command, tmp_path: Path, on: str, told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        bleep_train("evaluate", evaluated.bundle, phantoms, "--on", on, "-o", tmp_path)


def test_ridge_needs_the_sections_that_the_reference_was_built_from(
    evaluated: Any, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    cohort = rewritten(phantoms, tmp_path / "c.toml", '/B-S1/outs"', '/C-S1/outs"')
    with pytest.raises(UsageError, match=r"c\.toml: sections B-S1 are not those the reference was built from"):
        bleep_train("evaluate", evaluated.bundle, cohort, "--on", "C-S1", "-o", tmp_path / "out")


def test_options_and_shared_donors_are_told(
    evaluated: Any, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    cohort = rewritten(phantoms, tmp_path / "cohort.toml", 'donor = "C"', 'donor = "A"')
    options = ("--no-ridge", "--markers", "CYP3A4,NOPE, HAL", "-k", "10", "--views", "8")
    printed = bleep_train("evaluate", evaluated.bundle, cohort, "--on", "C-S1", "-o", tmp_path / "out", *options)
    written = metrics(tmp_path / "out")
    scored = written["sections"]["C-S1"]
    assert sorted(scored) == ["bleep", "mean", "shifted", "shuffled"]
    assert written["donors"]["shared"] == ["A"]
    assert "Donor A is on both sides: this measures a new section, not a new patient." in printed
    assert json.loads((tmp_path / "out" / "gene_sets.json").read_text())["markers"] == ["CYP3A4", "HAL"]
    r = genes_of(tmp_path / "out", "bleep", "pearson")
    assert scored["bleep"]["markers"] == pytest.approx((r["CYP3A4"] + r["HAL"]) / 2)
    before = metrics(evaluated.folder)["sections"]["C-S1"]["bleep"]
    assert scored["bleep"]["variance_ratio"] > before["variance_ratio"]  # ten neighbours smooth less than fifty


def test_evaluate_exports_a_run_only_where_its_bundle_is_behind(
    evaluated: Any,
    own_run: Path,
    phantoms: Path,
    bleep_train: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exports: list[Path] = []

    def export(run: RunFolder, out: Path, *, force: bool, **_rest: Any) -> None:
        assert force
        exports.append(out)
        shutil.copytree(evaluated.bundle, out, dirs_exist_ok=True)

    monkeypatch.setattr("bleep_train.runs.export.export_run", export)
    bundle, checkpoint = own_run / "bundle.zarr", own_run / "checkpoint.safetensors"
    here = ("evaluate", own_run, phantoms, "--on", "C-S1", "-o", tmp_path / "out", "--no-ridge")
    bleep_train(*here)
    assert exports == [bundle]
    os.utime(bundle, ns=(checkpoint.stat().st_mtime_ns + 10**9,) * 2)
    bleep_train(*here)
    assert exports == [bundle]
    os.utime(checkpoint, ns=(bundle.stat().st_mtime_ns + 10**9,) * 2)  # trained on
    bleep_train(*here)
    assert exports == [bundle, bundle]


def test_a_run_that_was_begun_anew_does_not_show_its_old_bundle(
    evaluated: Any, own_run: Path, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    shutil.copytree(evaluated.bundle, own_run / "bundle.zarr")
    (own_run / "checkpoint.safetensors").unlink()
    with pytest.raises(UsageError, match="own has no checkpoint yet"):
        bleep_train("evaluate", own_run, phantoms, "--on", "C-S1", "-o", tmp_path / "out")


def test_what_is_neither_run_nor_bundle(phantoms: Path, bleep_train: Command, tmp_path: Path) -> None:
    with pytest.raises((ReferenceError, UsageError), match="nothing"):
        bleep_train("evaluate", tmp_path / "nothing", phantoms, "--on", "C-S1", "-o", tmp_path / "out")


def test_a_bundle_does_not_get_its_makers_code_run(
    evaluated: Any, phantoms: Path, bleep_train: Command, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(evaluated.bundle, tmp_path / "foreign.zarr"))
    code = tmp_path / "code.py"
    code.write_text("raise SystemExit('it was run')\n")
    root = json.loads((bundle / "zarr.json").read_text())
    root["attributes"]["training"]["model"]["backbone"] = f"file:{code}"
    (bundle / "zarr.json").write_text(json.dumps(root))
    root["attributes"]["content_sha256"] = content_sha256(open_group(bundle)[0], root["attributes"])
    (bundle / "zarr.json").write_text(json.dumps(root))
    command = ("evaluate", bundle, phantoms, "--on", "C-S1", "-o", tmp_path / "out")
    with pytest.raises(UsageError, match=r"backbone of its maker's own code.* use no_ridge"):
        bleep_train(*command)
    bleep_train(*command, "--no-ridge")
    assert "ridge" not in metrics(tmp_path / "out")["sections"]["C-S1"]
