"""References made of bundles are measured anew, and keep what their tiles look like."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_looks import looking

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.reliability.of_bundles import merge_references, shrink_reference
from bleep_cli.types import Section


@pytest.fixture(scope="module")
def made(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], Built]:
    """Bundles of the first two sections, of the third and of all three; and that of the first two in memory."""
    folder, encoders, paths = tmp_path_factory.mktemp("again"), looking(make_encoders()), []
    few = None
    for i, sections in enumerate((small_sections[:2], small_sections[2:], small_sections)):
        built = with_reliability(build_reference(sections, encoders, device="cpu"))
        few = few or built
        paths.append(folder / f"{i}.zarr")
        write_bundle(paths[-1], built.info, built.arrays)
    assert few is not None
    return paths, few


def assert_same(found: Built, wanted: Built) -> None:
    a, b = found.arrays, wanted.arrays
    assert found.info.reliability == wanted.info.reliability
    genes = [np.flatnonzero(b.gene_ids == gene)[0] for gene in a.gene_ids]
    for name in ("heldout_r", "measured_q75"):
        np.testing.assert_allclose(a.gene_columns[name], b.gene_columns[name][genes], atol=1e-5)
    assert a.looks is not None and b.looks is not None
    np.testing.assert_array_equal(a.looks.spot, b.looks.spot)
    np.testing.assert_allclose(a.looks.tiles, b.looks.tiles, atol=1e-2)
    np.testing.assert_allclose(a.looks.left_out, b.looks.left_out, atol=1e-2)


def test_what_is_left_is_as_if_it_had_been_built_alone(made: tuple[list[Path], Built]) -> None:
    (_, _, everything), few = made
    gone = [record.id for record in open_bundle(everything).info.sections][2:]
    assert_same(shrink_reference(everything, without_sections=gone), few)


def test_fewer_genes_are_measured_as_they_were(made: tuple[list[Path], Built]) -> None:
    (first, _, _), few = made
    assert_same(shrink_reference(first, genes=["GENE3"]), few)


def test_bundles_made_one_are_measured_together(made: tuple[list[Path], Built]) -> None:
    (first, second, everything), _ = made
    merged, whole = merge_references([first, second]), open_bundle(everything)
    looks = whole.looks()
    assert merged.arrays.looks is not None and looks is not None
    np.testing.assert_array_equal(merged.arrays.looks.spot, looks.spot)
    np.testing.assert_allclose(merged.arrays.looks.left_out, looks.left_out, atol=1e-2)
    places = [np.flatnonzero(whole.gene_ids == gene)[0] for gene in merged.arrays.gene_ids]
    r = whole.gene_columns()["heldout_r"][places]
    np.testing.assert_allclose(merged.arrays.gene_columns["heldout_r"], r, atol=1e-4)


def test_a_section_that_is_left_out_does_not_make_its_tiles_familiar(
    made: tuple[list[Path], Built], small_sections: list[Section]
) -> None:
    (_, _, everything), _ = made
    slide, mpp = small_sections[0].image, small_sections[0].mpp or 4.0
    scores = {}
    for own in (False, True):
        options = PredictOptions(k=5, device="cpu", include_own=own)
        scores[own] = Predictor(everything, options).predict(slide, mpp=mpp).obs["ood_score"]
    assert (scores[False] >= scores[True] - 1e-6).all()
    assert np.median(scores[False]) > np.median(scores[True])
