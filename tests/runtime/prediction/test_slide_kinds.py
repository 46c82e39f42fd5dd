"""One section predicted from files of every kind gives one answer; what cannot give it is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from dicom_files import write_series
from slide_files import page_name

from bleep_cli.errors import ReferenceError, SlideError
from bleep_cli.outputs.memory import to_anndata
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.tiles.section import section_slide
from bleep_cli.types import U8, Prediction, Section

RES = {"resolution": (2500, 2500), "resolutionunit": "CENTIMETER"}  # 4 µm, as the query slide


@pytest.fixture(scope="module")
def predictor(small_bundle: Path) -> Predictor:
    return Predictor(small_bundle, PredictOptions(device="cpu"))


@pytest.fixture(scope="module")
def picture(query_slide: Path) -> U8:
    return np.asarray(tifffile.imread(query_slide))


@pytest.fixture(scope="module")
def right(predictor: Predictor, query_slide: Path) -> Prediction:
    return predictor.predict(query_slide)


def write(path: Path, *pages: object, **options: object) -> Path:
    with tifffile.TiffWriter(path) as out:
        for page in pages:
            out.write(page, **{"photometric": "rgb", "metadata": None} | RES | options)
    return path


def values(prediction: Prediction) -> np.ndarray:
    return np.concatenate([block for _, block in prediction])


def codes(prediction: Prediction) -> list[str]:
    return [finding.code for finding in prediction.findings]


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_samples_of_any_depth(
    tmp_path: Path, predictor: Predictor, picture: U8, right: Prediction, bits: int
) -> None:
    samples = np.round(picture * ((2**bits - 1) / 255)).astype(np.uint16)
    found = predictor.predict(write(tmp_path / "query.tif", samples))
    np.testing.assert_array_equal(found.grid.centre_l0, right.grid.centre_l0)
    np.testing.assert_allclose(values(found), values(right), atol=1e-4)
    assert codes(found) == ([] if bits == 16 else ["depth-guessed"])


def test_three_grey_pages(tmp_path: Path, predictor: Predictor, picture: U8, right: Prediction) -> None:
    path = tmp_path / "query.tif"
    with tifffile.TiffWriter(path) as out:
        for i, name in enumerate(("Red", "Green", "Blue")):
            plane = np.ascontiguousarray(picture[..., i])
            out.write(plane, photometric="minisblack", metadata=None, **RES, **page_name(name))
    found = predictor.predict(path)
    np.testing.assert_allclose(values(found), values(right), atol=1e-6)
    assert codes(found) == ["planes-named"]


def test_a_scene_is_chosen_recorded_and_the_others_are_told_of(
    tmp_path: Path, predictor: Predictor, picture: U8, right: Prediction
) -> None:
    path = write(tmp_path / "query.tif", picture[::-1][:150].copy(), picture)
    found = predictor.predict(path)
    np.testing.assert_allclose(values(found), values(right), atol=1e-6)
    assert codes(found) == ["scenes-ignored"]
    assert found.provenance["slide"]["scene"] == 1
    other = predictor.predict(path, scene=0)
    assert codes(other) == [] and other.provenance["options"]["scene"] == 0
    assert (other.provenance["slide"]["height_px"], other.provenance["slide"]["scene"]) == (150, 0)


def test_a_small_macro_before_the_picture(
    tmp_path: Path, predictor: Predictor, picture: U8, right: Prediction
) -> None:
    found = predictor.predict(write(tmp_path / "query.tif", picture[::8, ::8].copy(), picture))
    np.testing.assert_allclose(values(found), values(right), atol=1e-6)
    assert codes(found) == []


def test_the_pixel_size_and_where_it_was_found_are_recorded(
    tmp_path: Path, predictor: Predictor, query_slide: Path, right: Prediction
) -> None:
    assert right.provenance["slide"]["mpp"] == pytest.approx(4.0)
    assert right.provenance["slide"]["mpp_source"] == "the TIFF resolution"
    found = predictor.predict(query_slide, mpp=2.0)
    assert codes(found) == ["mpp-overrides"]
    assert found.provenance["slide"]["mpp_source"] == "given"
    assert to_anndata(found).uns["bleep"]["slide"]["mpp_source"] == "given"
    (finding,) = found.findings
    assert "2 µm per pixel" in finding.what and "states 4" in finding.what and finding.where == "query.tif"
    for close in (3.65, 4.0, 4.35):
        assert codes(predictor.predict(query_slide, mpp=close)) == []


@pytest.mark.parametrize("given", [None, 28.97])
def test_too_coarse_for_the_reference(
    tmp_path: Path, predictor: Predictor, picture: U8, given: float | None
) -> None:
    (path, _) = write_series(tmp_path, picture, 28.97)
    with pytest.raises(SlideError) as caught:
        plan(path, predictor.bundle.info, PredictOptions(mpp=given))
    source = "the slide's metadata" if given is None else "given"
    assert f"28.97 µm per pixel ({source}) is too coarse for this reference" in str(caught.value)
    assert "tiles of 64 µm would be 2.2 pixels across" in str(caught.value)


@pytest.mark.parametrize("shift", [0, 4])
def test_never_on_a_black_picture(tmp_path: Path, predictor: Predictor, picture: U8, shift: int) -> None:
    """Whatever else is at hand: positions were given here, so no tissue is looked for."""
    at = tmp_path / "at.csv"
    at.write_text("id,x,y\na,100,100\nb,150,100\n")
    path = write(tmp_path / "query.tif", (picture // 16).astype(np.uint8) if shift else np.zeros_like(picture))
    with pytest.raises(SlideError, match=r"query\.tif: is black"):
        predictor.predict(path, at=at)


def test_no_reference_of_a_black_picture(make_sections: Callable[..., Path]) -> None:
    from bleep_cli.cohort.read import read_cohort

    cohort = make_sections(["tiff"])
    image = next(cohort.parent.glob("*.tif"))
    write(image, np.zeros_like(tifffile.imread(image)))
    with pytest.raises(ReferenceError, match=r"section S0: .*is black"), section_slide(read_cohort(cohort)[0]):
        pass


def test_the_scene_of_a_section_is_a_key_of_the_cohort_file(
    tmp_path: Path, make_sections: Callable[..., Path]
) -> None:
    from bleep_cli.cohort.read import read_cohort

    cohort = make_sections(["tiff"])
    image = next(cohort.parent.glob("*.tif"))
    pixels = tifffile.imread(image)
    write(image, pixels[:90].copy(), pixels)
    text = cohort.read_text()

    def section(key: str) -> Section:
        cohort.write_text(text.replace("donor =", f"{key}\ndonor ="))
        return read_cohort(cohort)[0]

    with section_slide(section("scene = 1")) as slide:
        assert (slide.scene, slide.size_l0) == (1, pixels.shape[1::-1])
    with pytest.raises(ReferenceError, match="scene 7 is none of its scenes"), section_slide(section("scene = 7")):
        pass
    for wrong in ("scene = -1", "scene = true", "scene = 1.5"):
        with pytest.raises(ReferenceError, match="scene must be an index from 0, or a name in quotes"):
            section(wrong)
