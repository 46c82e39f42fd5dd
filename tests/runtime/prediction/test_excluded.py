"""Sections that have no part in a prediction: it is what a reference without them predicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from predicted_slides import values

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.index.lists import LISTS
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.choices import Aggregation
from bleep_cli.errors import UsageError
from bleep_cli.outputs.read import open_result
from bleep_cli.prediction.excluded import excluded_sections, index_without, spots_without
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.receipts.receipt import receipts, recomputed
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.choose import shrink_reference
from bleep_cli.types import Prediction, Section

K = 9
MakeBundle = Callable[..., Path]


@pytest.fixture(scope="module")
def make_bundle(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path_factory: pytest.TempPathFactory
) -> MakeBundle:
    """A bundle of the three sections, by aggregation, donors and whether it knows their images; made once each."""
    made: dict[tuple[Any, ...], Path] = {}

    def make(
        aggregation: Aggregation = "average",
        donors: str = "ABC",
        *,
        images: bool = True,
        n: int = 3,
        **options: Any,
    ) -> Path:
        key = (aggregation, donors, images, n, tuple(options))
        if key not in made:
            sections = [replace(s, donor=d) for s, d in zip(small_sections[:n], donors, strict=False)]
            built = build_reference(sections, make_encoders(aggregation=aggregation), device="cpu")
            if not images:
                records = tuple(replace(record, image_sha256="") for record in built.info.sections)
                built = replace(built, info=replace(built.info, sections=records))
            made[key] = tmp_path_factory.mktemp("ref") / "ref.zarr"
            write_bundle(made[key], built.info, built.arrays, **options)
        return made[key]

    return make


def predicted(bundle: Path | Bundle, slide: Path | str, **options: Any) -> Prediction:
    chosen = PredictOptions(device="cpu", k=K, views=1, **options)
    return Predictor(bundle, chosen).predict(slide, mpp=4.0)


def codes(prediction: Prediction) -> list[str]:
    return [finding.code for finding in prediction.findings if "left-out" in finding.code or "own" in finding.code]


@pytest.mark.parametrize("aggregation", ["average", "corrected", "projected", "weighted"])
def test_it_is_what_a_reference_without_them_predicts(
    make_bundle: MakeBundle, query_slide: Path, tmp_path: Path, aggregation: Aggregation
) -> None:
    path = make_bundle(aggregation)
    found = predicted(path, query_slide, exclude_donor=("B",))
    removed = shrink_reference(open_bundle(path), without_donors=["B"])
    write_bundle(tmp_path / "without.zarr", removed.info, removed.arrays)
    wanted = predicted(tmp_path / "without.zarr", query_slide)
    np.testing.assert_allclose(values(found), values(wanted), atol=1e-5)
    bundle = open_bundle(path)
    rows = np.flatnonzero(bundle.spots("donor") != "B")
    np.testing.assert_array_equal(found.neighbours.index, rows[wanted.neighbours.index])
    np.testing.assert_allclose(found.neighbours.similarity, wanted.neighbours.similarity, atol=1e-6)
    by_section = predicted(path, query_slide, exclude_section=("S1",))
    np.testing.assert_array_equal(values(by_section), values(found))
    assert by_section.provenance["options"] == found.provenance["options"]  # a donor's name is not kept
    assert codes(found) == ["donor-left-out"]
    assert not np.allclose(values(predicted(path, query_slide)), values(found), atol=1e-3)


def test_receipts_and_provenance_respect_it(make_bundle: MakeBundle, query_slide: Path, tmp_path: Path) -> None:
    from bleep_cli import api

    path = make_bundle("corrected")
    bundle = open_bundle(path)
    found = predicted(path, query_slide, exclude_donor=("B", "A"))
    assert found.provenance["reference"]["left_out"] == ["S0", "S1"]
    assert found.provenance["options"]["exclude_section"] == ["S0", "S1"]
    assert "exclude_donor" not in found.provenance["options"]
    read_back = open_result(api.write(found, tmp_path / "found.h5ad"))
    again = np.concatenate([block for _, block in recomputed(read_back, bundle)])
    np.testing.assert_allclose(again, values(found), atol=1e-5)
    (receipt,) = receipts(read_back, bundle, str(found.grid.tile_id[1]), ["GENE2"])
    assert {spot.donor for spot in receipt.spots} == {"C"}
    assert receipt.recomputed == pytest.approx(receipt.predicted, abs=1e-5)
    with_all = bundle.slope(np.array([2]))
    own = receipt.mean + float((found.obsm["offset"][1] @ with_all)[0])
    assert abs(own - receipt.predicted) > 1e-3  # the slope of all spots would say something else


def test_the_answer_is_exact_where_the_bundle_holds_an_index(make_bundle: MakeBundle) -> None:
    bundle = open_bundle(make_bundle(exact_up_to=10))
    kept = spots_without(bundle, ["S0", "S2"])
    assert LISTS in bundle.root and kept.sum() == bundle.info.sections[1].n
    queries, rows = bundle.embeddings("image")[::7], bundle.embeddings("expression")
    found = index_without(bundle, "expression", kept).search(queries, K)
    cosine = np.where(kept, queries @ rows.T, -np.inf)
    np.testing.assert_array_equal(found.index, np.argsort(-cosine, axis=1, kind="stable")[:, :K])
    every = index_without(bundle, "expression", kept).search(queries, 10_000)
    assert every.index.shape == (len(queries), kept.sum())


# --- a slide that is a section of the reference


def test_a_slides_own_donor_is_left_out(make_bundle: MakeBundle, small_sections: list[Section]) -> None:
    path, slide = make_bundle(donors="AAC"), small_sections[0].image
    found = predicted(path, slide)
    asked = predicted(path, slide, exclude_donor=("A",))
    np.testing.assert_array_equal(values(found), values(asked))
    assert codes(found) == ["own-left-out"] and codes(asked) == ["donor-left-out"]
    (told,) = [str(f) for f in found.findings if f.code == "own-left-out"]
    assert told.startswith("S0.png: sections S0, S1 (168 spots of the reference) left out of the search: ")
    assert "the slide is the image of section S0; include_own keeps them; the towers may have" in told
    assert found.provenance["reference"]["left_out"] == ["S0", "S1"]
    assert found.provenance["options"]["exclude_section"] == []


def test_own_spots_are_kept_where_asked_or_where_nothing_else_is_there(
    make_bundle: MakeBundle, small_sections: list[Section]
) -> None:
    slide = small_sections[0].image
    kept, blind = predicted(make_bundle(), slide, include_own=True), predicted(make_bundle(images=False), slide)
    np.testing.assert_array_equal(values(kept), values(blind))  # a bundle that knows no images leaves nothing out
    assert (codes(kept), codes(blind)) == (["own-kept"], [])
    alone = predicted(make_bundle(donors="AAA"), slide)  # no other donor: the section alone
    assert alone.provenance["reference"]["left_out"] == ["S0"]
    only = predicted(make_bundle(n=1), slide)
    assert (codes(only), only.provenance["reference"]["left_out"]) == (["own-kept"], [])


def test_another_slide_is_predicted_from_all(make_bundle: MakeBundle, query_slide: Path) -> None:
    found = predicted(make_bundle(), query_slide)
    assert codes(found) == [] and found.provenance["reference"]["left_out"] == []
    assert set(open_bundle(make_bundle()).spots("donor")[found.neighbours.index].ravel()) == {"A", "B", "C"}


# --- what cannot be


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ({"exclude_donor": ("X",)}, r"exclude_donor: X not in ref\.zarr"),
        ({"exclude_section": ("s2",)}, r"exclude_section: s2 not in ref\.zarr; did you mean S2"),
        ({"exclude_donor": ("A", "B", "C")}, r"exclude_donor: no section of ref\.zarr would be left"),
        (
            {"exclude_donor": ("A", "B"), "exclude_section": ("S2",)},
            r"exclude_donor and exclude_section: no section",
        ),
    ],
)
def test_what_cannot_be_excluded_is_said_at_once(make_bundle: MakeBundle, named: Any, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        Predictor(make_bundle(), PredictOptions(device="cpu", **named))


def test_names_are_resolved_to_sections_in_the_order_of_the_reference(make_bundle: MakeBundle) -> None:
    info = open_bundle(make_bundle(donors="ABA")).info
    options = PredictOptions(exclude_section=("S2", "S0"))
    assert excluded_sections(info, options) == ("S0", "S2")
    assert excluded_sections(info, PredictOptions(exclude_donor=("A",))) == ("S0", "S2")
    assert excluded_sections(info, PredictOptions()) == ()
