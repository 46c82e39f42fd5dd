"""Levels of several scenes and of turned pictures, unmarked copies, and the files of a DICOM series."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from dicom_files import write_level, write_series
from slide_files import OTHER, PIC, RES, H, W, oriented, stained, stored

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide, read_overview
from bleep_cli.slide.series import same_slide, series_of, slide_in

PAGE: dict[str, Any] = {"photometric": "rgb", "metadata": None, "tile": (32, 32)} | RES


def halved(image: np.ndarray) -> np.ndarray:
    """The mean of every two by two pixels."""
    h, w = (side // 2 for side in image.shape[:2])
    return image[: 2 * h, : 2 * w].reshape(h, 2, w, 2, 3).mean(axis=(1, 3)).astype(np.uint8)


def marked(image: np.ndarray) -> np.ndarray:
    """A level that shows the picture, and by what it differs from it, that it was read."""
    return halved(image) // 8 * 8


@pytest.mark.parametrize("nested", [True, False])
def test_every_scene_has_its_own_levels(tmp_path: Path, nested: bool) -> None:
    """Of one size, so that each reduction would fit the other scene, too: marks tell which level is whose."""
    path, images = tmp_path / "a.tif", (PIC, stained(2))
    with tifffile.TiffWriter(path) as out:
        for image in images:
            out.write(image, subifds=int(nested), **PAGE)
            out.write(marked(image), subfiletype=1, **PAGE)
    for i, image in enumerate(images):
        with closing(open_slide(path, scene=i)) as slide:
            assert slide.scene == i
            assert (slide.read((0, 0), (W, H), (W, H)) == image).all()
            assert (slide.read((0, 0), (W, H), (W // 2, H // 2)) == marked(image)).all()


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 9, "tile": None}])
def test_levels_and_bounds_of_a_turned_pyramid(tmp_path: Path, orientation: int, layout: dict[str, Any]) -> None:
    path, odd = tmp_path / "a.tif", PIC[:109, :155]  # halves that are no whole pixels
    with tifffile.TiffWriter(path) as out:
        options = PAGE | layout
        base = stored(orientation, odd)
        out.write(base, subifds=1, **options, **oriented(orientation))
        out.write(halved(base), subfiletype=1, **options)
    with closing(open_slide(path)) as slide:
        assert slide.size_l0 == (155, 109) and slide.bounds_l0 == (0, 0, 155, 109)
        assert (slide.read((0, 0), (155, 109), (155, 109)) == odd).all()
        assert (slide.read((31, 17), (70, 40), (70, 40)) == odd[17:57, 31:101]).all()
        small, mpp = read_overview(slide, 1.0)
        assert mpp == pytest.approx(1.0, rel=1e-4) and small.shape == (55, 78, 3)
        # the last odd row and column, which a level leaves out, come first where the picture is mirrored
        x, y = int(orientation in (2, 3, 6, 7)), int(orientation in (3, 4, 7, 8))
        assert (slide.read((x, y), (154, 108), (77, 54)) == halved(odd[y:, x:])).all()
        outside = slide.read((-10, 100), (20, 20), (20, 20))
        assert (outside[:, :10] == 255).all() and (outside[9:] == 255).all()
        assert (outside[:9, 10:] == odd[100:, :10]).all()


def test_a_copy_is_told_from_another_picture_by_its_pixels(tmp_path: Path) -> None:
    """Unmarked pages of half the size: one is the same, one is another section."""
    path, other = tmp_path / "a.tif", stained(5, W // 2, H // 2)
    with tifffile.TiffWriter(path) as out:
        for image in (PIC, halved(PIC), other):
            out.write(image, **PAGE)
    with closing(open_slide(path)) as slide:
        (finding,) = slide.findings
        assert "it holds 2 scenes" in finding.what and f"1: {W // 2} × {H // 2} px" in finding.what
    with closing(open_slide(path, scene=1)) as slide:
        assert (slide.read((0, 0), slide.size_l0, slide.size_l0) == other).all()


def test_the_files_of_a_series_are_one_slide(tmp_path: Path) -> None:
    first = write_series(tmp_path / "one", PIC, 0.5, "1.2.3.7")
    second = write_series(tmp_path / "two", OTHER, 0.5, "1.2.3.8")
    copy = write_series(tmp_path / "copy", PIC, 0.5, "1.2.3.7")
    tif, text = tmp_path / "a.tif", tmp_path / "notes.dcm"
    tifffile.imwrite(tif, PIC)
    text.write_text("no slide")
    assert [series_of(path) for path in (first[1], second[0], tif, text)] == ["1.2.3.7", "1.2.3.8", None, None]
    mixed = [first[1], tif, second[0], first[0], copy[0], text, second[1], tmp_path / "gone.dcm"]
    assert same_slide(mixed) == [
        (first[1], first[0]),
        (tif,),
        (second[0], second[1]),
        (copy[0],),  # of another folder
        (text,),
        (tmp_path / "gone.dcm",),
    ]
    for path in first:
        with closing(open_slide(path)) as slide:
            assert slide.size_l0 == (W, H) and slide.mpp == 0.5


def test_a_folder_is_a_slide_where_it_holds_one_series(tmp_path: Path) -> None:
    files = write_series(tmp_path / "one", PIC, 0.5)
    (tmp_path / "one" / "DICOMDIR.txt").write_text("a list")
    assert slide_in(tmp_path / "one") == files[0]
    with closing(open_slide(tmp_path / "one")) as slide:
        assert slide.name == "a.dcm"  # never the folder's, which can name a patient
    write_level(tmp_path / "one" / "c.dcm", OTHER, 0.5, series="1.2.9", instance="1.2.9.1")
    with pytest.raises(SlideError, match="holds 2 DICOM series"):
        open_slide(tmp_path / "one")
    (tmp_path / "none").mkdir()
    with pytest.raises(SlideError, match="is not a file; name the slide's file itself"):
        open_slide(tmp_path / "none")
