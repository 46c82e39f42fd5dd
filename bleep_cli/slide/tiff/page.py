"""What one TIFF directory says about its picture: geometry, samples and segments, validated at the door.

A segment is a tile or a strip. Everything that is not clearly an RGB, grey, palette or CMYK picture of 8 bits
(or RGB of 16) is refused: guessing would give a wrong image, and predictions on it would look right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bleep_cli.limits import LARGE_BYTES, MOST_PICTURE_BYTES, MOST_RATIO, MOST_SIDE, MOST_TILE_PIXELS, over
from bleep_cli.slide.raster import COLOUR_NEEDED, CONVERT
from bleep_cli.slide.samples.pixels import COLOURS, ColourModel, PixelFormat
from bleep_cli.slide.tiff.codec import BYTE_CODECS, IMAGE_CODECS, SampleType, Shape
from bleep_cli.slide.tiff.ifd import Ifd
from bleep_cli.slide.tiff.tags import (
    Compression,
    ExtraSample,
    FillOrder,
    InkSet,
    Orientation,
    Photometric,
    Planar,
    Predictor,
    SampleFormat,
    Tag,
)
from bleep_cli.types import I64, U8

MIN_TILE = 16
CHOP_BYTES = 1 << 20  # uncompressed strips are read in pieces of about this size
Doubt = Literal["", "alpha", "planes"]
"""What only the samples can tell: whether an unnamed fourth one is alpha, whether three grey planes are RGB."""
ALPHA = (ExtraSample.ASSOCIATED_ALPHA, ExtraSample.UNASSOCIATED_ALPHA)
MODELS: dict[Photometric, ColourModel] = {
    Photometric.WHITE_IS_ZERO: "inverted",
    Photometric.BLACK_IS_ZERO: "grey",
    Photometric.RGB: "rgb",
    Photometric.PALETTE: "palette",
    Photometric.SEPARATED: "cmyk",
    Photometric.YCBCR: "rgb",  # JPEG only: the decoder converts
}


@dataclass(frozen=True)
class Page:
    """One picture and where its segments stand."""

    width: int
    """Pixels across."""
    height: int
    """Pixels down."""
    tile_w: int
    """Pixels across a segment; a strip is as wide as the picture."""
    tile_h: int
    """Pixels down a segment."""
    tiled: bool
    """Whether its segments are tiles, or strips."""
    samples: int
    """Samples per pixel, extra ones included."""
    planes: int
    """1, or ``samples`` where each sample has segments of its own."""
    dtype: SampleType
    """Of each sample."""
    photometric: Photometric
    """What the file says of the colours; the decoder of JPEG asks."""
    compression: Compression
    """How the segments are stored."""
    predictor: Predictor
    """What is to be added up after decompression."""
    tables: bytes
    """JPEG tables that all segments share; empty where there are none."""
    fmt: PixelFormat
    """How RGB is made of the samples."""
    doubt: Doubt
    """What of that the tags leave open."""
    orientation: int
    """1 to 8: how the picture has to be turned."""
    offsets: I64
    """i64[planes × rows × cols] bytes from the start of the file, plane by plane, row by row of segments."""
    counts: I64
    """i64[planes × rows × cols] bytes of each segment; 0 = never written."""

    @property
    def grid(self) -> tuple[int, int]:
        """(cols, rows) of segments."""
        return -(-self.width // self.tile_w), -(-self.height // self.tile_h)

    def shape(self, index: int) -> Shape:
        """What segment ``index`` of a plane decodes to."""
        cols, _ = self.grid
        w = min(self.tile_w, self.width - index % cols * self.tile_w)
        h = min(self.tile_h, self.height - index // cols * self.tile_h)
        # a strip ends with the picture; byte-coded tiles are always whole
        need_w, need_h = (self.tile_w, self.tile_h) if self.tiled and self.compression in BYTE_CODECS else (w, h)
        return Shape(self.tile_h, self.tile_w, self.samples // self.planes, self.dtype, need_h, need_w)


def read_page(ifd: Ifd, *, plane: bool = False) -> Page:
    """The picture of a directory, or with ``plane`` the one grey plane of several that it is.

    SlideError where it is broken, or of a kind that is not read.
    """
    compression = _compression(ifd)
    if ifd.one(Tag.FILL_ORDER, 1) != FillOrder.HIGH_BIT_FIRST:
        raise ifd.file.bad(f"the bits of its bytes are stored in reverse; {CONVERT}")
    width, height, tile_w, tile_h = _geometry(ifd)
    photometric, samples, planes, dtype = _samples(ifd, compression, plane)
    fmt, doubt = _format(ifd, photometric, samples)
    page = Page(
        width=width,
        height=height,
        tile_w=tile_w,
        tile_h=tile_h,
        tiled=Tag.TILE_WIDTH in ifd.entries,
        samples=samples,
        planes=planes,
        dtype=dtype,
        photometric=photometric,
        compression=compression,
        predictor=_predictor(ifd, compression),
        tables=ifd.raw(Tag.JPEG_TABLES) if compression == Compression.JPEG else b"",
        fmt=fmt,
        doubt=doubt,
        orientation=_orientation(ifd),
        offsets=np.empty(0, np.int64),
        counts=np.empty(0, np.int64),
    )
    return _with_segments(page, ifd)


def _orientation(ifd: Ifd) -> int:
    stated = ifd.one(Tag.ORIENTATION, Orientation.TOP_LEFT)
    if stated not in tuple(Orientation):
        raise ifd.file.bad(f"its orientation tag says {stated}, which is none of the eight; {CONVERT}")
    return stated or Orientation.TOP_LEFT


def _compression(ifd: Ifd) -> Compression:
    """The compression, of those that are read."""
    stated = ifd.one(Tag.COMPRESSION, Compression.NONE)
    if stated not in tuple(Compression):
        raise ifd.file.bad(f"TIFF compression {stated} is not read; {CONVERT}")
    return Compression(stated)


def _geometry(ifd: Ifd) -> tuple[int, int, int, int]:
    """(width, height, tile width, tile height); a strip is a tile as wide as the picture."""
    width, height = ifd.one(Tag.IMAGE_WIDTH), ifd.one(Tag.IMAGE_LENGTH)
    tile_w, tile_h = width, min(ifd.one(Tag.ROWS_PER_STRIP, height), height)
    least = 1
    if Tag.TILE_WIDTH in ifd.entries:
        tile_w, tile_h, least = ifd.one(Tag.TILE_WIDTH), ifd.one(Tag.TILE_LENGTH), MIN_TILE
    if not (1 <= width <= MOST_SIDE and 1 <= height <= MOST_SIDE and min(tile_w, tile_h) >= least):
        raise ifd.file.bad(f"a picture of {width} x {height} px in tiles of {tile_w} x {tile_h} cannot be")
    return width, height, tile_w, tile_h


def _samples(ifd: Ifd, compression: Compression, plane: bool) -> tuple[Photometric, int, int, SampleType]:
    """(photometric, samples, planes, dtype)."""
    stated, samples = ifd.one(Tag.PHOTOMETRIC), ifd.one(Tag.SAMPLES_PER_PIXEL, 1)
    planar = ifd.one(Tag.PLANAR_CONFIGURATION, Planar.CONTIGUOUS)
    sizes = ifd.ints(Tag.BITS_PER_SAMPLE, (1,))
    if not (1 <= samples <= 16 and planar in tuple(Planar) and len(sizes) in (1, samples)):
        raise ifd.file.bad(f"its TIFF tags contradict each other ({samples} samples per pixel)")
    if stated not in tuple(Photometric):
        raise ifd.file.bad(f"TIFF colour model {stated} is not read; {CONVERT}")
    photometric = Photometric(stated)
    deep = compression not in IMAGE_CODECS and (plane or MODELS[photometric] == "rgb" or _is_planes(ifd))
    dtype = _sample_type(ifd, MODELS[photometric], set(sizes), deep)
    jpeg, together = compression == Compression.JPEG, planar == Planar.CONTIGUOUS
    if photometric == Photometric.YCBCR and not (jpeg and together and samples == 3):
        raise ifd.file.bad("YCbCr other than JPEG is not read; convert it to RGB")
    if jpeg and together and samples != COLOURS[MODELS[photometric]]:
        raise ifd.file.bad("JPEG with more than the colour samples is not read; convert it to RGB")
    return photometric, samples, 1 if together else samples, dtype


def _is_planes(ifd: Ifd) -> bool:
    """Whether a pixel has three grey samples, none of which is said to be alpha: channels of one picture."""
    return (
        ifd.one(Tag.PHOTOMETRIC) == Photometric.BLACK_IS_ZERO
        and ifd.one(Tag.SAMPLES_PER_PIXEL, 1) == 3
        and not set(ifd.ints(Tag.EXTRA_SAMPLES, ())) & set(ALPHA)
    )


def _sample_type(ifd: Ifd, model: ColourModel, bits: set[int], deep: bool) -> SampleType:
    """u1, or with ``deep`` also u2, in the file's byte order."""
    deep = deep and bits == {16}
    unsigned = set(ifd.ints(Tag.SAMPLE_FORMAT, (SampleFormat.UNSIGNED,))) <= set(SampleFormat)
    if not (bits == {8} or deep) or not unsigned:
        kind = "" if unsigned else "signed or float "
        sizes = "/".join(map(str, sorted(bits)))
        raise ifd.file.bad(f"{kind}{model} of {sizes} bits is not read; convert it to RGB of 8 bits")
    return np.dtype(f"{ifd.file.order}u{2 if deep else 1}")


def _predictor(ifd: Ifd, compression: Compression) -> Predictor:
    """Only byte compressions have one."""
    stated = ifd.one(Tag.PREDICTOR, Predictor.NONE) if compression not in IMAGE_CODECS else Predictor.NONE
    undone = compression in BYTE_CODECS and compression != Compression.PACKBITS
    if stated not in tuple(Predictor) or (stated != Predictor.NONE and not undone):
        raise ifd.file.bad(f"TIFF predictor {stated} is not read here; {CONVERT}")
    return Predictor(stated)


def _format(ifd: Ifd, photometric: Photometric, samples: int) -> tuple[PixelFormat, Doubt]:
    """What the samples mean, and what of that the tags leave open."""
    model = MODELS[photometric]
    if _is_planes(ifd):
        return PixelFormat("rgb"), "planes"
    extras = ifd.ints(Tag.EXTRA_SAMPLES, ())
    if model == "rgb" and samples == 4 and not extras:  # Pillow and libtiff take the fourth as alpha
        return PixelFormat("rgb", alpha=3), "alpha"
    if samples != COLOURS[model] + len(extras):
        raise ifd.file.bad(f"{samples} samples per pixel and {len(extras)} extra ones do not make {model}")
    if COLOURS[model] == 1 and samples > 2:
        raise ifd.file.bad(f"holds {samples} grey channels, which are no colour picture; {COLOUR_NEEDED}")
    if model == "cmyk" and ifd.one(Tag.INK_SET, InkSet.CMYK) != InkSet.CMYK:
        raise ifd.file.bad("inks other than CMYK are not read; convert it to RGB")
    alpha = next((i for i, kind in enumerate(extras) if kind in ALPHA), None)
    fmt = PixelFormat(
        model,
        alpha=None if alpha is None else COLOURS[model] + alpha,
        premultiplied=alpha is not None and extras[alpha] == ExtraSample.ASSOCIATED_ALPHA,
        palette=_palette(ifd) if model == "palette" else None,
    )
    return fmt, ""


def _palette(ifd: Ifd) -> U8:
    values = ifd.array(Tag.COLOR_MAP)
    if len(values) != 768 or values.max() > 65535:
        raise ifd.file.bad("its colour palette is broken")
    if values.max() > 255:  # some writers fill it with 8-bit values
        values >>= 8
    return values.reshape(3, 256).T.astype(np.uint8)


def _with_segments(page: Page, ifd: Ifd) -> Page:
    """The page with its offsets and byte counts, all inside the file."""
    cols, rows = page.grid
    needed = cols * rows * page.planes
    offsets = ifd.array(_present(ifd, Tag.TILE_OFFSETS, Tag.STRIP_OFFSETS))[:needed]
    row_bytes = page.shape(0).row_bytes
    listed = _present(ifd, Tag.TILE_BYTE_COUNTS, Tag.STRIP_BYTE_COUNTS)
    if listed in ifd.entries:
        counts = ifd.array(listed)[:needed]
    elif page.compression == Compression.NONE and not page.tiled:
        heights = np.minimum(page.tile_h, page.height - np.arange(rows) * page.tile_h)
        counts = np.tile(heights * row_bytes, page.planes)[:needed]
    else:
        raise ifd.file.bad("the sizes of its segments are missing")
    if len(offsets) != needed or len(counts) != needed:
        raise ifd.file.bad(
            f"{needed} segments belong to {page.width} x {page.height} px, {len(offsets)} are listed"
        )
    if ((offsets > ifd.file.size) | (counts > ifd.file.size - offsets)).any():
        raise ifd.file.bad("is truncated: tiles or strips lie beyond the end of the file")
    written = counts.reshape(page.planes, -1) > 0
    if not written.any() or not (page.tiled or written.all()) or (written != written[0]).any():
        raise ifd.file.bad("tiles or strips are empty")
    page = _chopped(replace(page, offsets=offsets, counts=counts))
    pixels, size = page.tile_w * page.tile_h, page.tile_h * row_bytes * page.planes
    if page.tiled and pixels > MOST_TILE_PIXELS:
        told = over(f"a tile of {page.tile_w} x {page.tile_h} px", "MOST_TILE_PIXELS")
        raise ifd.file.bad(f"{told}; {CONVERT}")
    if size > MOST_PICTURE_BYTES:
        raise ifd.file.bad(f"{over(f'a strip of {size:,} bytes', 'MOST_PICTURE_BYTES')}; {CONVERT}")
    decoded = int((page.counts[: len(page.counts) // page.planes] > 0).sum()) * size
    if decoded > max(LARGE_BYTES, MOST_RATIO * ifd.file.size):  # many entries share the bytes of few tiles
        told = over(f"a picture of {decoded:,} bytes in a file of {ifd.file.size:,}", "MOST_RATIO")
        raise ifd.file.bad(f"{told}; {CONVERT}")
    return page


def _present(ifd: Ifd, tiles: Tag, strips: Tag) -> Tag:
    """The tag of tiles where it is there; some writers put tiles under the strips' tags."""
    return tiles if tiles in ifd.entries else strips


def _chopped(page: Page) -> Page:
    """Long uncompressed strips as several short ones: any of their rows can be read alone."""
    row_bytes = page.shape(0).row_bytes
    rows = max(1, CHOP_BYTES // row_bytes)
    one_strip = page.tile_h >= page.height and not page.tiled
    if page.compression != Compression.NONE or not one_strip or rows >= page.height:
        return page
    if (page.counts < page.height * row_bytes).any():
        return page  # decoding will say what is missing
    tops = np.arange(0, page.height, rows, dtype=np.int64)
    heights = np.minimum(rows, page.height - tops)
    offsets = (page.offsets[:, None] + tops * row_bytes).ravel()
    counts = np.tile(heights * row_bytes, page.planes)
    return replace(page, tile_h=rows, offsets=offsets, counts=counts)
