"""Positions and a picture of another size: scaled by what is known, or refused with what would fit."""

import json
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
from visium_sample import HIRES, LOWRES, Sample, resized, write_cohort_of, write_visium

from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError
from bleep_cli.tiles.read import read_tiles
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import Section, TileSpec


def section(folder: Path, image: str, *lines: str, **source: str) -> Section:
    (found,) = read_cohort(write_cohort_of(folder, image, *lines, **source))
    return found


def codes(found: Section) -> list[str]:
    return [finding.code for finding in found.findings]


def refusal(folder: Path, image: str, *lines: str, **source: str) -> str:
    with pytest.raises(ReferenceError) as error:
        section(folder, image, *lines, **source)
    return error.value.worded(lambda name, origin: f"{name} =" if origin == "cohort file" else f"--{name}")


def test_the_full_picture_takes_positions_as_they_are(folder: Path, sample: Sample) -> None:
    sample.picture.save(folder / "he.png", compress_level=1)
    found = section(folder, "he.png")
    assert np.allclose(found.xy_l0, sample.xy[sample.inside])
    assert codes(found) == ["mpp-by-array"]
    assert found.mpp == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "scale"), [("hires", HIRES), ("lowres", LOWRES)])
def test_the_small_pictures_of_space_ranger(folder: Path, sample: Sample, name: str, scale: float) -> None:
    found = section(folder, f"outs/spatial/tissue_{name}_image.png")
    assert np.allclose(found.xy_l0, sample.xy[sample.inside] * scale)
    assert found.mpp == pytest.approx(1 / scale)  # µm per pixel of the full resolution, over the factor
    assert codes(found) == ["picture-scaled", "mpp-by-array"]
    what = f"positions are multiplied by {scale:g} to lie on tissue_{name}_image.png, by its size"
    assert found.findings[0].what == what


def test_tiles_of_the_small_picture_show_what_those_of_the_full_one_do(folder: Path, sample: Sample) -> None:
    sample.picture.save(folder / "he.png", compress_level=1)
    tiles = []
    for image in ("he.png", "outs/spatial/tissue_hires_image.png"):
        found = section(folder, image)
        with section_slide(found) as slide:
            tiles.append(read_tiles(slide, section_grid(found, slide.mpp, TileSpec(25, (100.0,))), 0, 40))
    assert np.abs(tiles[0].astype(int) - tiles[1]).mean() < 4  # 8-bit values; another spot's tile is over 20 off
    assert np.abs(tiles[0][1:].astype(int) - tiles[1][:-1]).mean() > 20


def test_the_same_spots_seen_by_a_smaller_picture_are_the_same_section(folder: Path, sample: Sample) -> None:
    sample.picture.save(folder / "he.png", compress_level=1)
    assert section(folder, "he.png").sha256 == section(folder, "outs/spatial/tissue_hires_image.png").sha256


def test_a_small_picture_is_told_by_its_size_under_any_name(folder: Path, sample: Sample) -> None:
    resized(sample, HIRES).save(folder / "slide 7.png", compress_level=1)
    assert np.allclose(section(folder, "slide 7.png").xy_l0, sample.xy[sample.inside] * HIRES)


def test_and_by_its_name_where_no_other_lies_beside_the_positions(folder: Path, sample: Sample) -> None:
    resized(sample, HIRES).save(folder / "P1_tissue_hires_image.png", compress_level=1)
    for picture in (folder / "outs" / "spatial").glob("*.png"):
        picture.unlink()
    found = section(folder, "P1_tissue_hires_image.png")
    assert np.allclose(found.xy_l0, sample.xy[sample.inside] * HIRES)
    assert found.findings[0].what.endswith("by its name")


def test_and_by_the_length_that_space_ranger_gives_it(tmp_path: Path, sample: Sample) -> None:
    """2,000 px on the longer side; by that factor all positions lie on it, as they do of a picture on its side."""
    scale = 2000 / 2400
    outs = write_visium(tmp_path, sample, factors={"tissue_hires_scalef": scale, "tissue_lowres_scalef": 0.25})
    for picture in (outs / "spatial").glob("*.png"):
        picture.unlink()
    resized(sample, scale).save(tmp_path / "he.png", compress_level=1)
    found = section(tmp_path, "he.png")
    assert np.allclose(found.xy_l0, sample.xy[sample.inside] * scale)
    assert found.findings[0].what.endswith("by its longer side of 2000 px")
    resized(sample, 0.5).save(tmp_path / "half.png", compress_level=1)
    told = refusal(tmp_path, "half.png")  # by the factor of lowres, too, all positions lie on it
    assert told.endswith("say by image_scale = what this one is of it (0.8333 for hires, 0.25 for lowres)")


@pytest.mark.parametrize("scale", [0.93, 0.83, 0.4])
def test_a_copy_of_another_size_is_refused_with_what_fits(folder: Path, sample: Sample, scale: float) -> None:
    resized(sample, scale).save(folder / "copy.png", compress_level=1)
    told = refusal(folder, "copy.png")
    (width, height), n = resized(sample, scale).size, int(sample.inside.sum())
    outside = ((sample.xy > (width, height)).any(axis=1) & sample.inside).sum()  # none of those in tissue at 0.93
    assert told == (
        f"section v: copy.png has {width} × {height} px, and its positions are of a picture {1 / scale:.4g} times "
        f"as large (2400 × 1800 px; {outside} of {n} spots, {outside / n:.0%}, lie outside); name that one, or "
        f"say image_scale = {scale:.4g} for this one (1 if the positions are of it)"
    )
    found = section(folder, "copy.png", f"image_scale = {scale}")  # as it says
    assert np.allclose(found.xy_l0, sample.xy[sample.inside] * scale)
    assert found.mpp == pytest.approx(1 / scale, rel=1e-3)


def test_positions_of_a_copy_that_say_so_are_taken(tmp_path: Path, sample: Sample) -> None:
    write_visium(tmp_path, replace(sample, xy=sample.xy * 0.9))
    resized(sample, 0.9).save(tmp_path / "copy.png", compress_level=1)
    assert np.allclose(section(tmp_path, "copy.png", "image_scale = 1").xy_l0, sample.xy[sample.inside] * 0.9)


def test_positions_that_were_scaled_already_stay(tmp_path: Path, sample: Sample) -> None:
    write_visium(tmp_path, replace(sample, xy=sample.xy * LOWRES))
    found = section(tmp_path, "outs/spatial/tissue_lowres_image.png")
    assert np.allclose(found.xy_l0, sample.xy[sample.inside] * LOWRES)
    assert "picture-size" in codes(found)


def test_without_scale_factors_it_is_said_how_much_larger_the_picture_has_to_be(
    folder: Path, sample: Sample
) -> None:
    for file in (folder / "outs" / "spatial").glob("*[!v]"):
        file.unlink()
    resized(sample, 0.83).save(folder / "he.png", compress_level=1)
    told = refusal(folder, "he.png", "mpp = 1.2")
    inside = sample.xy[sample.inside]
    outside = int((inside > (1992, 1494)).any(axis=1).sum())
    assert told.startswith(
        f"section v: {outside} of its {len(inside)} spots ({outside / len(inside):.0%}) lie outside"
    )
    larger = (inside.max(axis=0) / (1992, 1494)).max()
    assert f"they are positions of a picture at least {larger:.3g} times as large" in told
    assert "image_scale =" in told


def test_a_section_made_by_hand_is_not_read_beside_its_picture(folder: Path, sample: Sample) -> None:
    resized(sample, 0.83).save(folder / "he.png", compress_level=1)
    found = replace(section(folder, "outs/spatial/tissue_hires_image.png"), mpp=1.0)
    shifted = replace(found, image=str(folder / "he.png"), xy_l0=sample.xy[sample.inside])
    with pytest.raises(ReferenceError, match=r"spots lie outside he\.png"), section_slide(shifted):
        pass


def test_h5ad_with_its_own_scale_factors(tmp_path: Path, sample: Sample) -> None:
    xy = sample.xy[sample.inside]
    adata = anndata.AnnData(np.full((len(xy), 2), 80.0, np.float32), obsm={"spatial": xy})
    adata.var_names = ["A", "B"]
    adata.obs["array_row"], adata.obs["array_col"] = sample.row[sample.inside], sample.column[sample.inside]
    factors = {"tissue_hires_scalef": HIRES, "spot_diameter_fullres": 65.0}
    images = {"hires": np.asarray(resized(sample, HIRES))}
    adata.uns["spatial"] = {"lib": {"scalefactors": factors, "images": images}}
    adata.write_h5ad(tmp_path / "v.h5ad")
    resized(sample, HIRES).save(tmp_path / "small.png", compress_level=1)
    resized(sample, 0.7).save(tmp_path / "other.png", compress_level=1)
    found = section(tmp_path, "small.png", source='h5ad = "v.h5ad"')
    assert np.allclose(found.xy_l0, xy * HIRES)
    assert found.mpp == pytest.approx(2.0)
    assert "picture 1.429 times as large" in refusal(tmp_path, "other.png", source='h5ad = "v.h5ad"')


def test_geo_puts_the_samples_number_before_every_name(folder: Path, sample: Sample) -> None:
    spatial = folder / "outs" / "spatial"
    for file in spatial.iterdir():
        file.rename(folder / f"GSM7_{file.name}")
    (folder / "outs" / "filtered_feature_bc_matrix").rename(folder / "GSM7_matrix")
    source = 'counts = "GSM7_matrix"\npositions = "GSM7_tissue_positions.csv"'
    found = section(folder, "GSM7_tissue_hires_image.png", source=source)
    assert np.allclose(found.xy_l0, sample.xy[sample.inside] * HIRES)
    assert found.mpp == pytest.approx(2.0)


def test_broken_scale_factors(folder: Path, sample: Sample) -> None:
    file = folder / "outs" / "spatial" / "scalefactors_json.json"
    file.write_text("{")
    assert "section v: scalefactors_json.json is not JSON" in refusal(
        folder, "outs/spatial/tissue_hires_image.png"
    )
    file.write_text("[1]")
    assert "holds no table of factors" in refusal(folder, "outs/spatial/tissue_hires_image.png")
    file.write_text(json.dumps({"tissue_hires_scalef": "half", "tissue_lowres_scalef": -1}))
    assert "lie outside" in refusal(folder, "outs/spatial/tissue_hires_image.png", "mpp = 2")


@pytest.mark.parametrize("value", ["0", "-0.5", '"half"', "true"])
def test_image_scale_is_a_positive_number(folder: Path, value: str) -> None:
    assert refusal(folder, "he.png", f"image_scale = {value}").endswith("image_scale must be a positive number")
