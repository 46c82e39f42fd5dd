"""A cohort's sections to towers of its own, through the built-in backbone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import onnx
import pytest

import bleep_cli
from bleep_cli.cohort.read import read_cohort
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import embed_sections, see_sections
from bleep_cli.errors import ReferenceError
from bleep_cli.fitting.recipe import Fitted, fit_towers
from bleep_cli.types import Section

pytestmark = pytest.mark.slow  # tiles through the real backbone
Cohort = Callable[..., Path]


@pytest.fixture(scope="module")
def sections(write_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    return read_cohort(write_cohort(tmp_path_factory.mktemp("fit"), ("st", "tiff"), n_genes=60))


@pytest.fixture(scope="module")
def fitted(sections: list[Section]) -> Fitted:
    return fit_towers(sections, views=1, device="cpu")


def test_the_bundle_says_how_its_towers_were_made(fitted: Fitted) -> None:
    told = fitted.encoders.info["training"]
    assert told["recipe"] == "closed-form"
    assert told["chosen_by"] == "leave one donor out"
    assert told["groups"] == 2
    assert told["backbone"] == "efficientnet-lite0-stages.onnx"
    assert fitted.encoders.info["recommended_views"] == 1
    assert len(fitted.encoders.tile.um) == fitted.choice.fields
    for tower in (fitted.encoders.image, fitted.encoders.expression):
        onnx.checker.check_model(onnx.load_from_string(tower))


def test_embeddings_are_those_of_the_tower(fitted: Fitted, sections: list[Section]) -> None:
    """The fit's own features stand in for a second pass over the tiles."""
    tower = embedder_of(fitted.encoders.image, "cpu")
    through, looks = see_sections(sections, tower, fitted.encoders.tile, 1)
    vectors, seen = fitted.embed_images(sections)
    assert seen is not None
    np.testing.assert_allclose(vectors, through, atol=2e-4)
    np.testing.assert_allclose(seen, looks, atol=2e-2)  # of unit variance


def test_towers_are_fitted_again_to_some_of_the_spots(fitted: Fitted, sections: list[Section]) -> None:
    donor = np.repeat([s.donor for s in sections], [len(s.barcodes) for s in sections])
    everything, (images, expression) = fitted.embed_images(sections)[0], fitted.refit(np.ones(len(donor), bool))
    np.testing.assert_allclose(images, everything, atol=2e-4)
    np.testing.assert_allclose(np.linalg.norm(expression, axis=1), 1, atol=1e-5)
    without, _ = fitted.refit(donor != donor[0])
    assert np.abs(without @ without.T - everything @ everything.T).max() > 0.01


def test_the_eight_views_are_averaged_as_a_query_averages_them(sections: list[Section]) -> None:
    few = [replace(s, counts=s.counts[:20], barcodes=s.barcodes[:20], xy_l0=s.xy_l0[:20]) for s in sections]
    fitted = fit_towers(few, views=8, device="cpu")
    through = embed_sections(few, embedder_of(fitted.encoders.image, "cpu"), fitted.encoders.tile, 8)
    np.testing.assert_allclose(fitted.embed_images(few)[0], through, atol=2e-4)


def test_one_donor_is_told_what_that_means(sections: list[Section]) -> None:
    findings = fit_towers([replace(s, donor="P1") for s in sections], views=1, device="cpu").findings
    fitted, one_donor = findings
    assert "chosen by leaving a section out" in fitted.what
    assert (one_donor.code, one_donor.severity) == ("one-donor", "warning")
    assert str(one_donor).startswith("the towers are fitted to one donor (P1): how well they hold for the next")


def test_too_few_spots_are_refused(sections: list[Section]) -> None:
    few = replace(
        sections[0],
        counts=sections[0].counts[:12],
        barcodes=sections[0].barcodes[:12],
        xy_l0=sections[0].xy_l0[:12],
    )
    with pytest.raises(ReferenceError, match="12 spots; towers are fitted to 20 at least"):
        fit_towers([few], views=1)


def test_a_reference_of_ones_own_predicts_what_the_image_shows(
    write_cohort: Cohort, query_slide: Path, tmp_path: Path
) -> None:
    """From sections to a prediction with nothing else given: tissue kinds are told apart on a section not seen."""
    cohort = write_cohort(tmp_path / "cohort", ("st", "tiff"), n_genes=60)
    built = bleep_cli.build_reference(cohort, views=1, device="cpu")
    bundle = bleep_cli.write(built, tmp_path / "own.zarr")
    adata = bleep_cli.predict(query_slide, bundle, device="cpu")
    assert isinstance(adata, anndata.AnnData)
    colour = _colour_under(query_slide, adata.obsm["spatial"])  # gene i follows the absorbance of channel i % 3
    r = [np.corrcoef(adata.X[:, gene], colour[:, gene % 3])[0, 1] for gene in range(6)]
    assert np.median(r) > 0.6
    assert bleep_cli.open_bundle(bundle).info.training["recipe"] == "closed-form"


def _colour_under(slide: Path, centre_l0: np.ndarray) -> np.ndarray:
    opened = bleep_cli.open_slide(slide)
    size = 40.0
    tiles = [opened.read(tuple(xy - size / 2), (size, size), (8, 8)) for xy in centre_l0]
    opened.close()
    return np.array([1 - tile.mean(axis=(0, 1)) / 255 for tile in tiles])


def test_views_go_with_towers_that_are_fitted(
    sections: list[Section], make_encoders: Callable[..., object]
) -> None:
    with pytest.raises(bleep_cli.UsageError, match="views goes without encoders"):
        bleep_cli.build_reference(sections, make_encoders(), views=1)  # type: ignore[arg-type]
