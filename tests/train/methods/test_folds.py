"""What a fold is scored on: genes of the training sections alone, each symbol once."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError
from bleep_train.config.schema import Config, DataConfig
from bleep_train.data.tile_cache import cache_tag
from bleep_train.methods.folds import CohortFold, Study
from bleep_train.methods.simple import mean_predictor
from bleep_train.study.fold_table import absent_genes
from bleep_train.study.journal import fingerprint
from bleep_train.study.run import spots_of
from bleep_train.study.scoring import score_fold

CONFIG = Config(data=DataConfig(tile_um=(64.0,), tile_px=16))


def fold_of(cohort: Path, cache: Path, *held_out: str) -> CohortFold:
    study = Study(cohort, CONFIG, cache)
    return study.data(next(f for f in study.folds("donor") if f.name == held_out[0]))


def rewrite(table: Path, genes: list[str]) -> None:
    """The counts of an ST section with these genes only."""
    pd.read_csv(table, sep="\t", index_col=0)[genes].to_csv(table, sep="\t", index_label="")


def test_a_held_out_section_decides_nothing_of_the_gene_sets(
    make_sections: Callable[..., Path], tmp_path: Path
) -> None:
    cohort = make_sections(("st", "st", "st"))
    before = fold_of(cohort, tmp_path, "DS2")
    rewrite(cohort.parent / "S2.tsv", [f"GENE{i}" for i in range(4, 12)])
    after = fold_of(cohort, tmp_path, "DS2")
    assert {name: before.symbols[rows].tolist() for name, rows in before.sets.items()} == {
        name: after.symbols[rows].tolist() for name, rows in after.sets.items()
    }
    np.testing.assert_array_equal(before.train_y, after.train_y)
    absent = np.isin(after.symbols, [f"GENE{i}" for i in range(4)])
    np.testing.assert_array_equal(np.isnan(after.test_y), np.broadcast_to(absent, after.test_y.shape))


def test_genes_that_are_not_measured_are_in_no_mean_of_a_fold(
    make_sections: Callable[..., Path], tmp_path: Path
) -> None:
    cohort = make_sections(("st", "st", "st"))
    rewrite(cohort.parent / "S2.tsv", [f"GENE{i}" for i in range(4, 12)])
    text = cohort.read_text().replace('donor = "DS1"', 'donor = "DS2"')  # a fold of two, of which one has them
    cohort.write_text(text)
    data = fold_of(cohort, tmp_path, "DS2")
    predicted = np.where(np.isnan(data.test_y), 1, data.test_y).astype(np.float32)
    scored = score_fold(data, [predicted], with_intervals=True)
    assert scored.scores["n_absent"] == 4
    assert [scored.scores[name] for name in ("all", "hvg50", "hvg50_within")] == pytest.approx([1, 1, 1])
    assert scored.intervals["all"] == pytest.approx((1, 1))
    row = scored.row({"fold": "DS2", "method": "m", "seed": 0})
    assert list(absent_genes([row, row])) == [
        "Fold DS2: 4 of the genes of *all* are not measured there and are in none of its means."
    ]
    whole = fold_of(cohort, tmp_path, "DS0")
    assert "GENE0" not in whole.symbols  # S2 is trained on
    assert list(absent_genes([score_fold(whole, [whole.test_y], with_intervals=False).row(row["job"])])) == []


def test_a_study_tells_sections_with_other_spots_apart(make_sections: Callable[..., Path]) -> None:
    cohort = make_sections(("st",))
    whole = read_cohort(cohort)
    least = int(np.asarray(whole[0].counts.sum(axis=1)).min()) + 1
    cohort.write_text(f"min_counts = {least}\n" + cohort.read_text())
    fewer = read_cohort(cohort)
    assert whole[0].sha256 == fewer[0].sha256
    assert fingerprint({"data": spots_of(whole)}) != fingerprint({"data": spots_of(fewer)})
    spec = CONFIG.data.tile
    assert cache_tag(whole[0], spec) != cache_tag(fewer[0], spec)


def test_a_section_that_measures_nothing_of_it_is_refused(
    make_sections: Callable[..., Path], tmp_path: Path
) -> None:
    cohort = make_sections(("st", "st", "st"))
    table = cohort.parent / "S2.tsv"
    pd.read_csv(table, sep="\t", index_col=0).add_prefix("X").to_csv(table, sep="\t", index_label="")
    data = fold_of(cohort, tmp_path, "DS2")
    with pytest.raises(ReferenceError, match="DS2: none of the genes that are scored was measured there"):
        score_fold(data, [mean_predictor(data.train_y, len(data.test_y))], with_intervals=False)


def test_of_two_genes_of_one_symbol_the_sets_hold_one(make_sections: Callable[..., Path], tmp_path: Path) -> None:
    cohort = make_sections(("spaceranger", "spaceranger", "spaceranger"))
    for file in cohort.parent.glob("*/filtered_feature_bc_matrix/features.tsv.gz"):
        text = gzip.decompress(file.read_bytes()).decode()
        file.write_bytes(gzip.compress(text.replace("\tGENE5\t", "\tGENE2\t").encode()))
    data = fold_of(cohort, tmp_path, "DS1")
    assert sorted(data.symbols.tolist()) == sorted(f"GENE{i}" for i in range(12) if i != 5)
    section, column = data.held_out[0], data.symbols.tolist().index("GENE2")
    counts = section.counts.toarray()[:, section.gene_ids.tolist().index("ENSG00000000002")]  # the smaller id
    np.testing.assert_array_equal(data.test_y[:, column] > 0, counts > 0)
    assert np.corrcoef(data.test_y[:, column], counts)[0, 1] > 0.7
