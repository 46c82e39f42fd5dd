"""Numbers per gene against the same worked out with NumPy, and how a bundle keeps them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bleep_cli.bundle.learned.per_gene import COLUMNS
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.groups import neighbourhoods
from bleep_cli.reliability.left_out import leave_out
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.reliability.per_gene import per_gene


@pytest.fixture(scope="module")
def measured(small_built: Built) -> Built:
    return with_reliability(small_built)


def test_they_are_the_mean_over_the_folds(small_built: Built, measured: Built) -> None:
    left_out, columns = leave_out(small_built.arrays, small_built.info), measured.arrays.gene_columns
    assert set(columns) == set(COLUMNS)
    ((_, p, _, m),) = left_out.blocks()
    folds = [left_out.fold == fold for fold in np.unique(left_out.fold)]
    r = [[np.corrcoef(p[rows, g], m[rows, g])[0, 1] for g in range(p.shape[1])] for rows in folds]
    np.testing.assert_allclose(columns["heldout_r"], np.mean(r, axis=0), atol=1e-5)
    ratio = np.mean([p[rows].var(axis=0) / m[rows].var(axis=0) for rows in folds], axis=0)
    np.testing.assert_allclose(columns["heldout_variance_ratio"], ratio, rtol=1e-4)
    np.testing.assert_allclose(columns["heldout_mae"], np.abs(p - m).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(columns["measured_mean"], m.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(columns["measured_q25"], np.quantile(m, 0.25, axis=0), rtol=1e-5)
    best = int(np.argmax(columns["heldout_r"]))
    assert columns["heldout_rank"][best] == 1
    assert sorted(columns["heldout_rank"].tolist()) == list(range(1, p.shape[1] + 1))
    assert (columns["heldout_r_low"] < columns["heldout_r"]).all()
    assert (columns["heldout_r"] < columns["heldout_r_high"]).all()


def test_a_gene_that_nobody_has_is_not_known(small_built: Built) -> None:
    expression = small_built.arrays.expression.tolil()
    expression[:, 3] = 0
    arrays = replace(small_built.arrays, expression=expression.tocsr())
    place = neighbourhoods(arrays.section, arrays.xy_l0)
    columns = per_gene(leave_out(arrays, small_built.info), place)
    for name in ("heldout_r", "heldout_r_low", "heldout_r_high", "heldout_rank", "heldout_variance_ratio"):
        assert np.flatnonzero(np.isnan(columns[name])).tolist() == [3]
    assert columns["measured_mean"][3] == 0


def test_neighbourhoods_are_sixteen_of_a_section(small_built: Built) -> None:
    place = neighbourhoods(small_built.arrays.section, small_built.arrays.xy_l0)
    for name in set(small_built.arrays.section):
        sizes = np.unique(place[small_built.arrays.section == name], return_counts=True)[1]
        assert len(sizes) == 16 and np.ptp(sizes) <= 2
    assert len(set(place)) == 48


def test_a_bundle_keeps_them_and_what_they_stand_on(measured: Built, tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.zarr.zip" for i in range(2)]
    for path in paths:
        write_bundle(path, measured.info, measured.arrays)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    bundle = open_bundle(paths[0])
    for name, values in bundle.gene_columns().items():
        np.testing.assert_array_equal(values, measured.arrays.gene_columns[name])
    said = bundle.info.reliability
    assert {key: said[key] for key in ("left_out", "groups", "folds", "towers")} == {
        "left_out": "donor",
        "groups": 3,
        "folds": 3,
        "towers": "seen",
    }


def test_of_a_few_spots_nothing_is_measured(small_built: Built) -> None:
    a, few = small_built.arrays, slice(0, 12)
    arrays = replace(
        a,
        image_embeddings=a.image_embeddings[few],
        expression_embeddings=a.expression_embeddings[few],
        expression=a.expression[few],
        section=a.section[few],
        barcode=a.barcode[few],
        donor=a.donor[few],
        xy_l0=a.xy_l0[few],
    )
    built = with_reliability(Built(small_built.info, arrays))
    assert not built.arrays.gene_columns and not built.info.reliability
    assert built.findings[-1].code == "reliability-missing"
