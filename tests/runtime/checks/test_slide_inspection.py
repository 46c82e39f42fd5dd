"""``bleep inspect SLIDE``: what is told of a slide before anything is predicted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from slide_files import (
    DARK,
    OTHER,
    PIC,
    RES,
    RGB_CHANNEL,
    H,
    W,
    deep,
    dicom_folder,
    flat,
    ome,
    ome_image,
    oriented,
    pages,
    stored,
    svs,
    tiff,
)

from bleep_cli.checks.slide_inspection import inspect_slide
from bleep_cli.errors import SlideError


def inspect(path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bleep_cli.cli", "inspect", str(path), *options]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_pyramid(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        options = {"photometric": "rgb", "tile": (32, 32), "metadata": None, "software": "Scanner 5"} | RES
        out.write(PIC, compression="zlib", subifds=1, **options)
        out.write(PIC[::2, ::2].copy(), compression="lzw", subfiletype=1, **options)
    told = inspect_slide(path)
    record = told.record
    assert (record["format"], record["writer"]) == ("TIFF (BigTIFF)", "Scanner 5")
    assert record["levels"] == [
        {"width_px": W, "height_px": H, "downsample": 1.0, "tile_px": [32, 32], "compression": "deflate"},
        {"width_px": W // 2, "height_px": H // 2, "downsample": 2.0, "tile_px": [32, 32], "compression": "LZW"},
    ]
    assert (record["sample_type"], record["bits"], record["channels"]) == ("uint8", 8, "RGB")
    assert (record["mpp"], record["mpp_source"]) == (pytest.approx(0.5), "the TIFF resolution")
    assert record["scenes"] == [{"index": 0, "name": "", "width_px": W, "height_px": H, "mpp": pytest.approx(0.5)}]
    assert record["bounds_l0"] == [0, 0, W, H] and record["objective"] is None and record["findings"] == []
    assert told.lines[0] == f"a.tif: {W} × {H} px at 0.5 µm/px = 0.08 × 0.06 mm"
    assert "  level 1: 80 × 56 px, 1:2, tiles of 32 × 32 px, compression LZW" in told.lines


def test_scenes_of_an_ome_tiff_each_with_size_and_mpp(tmp_path: Path) -> None:
    said = ome(
        ome_image(OTHER, RGB_CHANNEL, [0], "left", PhysicalSizeX=0.25, PhysicalSizeY=0.25),
        ome_image(PIC, RGB_CHANNEL, [1], "right"),
        ome_image(DARK, RGB_CHANNEL, [2], "macro image"),
    )
    plain = {"resolution": None, "resolutionunit": None}
    path = pages((OTHER, {"description": said.encode()} | plain), (PIC, plain), (DARK, plain))(tmp_path)
    told = inspect_slide(path)
    assert told.record["format"] == "OME-TIFF"
    assert told.record["scenes"] == [
        {"index": 0, "name": "left", "width_px": 150, "height_px": 80, "mpp": 0.25},
        {"index": 1, "name": "right", "width_px": W, "height_px": H, "mpp": 0.5},
    ]
    assert (told.record["scene"], told.record["mpp"]) == (1, 0.5)
    assert told.record["not_read"] == [f"macro image ({W} × {H} px)"]
    assert [finding.code for finding in told.findings] == ["scenes-ignored"]
    assert f"  scene 1 (right): {W} × {H} px, 0.5 µm/px, the one that is read" in told.lines
    for chosen in ("left", "LEFT", "0", 0):
        other = inspect_slide(path, scene=chosen)
        assert (other.record["scene"], other.record["mpp"], other.findings) == (0, 0.25, ())
    for wrong in ("macro image", "2", -1, "middle"):
        with pytest.raises(SlideError, match=r"is none of its scenes: 0 .left.: 150 × 80 px, 1 .right."):
            inspect_slide(path, scene=wrong)


def test_label_and_macro_are_named_and_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openslide

    path = svs(tmp_path)
    monkeypatch.setattr(openslide.OpenSlide, "read_region", _never_associated(openslide.OpenSlide.read_region))
    record = inspect_slide(path).record
    assert (record["format"], record["objective"], record["mpp"]) == ("Aperio SVS", 20.0, 0.5)
    assert record["not_read"] == ["label", "macro", "thumbnail"]
    assert record["levels"][0]["compression"] == "JPEG" and record["levels"][0]["tile_px"] == [64, 64]


def _never_associated(read):  # type: ignore[no-untyped-def]
    def checked(self, location, level, size):  # type: ignore[no-untyped-def]
        assert level < self.level_count
        return read(self, location, level, size)

    return checked


def test_turned_bits_and_what_is_odd(tmp_path: Path) -> None:
    path = tiff(stored(6, deep(12)), **oriented(6))(tmp_path)
    told = inspect_slide(path, mpp=0.25)
    record = told.record
    assert (record["width_px"], record["height_px"], record["orientation"]) == (W, H, 6)
    assert record["levels"][0]["width_px"] == W and record["scenes"][0]["width_px"] == W
    assert (record["sample_type"], record["bits"]) == ("uint16", 12)
    assert (record["mpp"], record["mpp_source"]) == (0.25, "given")
    assert record["mpp_stated"] == [{"source": "the TIFF resolution", "mpp": pytest.approx(0.5)}]
    codes = [finding["code"] for finding in record["findings"]]
    assert codes == ["depth-guessed", "slide-turned", "mpp-overrides"]
    assert "  orientation: 6, turned by 90° clockwise" in told.lines
    assert "  mpp: 0.25 µm per pixel, given; the TIFF resolution states 0.5" in told.lines
    assert "  pixels: RGB, uint16, 12 bits used" in told.lines


def test_a_picture_without_mpp_is_shown(tmp_path: Path) -> None:
    path = flat(PIC, "a.bmp")(tmp_path)
    result = inspect(path)
    assert result.returncode == 0 and "  mpp: not stated" in result.stdout.splitlines()
    assert result.stdout.startswith(f"a.bmp: {W} × {H} px\n")
    assert "bleep: warning: a.bmp: the file states no microns per pixel; give it with --mpp" in result.stderr
    record = json.loads(inspect(path, "--json").stdout)
    assert record["mpp"] is None and [f["code"] for f in record["findings"]] == ["mpp-unknown"]
    strict = inspect(path, "--strict")
    assert strict.returncode == 3 and "--strict" in strict.stderr
    assert inspect(path, "--strict", "--mpp", "0.5").returncode == 0


def test_a_black_picture_and_contradictory_sizes_are_shown(tmp_path: Path) -> None:
    said = ome(ome_image(PIC, RGB_CHANNEL, [0]))
    far = {"resolution": (40000, 40000), "resolutionunit": "CENTIMETER"}
    told = inspect_slide(tiff((PIC // 16).astype(np.uint8), said, **far)(tmp_path))
    assert [finding.code for finding in told.findings] == ["slide-black", "mpp-unknown"]
    assert told.record["mpp"] is None and told.record["mpp_source"] == "contradictory"
    assert "  mpp: contradictory; OME-XML states 0.5; the TIFF resolution states 0.25" in told.lines


def test_a_dicom_folder_is_a_slide(tmp_path: Path) -> None:
    record = json.loads(inspect(dicom_folder(tmp_path), "--json").stdout)
    assert (record["name"], record["format"], record["mpp"]) == ("a.dcm", "DICOM", 0.5)
    assert [level["downsample"] for level in record["levels"]] == [1.0, 2.0]
    assert record["levels"][0]["compression"] == "JPEG"


@pytest.mark.parametrize("option", ["--scene=1", "--scene=x"])
def test_a_picture_alone_has_one_scene(tmp_path: Path, option: str) -> None:
    path = flat(PIC, "a.png")(tmp_path)
    assert inspect(path, "--scene=0").returncode == 0
    result = inspect(path, option)
    assert result.returncode == 3 and "--scene" in result.stderr and "one picture" in result.stderr
