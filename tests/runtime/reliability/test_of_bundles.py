"""What is cut down or merged says of itself what building it from the sections would say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from made_looks import looking

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.per_gene import COLUMNS
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.reliability.of_bundles import merge_references, shrink_reference
from bleep_cli.types import Section

MakeBundle = Callable[..., Bundle]


@pytest.fixture(scope="module")
def sections(write_cohort: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    return read_cohort(write_cohort(tmp_path_factory.mktemp("bundles"), n_genes=24))


@pytest.fixture(scope="module")
def make_bundle(make_encoders: Callable[..., Encoders], tmp_path_factory: pytest.TempPathFactory) -> MakeBundle:
    """A bundle of some sections, with their reliability."""
    encoders = looking(make_encoders(k=9, aggregation="corrected"))

    def make(sections: Sequence[Section]) -> Bundle:
        built = with_reliability(build_reference(sections, encoders, device="cpu"))
        return written(built, tmp_path_factory.mktemp("made") / "ref.zarr")

    return make


def written(built: Built, path: Path) -> Bundle:
    write_bundle(path, built.info, built.arrays)
    return open_bundle(path)


def same(found: Bundle, wanted: Bundle) -> None:
    """They say the same of their genes and of what their tiles look like."""
    assert found.info.reliability == wanted.info.reliability
    ours, theirs = found.gene_columns(), wanted.gene_columns()
    assert ours.keys() == theirs.keys() >= set(COLUMNS) - {"heldout_rank"}
    for name in set(ours) - {"heldout_rank"}:  # which of two near ones is first may turn in the last digit
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-4, err_msg=name)
    assert found.calibration() is not None
    a, b = found.looks(), wanted.looks()
    assert a is not None and b is not None and a.by == b.by
    np.testing.assert_array_equal(a.spot, b.spot)
    np.testing.assert_array_equal(a.tiles, b.tiles)
    np.testing.assert_allclose(
        a.left_out, b.left_out, rtol=1e-2, atol=1e-2
    )  # of stored f16 or of f32 that is stored
    assert [check for check in verify(found) if not check.ok] == []


def test_without_a_donor(make_bundle: MakeBundle, sections: list[Section], tmp_path: Path) -> None:
    left = shrink_reference(make_bundle(sections), without_donors=["DS1"])
    same(written(left, tmp_path / "left.zarr"), make_bundle([sections[0], sections[2]]))


def test_merged(make_bundle: MakeBundle, sections: list[Section], tmp_path: Path) -> None:
    merged = merge_references([make_bundle(sections[:1]), make_bundle(sections[1:])])
    same(written(merged, tmp_path / "merged.zarr"), make_bundle(sections))


def test_with_some_genes_alone(make_bundle: MakeBundle, sections: list[Section], tmp_path: Path) -> None:
    whole = make_bundle(sections)
    left = written(shrink_reference(whole, genes=["GENE20"]), tmp_path / "left.zarr")
    rows = whole.gene_rows(left.symbols)
    assert left.info.reliability == whole.info.reliability
    for name, values in left.gene_columns().items():
        if name != "heldout_rank":
            np.testing.assert_array_equal(values, whole.gene_columns()[name][rows])
    a, b = left.calibration(), whole.calibration()
    assert a is not None and b is not None
    for ours, theirs in zip(a.bounds(0.9), b.bounds(0.9), strict=True):
        np.testing.assert_array_equal(ours, theirs[rows])
    rank, r = left.gene_columns()["heldout_rank"], left.gene_columns()["heldout_r"]
    assert sorted(rank.tolist()) == list(range(1, len(rows) + 1))
    assert (np.diff(r[np.argsort(rank)]) <= 0).all()


def test_a_slides_own_tiles_make_it_no_less_strange(make_bundle: MakeBundle, sections: list[Section]) -> None:
    bundle = make_bundle(sections)
    slide = sections[0].image

    def scores(*, include_own: bool) -> np.ndarray:
        options = PredictOptions(device="cpu", views=1, include_own=include_own)
        return np.asarray(Predictor(bundle, options).predict(slide, mpp=4.0).obs["ood_score"])

    own, without = scores(include_own=True), scores(include_own=False)
    assert (without >= own - 1e-4).all() and without.mean() > own.mean() + 0.01


def test_looks_are_numbered_by_the_spots_that_are_left(make_bundle: MakeBundle, sections: list[Section]) -> None:
    whole = make_bundle(sections).looks()
    n = [len(s.barcodes) for s in sections]
    assert whole is not None
    rows = np.arange(n[0], n[0] + n[1])
    left = whole.of_spots(rows)
    assert left is not None
    np.testing.assert_array_equal(left.spot, whole.spot[np.isin(whole.spot, rows)] - n[0])
    np.testing.assert_array_equal(left.tiles, whole.tiles[np.isin(whole.spot, rows)])
    assert whole.of_spots(np.empty(0, np.int64)) is None
