"""Microns per pixel, as the array of the spots and the files beside it know them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from visium_sample import HIRES, Sample, resized, write_cohort_of, write_visium

from bleep_cli.cohort.pitch import neighbour_distance
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding, refuse_warnings
from bleep_cli.types import Section

SMALL = "outs/spatial/tissue_hires_image.png"  # 2 µm per pixel, of which it states nothing


def section(folder: Path, image: str, *lines: str) -> Section:
    (found,) = read_cohort(write_cohort_of(folder, image, *lines))
    return found


def finding(found: Section, code: str) -> Finding:
    (one,) = [finding for finding in found.findings if finding.code == code]
    return one


def factors(folder: Path, **values: float) -> None:
    usual = {"tissue_hires_scalef": HIRES}
    (folder / "outs" / "spatial" / "scalefactors_json.json").write_text(json.dumps(usual | values))


def square(sample: Sample) -> Sample:
    """Every second spot of a square array of 100 µm, its rows and columns counted up."""
    row, column = np.mgrid[0:17, 0:23].reshape(2, -1)
    xy = np.stack([60.0 + 100.0 * column, 60.0 + 100.0 * row], axis=1)
    near = np.abs(xy[:, None] - sample.xy[None]).max(axis=2).argmin(axis=1)
    return replace(sample, row=row, column=column, xy=xy, inside=sample.inside[near])


def test_the_array_supplies_what_the_picture_does_not_state(folder: Path) -> None:
    found = section(folder, SMALL)
    assert found.mpp == pytest.approx(2.0)
    assert finding(found, "mpp-by-array").what == (
        "2 µm per pixel by its array, whose spots lie 100 µm apart; its picture states none"
    )


def test_a_statement_far_from_the_array_is_a_warning_with_the_numbers(folder: Path) -> None:
    found = section(folder, SMALL, "mpp = 1.0", "image_scale = 0.5")  # also the full picture's, which it is not
    assert found.mpp == 2.0
    found = section(folder, SMALL, "mpp = 0.5")  # half of the full picture's
    told = finding(found, "mpp-against-array")
    assert found.mpp == 0.5  # the user's word holds
    assert (told.severity, told.where) == ("warning", "v")
    assert told.what == (
        "the cohort file states 0.5 µm per pixel, but its array, whose spots lie 100 µm apart says 2"
    )
    with pytest.raises(ReferenceError, match="says 2; if the latter is right, say mpp 2"):
        refuse_warnings(found.findings, ReferenceError)


@pytest.mark.parametrize(("mpp", "told"), [(1.85, False), (2.15, False), (1.75, True), (2.25, True)])
def test_ten_per_cent_are_let_pass(folder: Path, mpp: float, told: bool) -> None:
    found = section(folder, SMALL, f"mpp = {mpp}")
    assert found.mpp == mpp
    assert ("mpp-against-array" in [f.code for f in found.findings]) is told


def test_what_is_stated_of_the_full_picture_goes_over_the_factor(folder: Path) -> None:
    found = section(folder, SMALL, "mpp = 1.02")
    assert found.mpp == pytest.approx(2.04)
    assert finding(found, "mpp-of-whole").what == (
        "1.02 µm per pixel are of the full-resolution picture; this one has 2.04"
    )


@pytest.mark.parametrize(("stated", "told"), [(1.03, False), (1.3, True)])
def test_a_picture_that_states_it_itself(folder: Path, sample: Sample, stated: float, told: bool) -> None:
    per_cm = (10_000 / stated, 10_000 / stated)
    pixels = np.asarray(sample.picture)
    tifffile.imwrite(folder / "he.tif", pixels, photometric="rgb", resolution=per_cm, resolutionunit="CENTIMETER")
    found = section(folder, "he.tif")
    assert found.mpp is None  # the picture's own word holds
    assert ("mpp-against-array" in [f.code for f in found.findings]) is told
    if told:
        what = finding(found, "mpp-against-array").what
        assert what == "its picture states 1.3 µm per pixel, but its array, whose spots lie 100 µm apart says 1"


def test_hd_states_it(folder: Path) -> None:
    factors(folder, microns_per_pixel=0.27, bin_size_um=8.0, spot_diameter_fullres=29.6)
    found = section(folder, SMALL)
    assert found.mpp == pytest.approx(0.54)
    assert "microns_per_pixel of its scale factors" in finding(found, "mpp-by-array").what


@pytest.mark.parametrize(
    ("diameter", "known"), [(55.0, True), (65.0, True), (70.0, True), (50.0, False), (100.0, False)]
)
def test_spots_without_rows_and_columns_of_visium(
    tmp_path: Path, sample: Sample, diameter: float, known: bool
) -> None:
    """Their diameter over their distance says whether they are Visium's: a spot before had half its pitch."""
    write_visium(tmp_path, square(sample))
    factors(tmp_path, spot_diameter_fullres=diameter)
    if known:
        assert section(tmp_path, SMALL).mpp == pytest.approx(2.0)
        return
    with pytest.raises(ReferenceError, match="states no microns per pixel; give it with mpp"):
        section(tmp_path, SMALL)


def test_a_square_array_without_a_diameter_says_nothing(tmp_path: Path, sample: Sample) -> None:
    write_visium(tmp_path, square(sample))
    factors(tmp_path)
    found = section(tmp_path, SMALL, "mpp = 0.7")
    assert (found.mpp, [f.code for f in found.findings if f.code.startswith("mpp")]) == (0.7, [])


def test_an_array_on_its_side_is_an_array(tmp_path: Path, sample: Sample) -> None:
    """Space Ranger turns and mirrors the picture in any way since its second version."""
    turned = replace(sample, xy=sample.xy[:, ::-1].copy())
    write_visium(tmp_path, turned)
    sample.picture.transpose(method=5).save(tmp_path / "he.png", compress_level=1)  # transposed
    for picture in (tmp_path / "outs" / "spatial").glob("*.png"):
        picture.unlink()
    assert section(tmp_path, "he.png").mpp == pytest.approx(1.0)


def test_a_real_space_ranger_folder(tmp_path: Path, data_dir: Path) -> None:
    """Spots 21.43 px apart, so 4.667 µm per pixel; its spot diameter of 14.965 px is 70 µm, neither 55 nor 65."""
    outs = data_dir / "visium-sr3"
    image = (outs / "spatial" / "tissue_lowres_image.png").as_posix()
    path = tmp_path / "c.toml"
    path.write_text(f'[[section]]\nid = "v"\ndonor = "d"\nimage = "{image}"\nspaceranger = "{outs.as_posix()}"\n')
    (found,) = read_cohort(path)
    assert found.mpp == pytest.approx(23.335, rel=1e-3)  # 600 px of 5 full-resolution pixels each
    codes = [f.code for f in found.findings]
    assert codes == ["spots-few-counts", "picture-scaled", "mpp-by-array", "spots-on-glass"]
    assert neighbour_distance(found.xy_l0) * found.mpp == pytest.approx(100.0, rel=5e-3)


@pytest.mark.parametrize(("mpp", "told"), [(0.69, False), (0.35, False), (0.2, True), (1.4, True)])
def test_st_tables_get_a_note(tmp_path: Path, data_dir: Path, mpp: float, told: bool) -> None:
    her2st = (data_dir / "her2st").as_posix()
    path = tmp_path / "c.toml"
    path.write_text(
        f'[[section]]\nid = "C5"\ndonor = "C"\nimage = "{her2st}/images/C5.jpg"\nmpp = {mpp}\n'
        f'counts = "{her2st}/counts/C5.tsv.gz"\npositions = "{her2st}/spots/C5_selection.tsv"\n'
    )
    (found,) = read_cohort(path)
    assert found.mpp == mpp
    notes = [f for f in found.findings if f.code == "pitch-unusual"]
    assert bool(notes) is told
    if mpp == 0.2:
        assert notes[0].what == "spots lie 58.5 µm apart at 0.2 µm per pixel; on such arrays it is 100 to 200"


def test_resized_copies_have_coarser_pixels(folder: Path, sample: Sample) -> None:
    resized(sample, 0.25).save(folder / "quarter.png", compress_level=1)
    assert section(folder, "quarter.png", "image_scale = 0.25").mpp == pytest.approx(4.0)
