"""The TIFF reader against tifffile and libtiff, on files that other programs wrote.

What is read has their pixels exactly, at level 0 and at every other level. That holds for JPEG too: the decoders
are all libjpeg-turbo with its accurate transform and smooth chroma, and its versions (3.1 in imagecodecs, 3.2 in
Pillow) decode alike. Only CMYK may be one level from libtiff, whose rule for it rounds down. What is not read for
certain is refused by a ``SlideError``, and listed here.

Writers: whoever made the files of the shared test data; tifffile; libtiff through Pillow; libvips where pyvips is
installed. imagecodecs writes no TIFF (its ``tiff_encode`` is not implemented), but codes tifffile's segments.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_samples import noise, whole, write_tiff
from tiff_files import MALFORMED_BUT_READ, READ, REFUSED, TEN_BITS
from tiff_kinds import (
    BYTE_CODECS,
    COLOURS,
    DEEP,
    FILES,
    GREY,
    HEIGHT,
    LAYOUTS,
    LIBTIFF_REFUSED,
    PHOTO,
    PILLOW_MODES,
    SAMPLES,
    TIFFFILE_REFUSED,
    WIDTH,
    Colour,
)
from tiff_oracles import apart, by_libtiff, by_pillow, by_tifffile

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide
from bleep_cli.types import U8

TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


# --- files of other programs ----------------------------------------------------------------------------


def tiffs(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.read_bytes()[:4] in TIFF_MAGICS:
            yield path


def refusals() -> dict[str, str]:
    """File → what its refusal says."""
    says, out = "", {}
    for line in REFUSED.strip().splitlines():
        if line.startswith(" "):
            out |= dict.fromkeys(line.split(), says)
        else:
            says = line.removesuffix(":")
    return out


def by_whichever_libtiff(path: Path, monkeypatch: pytest.MonkeyPatch, white: int) -> U8 | None:
    """libtiff's pixels, by Pillow where imagecodecs' calls refuse them; None where they say less than the file."""
    if path.name == "imagetiff_images_cmyk-4c-8b.tiff":
        return None  # libtiff leaves out the alpha of CMYK
    if path.name == "imagetiff_libtiffpic_quad-tile.tif":
        return by_pillow(path, monkeypatch)  # samples of "void" format
    return by_libtiff(path, white)


@pytest.mark.slow
def test_files_of_other_programs(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused, read = refusals(), []
    for path in (path for kind in ("real", "odd") for path in tiffs(data_dir / "slides" / kind)):
        if path.name in refused:
            with pytest.raises(SlideError) as caught:
                open_slide(path, mpp=0.5)
            assert f"{path.name}: {refused.pop(path.name)}" in str(caught.value)
            continue
        mine = whole(path)
        white = 1023 if path.name in TEN_BITS else 65535
        assert apart(mine, by_tifffile(path, white=white)) == 0, path.name
        theirs = by_whichever_libtiff(path, monkeypatch, white)
        inks = path.name.startswith(("imagetiff_libtiffpic_depth_flower-separated", "pillow_tiff_tiled_cmyk"))
        assert theirs is None or apart(mine, theirs) <= int(inks), path.name
        read.append(path.name)
    assert not refused
    assert sorted(read) == sorted(READ.split())


def test_malformed_files_of_other_programs(data_dir: Path) -> None:
    read = []
    for path in tiffs(data_dir / "slides" / "malformed"):
        try:
            mine = whole(path)
        except SlideError:
            continue
        assert apart(mine, by_tifffile(path)) == apart(mine, by_libtiff(path)) == 0
        read.append(path.name)
    assert read == [MALFORMED_BUT_READ]


# --- tifffile's files, lossless -------------------------------------------------------------------------


def written(path: Path, colour: Colour, apart_planes: bool, **options: Any) -> Path:
    """The file, its samples together or each plane by itself."""
    samples = np.moveaxis(colour.samples, -1, 0) if apart_planes else colour.samples
    planar = {"planarconfig": "separate" if apart_planes else "contig"} if samples.ndim == 3 else {}
    named = {"photometric": colour.photometric, "extrasamples": colour.extras or None}
    return write_tiff(path, samples, **named, colormap=colour.palette, **planar, **options)


def check_lossless(path: Path, colour: Colour, *, libtiff: bool = True) -> None:
    mine, shown = whole(path), colour.shown()
    assert apart(mine, shown) == 0
    assert apart(mine, by_tifffile(path)) == 0
    if libtiff:
        assert apart(mine, by_libtiff(path)) <= int(colour.photometric == "separated")


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("codec", "predictor"), BYTE_CODECS)
def test_bytes_of_tifffile(tmp_path: Path, codec: str | None, predictor: bool, layout: str) -> None:
    options = {"compression": codec, "predictor": predictor, **LAYOUTS[layout]}
    for place, (colour, planes) in enumerate(product(COLOURS.values(), (False, True))):
        if planes and colour.samples.ndim == 2:
            continue
        for order, big in FILES[place % 2 :: 2]:  # every colour in two of the four
            path = written(tmp_path / "a.tif", colour, planes, byteorder=order, bigtiff=big, **options)
            check_lossless(path, colour)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("codec", "arguments", "colours"),
    [
        ("webp", {"lossless": True}, ["rgb", "rgb with alpha", "rgb times alpha"]),
        ("jpeg2000", {"level": 0}, ["grey", "grey from white", "palette", "rgb", "rgb with alpha", "cmyk"]),
    ],
)
def test_pictures_of_tifffile(tmp_path: Path, codec: str, arguments: Any, colours: list[str], layout: str) -> None:
    for name, planes in product(colours, (False, True)):
        if planes and (codec == "webp" or COLOURS[name].samples.ndim == 2):
            continue  # a WebP picture has no planes
        options = {"compression": codec, "compressionargs": arguments, **LAYOUTS[layout]}
        path = written(tmp_path / "a.tif", COLOURS[name], planes, **options)
        check_lossless(path, COLOURS[name], libtiff=codec != "jpeg2000")  # which libtiff does not have


@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_part_of_a_file(tmp_path: Path, layout: str) -> None:
    path = written(tmp_path / "a.tif", COLOURS["rgb"], False, compression="zlib", **LAYOUTS[layout])
    with closing(open_slide(path, mpp=0.5)) as slide:
        for x, y, w, h in ((0, 0, 1, 1), (15, 31, 2, 2), (16, 32, 16, 7), (1, 6, 80, 1), (82, 60, 1, 1)):
            assert apart(slide.read((x, y), (w, h), (w, h)), SAMPLES[y : y + h, x : x + w, :3]) == 0


@pytest.mark.parametrize("planes", [False, True])
def test_tiles_that_were_never_written_are_white(tmp_path: Path, planes: bool) -> None:
    tiles = [noise(16, 16, i)[..., 0] if planes else noise(16, 16, i) for i in range(8 * (3 if planes else 1))]
    given = (None if i % 8 in (2, 5) else tile for i, tile in enumerate(tiles))
    shape = (3, 32, 64) if planes else (32, 64, 3)
    planar = "separate" if planes else "contig"
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, given, shape=shape, dtype=np.uint8, tile=(16, 16), photometric="rgb", planarconfig=planar
    )
    shown = by_tifffile(path)
    for i in (2, 5):
        unwritten = np.s_[i // 4 * 16 : i // 4 * 16 + 16, i % 4 * 16 : i % 4 * 16 + 16]
        assert (shown[unwritten] == 0).all()  # tifffile fills with zeros
        shown[unwritten] = 255
    assert apart(whole(path), shown) == 0


def own_noise(width: int, height: int, seed: int) -> np.ndarray:
    """u8[h, w, 3]: one picture in whatever size, under noise of its own."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    picture = np.stack([x, y, (x + y) / 2], axis=-1) * 255
    return np.round(0.75 * picture + 0.25 * noise(width, height, seed)).astype(np.uint8)


@pytest.mark.parametrize("nested", [True, False])
@pytest.mark.parametrize("big", [True, False])
@pytest.mark.parametrize(("codec", "photometric"), [("lzw", "rgb"), ("jpeg", "ycbcr"), ("zstd", "minisblack")])
def test_every_level_of_a_pyramid(tmp_path: Path, codec: str, photometric: str, big: bool, nested: bool) -> None:
    """Levels have noise of their own here, so that none can be taken for another made smaller."""
    path, options = tmp_path / "a.tif", {"photometric": photometric, "tile": (32, 32), "compression": codec}
    with tifffile.TiffWriter(path, bigtiff=big) as out:
        for i, step in enumerate((1, 2, 4)):
            level = own_noise(256 // step, 192 // step, i)
            level = level[..., 0] if photometric == "minisblack" else level
            subs = {"subifds": 2} if nested and not i else {}
            out.write(level, subfiletype=int(i > 0), metadata=None, **options, **subs)
    with tifffile.TiffFile(path) as tiff, closing(open_slide(path, mpp=0.5)) as slide:
        levels = tiff.pages.first.pages if nested else tiff.pages[1:]
        for step, page in zip((1, 2, 4), (tiff.pages.first, *levels), strict=True):
            size = (256 // step, 192 // step)
            theirs = page.asarray().reshape(size[1], size[0], -1)
            assert apart(slide.read((0, 0), (256, 192), size), np.broadcast_to(theirs, (*size[::-1], 3))) == 0


# --- JPEG -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [{"tile": (32, 32)}, {"rowsperstrip": 16}, {"rowsperstrip": HEIGHT}])
@pytest.mark.parametrize(
    ("samples", "photometric", "options"),
    [
        *[(PHOTO, "rgb", {"subsampling": factors}) for factors in ((1, 1), (2, 1), (2, 2), (4, 1))],
        (PHOTO, "ycbcr", {"subsampling": (2, 2)}),
        (PHOTO[..., 0], "minisblack", {}),
        (PHOTO[..., 0], "miniswhite", {}),
        (np.moveaxis(PHOTO, -1, 0), "rgb", {"planarconfig": "separate"}),
        (np.dstack([PHOTO, PHOTO[..., :1]]), "separated", {}),
    ],
)
def test_jpeg_of_tifffile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, samples: Any, photometric: str, options: Any, layout: Any
) -> None:
    path = write_tiff(
        tmp_path / "a.tif", samples, photometric=photometric, compression="jpeg", **options, **layout
    )
    mine = whole(path)
    assert apart(mine, by_tifffile(path)) == 0
    assert apart(mine, by_libtiff(path)) <= int(photometric == "separated")
    assert apart(mine, by_pillow(path, monkeypatch)) == 0


RGB, YCBCR = 2, 6  # photometric values


def jpeg_stream(**options: Any) -> bytes:
    """The photograph as a JPEG file of Pillow's."""
    file = io.BytesIO()
    Image.fromarray(PHOTO).save(file, "JPEG", quality=95, **options)
    return file.getvalue()


@pytest.mark.parametrize("told", [RGB, YCBCR])
@pytest.mark.parametrize(
    ("stream", "subsampling", "colours"),
    [
        (jpeg_stream(subsampling=0), (1, 1), YCBCR),  # by its JFIF marker
        (jpeg_stream(subsampling=2, progressive=True), (2, 2), YCBCR),
        (jpeg_stream(subsampling=1, restart_marker_rows=1, optimize=True), (2, 1), YCBCR),
        (jpeg_stream(keep_rgb=True), (1, 1), RGB),  # by its Adobe marker
    ],
)
def test_jpeg_streams_say_themselves_what_their_colours_are(
    tmp_path: Path, stream: bytes, subsampling: tuple[int, int], colours: int, told: int
) -> None:
    """Marked streams under the right and the wrong photometric tag: the picture that was encoded comes out.

    libtiff believes the tag: it shows the same where that is right, and other colours or an error where it lies.
    """
    path = tmp_path / "a.tif"
    options = {"shape": PHOTO.shape, "dtype": np.uint8, "rowsperstrip": HEIGHT, "subsampling": subsampling}
    write_tiff(path, iter([stream]), compression="jpeg", photometric="ycbcr", **options)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(told)
    mine = whole(path)
    assert np.abs(mine.astype(int) - PHOTO).mean() < 4
    if told == colours:
        assert apart(mine, by_libtiff(path)) == 0
    elif told == RGB and subsampling != (1, 1):
        with pytest.raises(imagecodecs.TiffError, match="sampling factors"):
            by_libtiff(path)
    else:
        assert np.abs(by_libtiff(path).astype(int) - PHOTO).mean() > 20


def unmarked(stream: bytes) -> bytes:
    """A JPEG stream without markers of its colours, its components numbered 1, 2, 3, as scanners write it."""
    out, at = stream[:2], 2
    while True:
        kind, end = stream[at + 1], at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        segment = bytearray(stream[at:end])
        first, step = {0xC0: (10, 3), 0xDA: (5, 2)}.get(kind, (0, 0))  # where components are numbered
        for number in range(3 if step else 0):
            segment[first + step * number] = number + 1
        out += b"" if kind in (0xE0, 0xEE) else bytes(segment)
        if kind == 0xDA:
            return out + stream[end:]
        at = end


@pytest.mark.parametrize(("options", "told"), [({"keep_rgb": True}, RGB), ({"subsampling": 0}, YCBCR)])
def test_jpeg_streams_without_a_marker_are_what_the_tag_says(tmp_path: Path, options: Any, told: int) -> None:
    stream, path = unmarked(jpeg_stream(**options)), tmp_path / "a.tif"
    assert b"JFIF" not in stream and b"Adobe" not in stream
    given = {"shape": PHOTO.shape, "dtype": np.uint8, "rowsperstrip": HEIGHT, "subsampling": (1, 1)}
    write_tiff(path, iter([stream]), compression="jpeg", photometric="ycbcr", **given)
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages.first.tags["PhotometricInterpretation"].overwrite(told)
    mine = whole(path)
    assert np.abs(mine.astype(int) - PHOTO).mean() < 4
    assert apart(mine, by_tifffile(path)) == apart(mine, by_libtiff(path)) == 0


# --- libtiff's files, through Pillow --------------------------------------------------------------------


def picture(mode: str) -> Image.Image:
    if mode == "P":
        return Image.fromarray(SAMPLES[..., :3]).quantize(200)
    return Image.frombytes(mode, (WIDTH, HEIGHT), np.ascontiguousarray(PILLOW_MODES[mode]).tobytes())


@pytest.mark.parametrize("mode", PILLOW_MODES)
@pytest.mark.parametrize(
    ("codec", "predictor"),
    [
        (None, 1),
        ("packbits", 1),
        *product(("tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "zstd", "lzma"), (1, 2)),
    ],
)
def test_bytes_of_libtiff(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, codec: str | None, predictor: int
) -> None:
    image = picture(mode)
    for strip_bytes, big in product((1, 1000, 1 << 20), (False, True)):
        options: dict[str, Any] = {"compression": codec} if codec else {}
        options |= {"tiffinfo": {317: 2}} if predictor == 2 else {}
        path = tmp_path / "a.tif"
        image.save(path, strip_size=strip_bytes, big_tiff=big, **options)
        mine = whole(path)
        assert apart(mine, by_tifffile(path)) == 0
        assert apart(mine, by_libtiff(path)) <= int(mode == "CMYK")
        assert apart(mine, by_pillow(path, monkeypatch)) <= int(mode == "RGBA")  # Pillow blends in its own way


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
@pytest.mark.parametrize("quality", [50, 95])
def test_jpeg_of_libtiff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, quality: int) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(PHOTO).convert(mode).save(path, compression="jpeg", quality=quality)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages.first.jpegtables  # shared tables, which tifffile does not write
    mine = whole(path)
    assert apart(mine, by_tifffile(path)) == 0
    assert apart(mine, by_libtiff(path)) <= int(mode == "CMYK")
    assert apart(mine, by_pillow(path, monkeypatch)) == 0


# --- libvips' files -------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["none", "lzw", "deflate", "packbits", "jpeg", "webp"])
@pytest.mark.parametrize("subifds", [False, True])
def test_pyramids_of_libvips(tmp_path: Path, codec: str, subifds: bool) -> None:
    pyvips = pytest.importorskip("pyvips", reason="pyvips is not installed: no files of libvips to read")
    path, pixels = tmp_path / "a.tif", noise(300, 200)
    options = {"tile": True, "tile_width": 64, "tile_height": 64, "pyramid": True, "subifd": subifds}
    options |= {"lossless": True} if codec == "webp" else {}
    pyvips.Image.new_from_array(pixels).tiffsave(str(path), compression=codec, **options)
    mine = whole(path)
    assert apart(mine, by_tifffile(path)) == 0
    assert codec == "jpeg" or apart(mine, pixels) == 0
    with tifffile.TiffFile(path) as tiff, closing(open_slide(path, mpp=0.5)) as slide:
        half = (tiff.pages.first.pages[0] if subifds else tiff.pages[1]).asarray()
        assert apart(slide.read((0, 0), (300, 200), (150, 100)), half) == 0


# --- what is refused ------------------------------------------------------------------------------------


@pytest.mark.parametrize("says", TIFFFILE_REFUSED)
def test_refused_of_tifffile(tmp_path: Path, says: str) -> None:
    samples, options = TIFFFILE_REFUSED[says]
    dropped = options.get("drop")
    path = write_tiff(tmp_path / "a.tif", samples, **{k: v for k, v in options.items() if k != "drop"})
    if dropped:
        raw = path.read_bytes()
        assert raw.count(dropped.to_bytes(2, "little")) == 1
        path.write_bytes(raw.replace(dropped.to_bytes(2, "little"), (65000).to_bytes(2, "little")))
    with pytest.raises(SlideError, match=says):
        open_slide(path, mpp=0.5)


@pytest.mark.parametrize(
    ("says", "mode", "options"),
    LIBTIFF_REFUSED,
)
def test_refused_of_libtiff(tmp_path: Path, says: str, mode: str, options: Any) -> None:
    image = Image.fromarray(PHOTO).convert("L" if mode == "I;16" else "RGB")
    (Image.new(mode, image.size) if mode == "LAB" else image.convert(mode)).save(tmp_path / "a.tif", **options)
    with pytest.raises(SlideError, match=says):
        open_slide(tmp_path / "a.tif", mpp=0.5)


@pytest.mark.parametrize(
    ("says", "stream"),
    [
        ("lossless or arithmetic JPEG", lambda: imagecodecs.ljpeg_encode(GREY)),
        ("not an 8-bit JPEG", lambda: imagecodecs.jpeg_encode(DEEP[..., 0] >> 4, bitspersample=12)),
        ("x 3 where", lambda: imagecodecs.jpeg8_encode(PHOTO)),
        ("x 1 where", lambda: imagecodecs.jpeg8_encode(GREY[:-1])),
        ("no JPEG data", lambda: imagecodecs.png_encode(GREY)),
        ("truncated JPEG data", lambda: imagecodecs.jpeg8_encode(GREY)[:-2]),
    ],
)
def test_refused_jpeg_streams(tmp_path: Path, says: str, stream: Callable[[], bytes]) -> None:
    options = {"photometric": "minisblack", "rowsperstrip": HEIGHT, "compression": "jpeg"}
    path = tmp_path / "a.tif"
    write_tiff(path, iter([stream()]), shape=(HEIGHT, WIDTH), dtype=np.uint8, **options)
    with pytest.raises(SlideError, match=f"strip 0 of level 0 cannot be decoded: .*{says}"):
        open_slide(path, mpp=0.5)
