"""What one TIFF directory says about its picture: geometry, samples and segments, validated at the door.

A segment is a tile or a strip. Everything that is not clearly an RGB, grey, palette or CMYK picture of 8 bits
(or RGB of 16) is refused: guessing would give a wrong image, and predictions on it would look right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from bleep_cli.slide.limits import MAX_DECODED_BYTES
from bleep_cli.slide.pixels import COLOURS, PixelFormat
from bleep_cli.slide.raster import CONVERT
from bleep_cli.slide.tiff.codec import BYTE_CODECS, IMAGE_CODECS, Shape
from bleep_cli.slide.tiff.ifd import Ifd
from bleep_cli.types import I64, U8

MAX_SIDE = 1 << 24
MIN_TILE, MAX_TILE_BYTES = 16, 256 << 20
CHOP_BYTES = 1 << 20  # uncompressed strips are read in pieces of about this size
JPEG, YCBCR = 7, 6
MODELS: dict[int, Literal["grey", "inverted", "palette", "rgb", "cmyk"]] = {
    0: "inverted",
    1: "grey",
    2: "rgb",
    3: "palette",
    5: "cmyk",
    YCBCR: "rgb",  # JPEG only: the decoder converts
}


@dataclass(frozen=True)
class Page:
    """One picture. ``planes`` is 1, or ``samples`` where each sample has its own segments.

    ``offsets``, ``counts`` i64[planes × rows × cols]: plane by plane, row by row; count 0 = never written.
    """

    width: int
    height: int
    tile_w: int
    tile_h: int
    tiled: bool
    samples: int
    planes: int
    dtype: np.dtype[Any]
    photometric: int
    compression: int
    predictor: int
    tables: bytes
    fmt: PixelFormat
    offsets: I64
    counts: I64

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


def read_page(ifd: Ifd) -> Page:
    """The picture of a directory. SlideError where it is broken, or of a kind that is not read."""
    compression = ifd.one(259, 1)
    if compression != 1 and compression not in BYTE_CODECS and compression not in IMAGE_CODECS:
        raise ifd.file.bad(f"TIFF compression {compression} is not read; {CONVERT}")
    if ifd.one(266, 1) != 1 or ifd.one(274, 1) not in (0, 1):
        raise ifd.file.bad(f"the TIFF is stored turned or mirrored; {CONVERT}")
    width, height, tile_w, tile_h = _geometry(ifd)
    photometric, samples, planes, dtype = _samples(ifd, compression)
    page = Page(
        width=width,
        height=height,
        tile_w=tile_w,
        tile_h=tile_h,
        tiled=322 in ifd.entries,
        samples=samples,
        planes=planes,
        dtype=dtype,
        photometric=photometric,
        compression=compression,
        predictor=_predictor(ifd, compression),
        tables=ifd.raw(347) if compression == JPEG else b"",
        fmt=_format(ifd, photometric, samples),
        offsets=np.empty(0, np.int64),
        counts=np.empty(0, np.int64),
    )
    return _with_segments(page, ifd)


def _geometry(ifd: Ifd) -> tuple[int, int, int, int]:
    """(width, height, tile width, tile height); a strip is a tile as wide as the picture."""
    width, height = ifd.one(256), ifd.one(257)
    tile_w, tile_h = width, min(ifd.one(278, height), height)
    least = 1
    if 322 in ifd.entries:
        tile_w, tile_h, least = ifd.one(322), ifd.one(323), MIN_TILE
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE and min(tile_w, tile_h) >= least):
        raise ifd.file.bad(f"a picture of {width} x {height} px in tiles of {tile_w} x {tile_h} cannot be")
    return width, height, tile_w, tile_h


def _samples(ifd: Ifd, compression: int) -> tuple[int, int, int, np.dtype[Any]]:
    """(photometric, samples, planes, dtype)."""
    photometric, samples, planar = ifd.one(262), ifd.one(277, 1), ifd.one(284, 1)
    bits, kinds = set(ifd.ints(258, (1,))), set(ifd.ints(339, (1,)))
    if not (1 <= samples <= 16 and planar in (1, 2) and len(ifd.ints(258, (1,))) in (1, samples)):
        raise ifd.file.bad(f"its TIFF tags contradict each other ({samples} samples per pixel)")
    if photometric not in MODELS:
        raise ifd.file.bad(f"TIFF colour model {photometric} is not read; {CONVERT}")
    model = MODELS[photometric]
    deep = bits == {16} and model == "rgb" and compression not in IMAGE_CODECS
    if not (bits == {8} or deep) or not kinds <= {1, 4}:
        kind = "" if kinds <= {1, 4} else "signed or float "
        sizes = "/".join(map(str, sorted(bits)))
        raise ifd.file.bad(f"{kind}{model} of {sizes} bits is not read; convert it to RGB of 8 bits")
    if photometric == YCBCR and (compression != JPEG or planar == 2 or samples != 3):
        raise ifd.file.bad("YCbCr other than JPEG is not read; convert it to RGB")
    if compression == JPEG and planar == 1 and samples != COLOURS[model]:
        raise ifd.file.bad("JPEG with more than the colour samples is not read; convert it to RGB")
    planes = samples if planar == 2 else 1
    return photometric, samples, planes, np.dtype(f"{ifd.file.order}u{2 if deep else 1}")


def _predictor(ifd: Ifd, compression: int) -> int:
    """1 none or 2 horizontal; only byte compressions have one."""
    predictor = ifd.one(317, 1) if compression not in IMAGE_CODECS else 1
    if predictor not in (1, 2) or (predictor == 2 and compression in (1, 32773)):
        raise ifd.file.bad(f"TIFF predictor {predictor} is not read here; {CONVERT}")
    return predictor


def _format(ifd: Ifd, photometric: int, samples: int) -> PixelFormat:
    model = MODELS[photometric]
    extras = ifd.ints(338, ())
    if samples != COLOURS[model] + len(extras):
        raise ifd.file.bad(f"{samples} samples per pixel and {len(extras)} extra ones do not make {model}")
    if model == "cmyk" and ifd.one(332, 1) != 1:
        raise ifd.file.bad("inks other than CMYK are not read; convert it to RGB")
    alpha = next((i for i, kind in enumerate(extras) if kind in (1, 2)), None)
    return PixelFormat(
        model,
        alpha=None if alpha is None else COLOURS[model] + alpha,
        premultiplied=alpha is not None and extras[alpha] == 1,
        palette=_palette(ifd) if model == "palette" else None,
    )


def _palette(ifd: Ifd) -> U8:
    values = ifd.array(320)
    if len(values) != 768 or values.max() > 65535:
        raise ifd.file.bad("its colour palette is broken")
    if values.max() > 255:  # some writers fill it with 8-bit values
        values >>= 8
    return values.reshape(3, 256).T.astype(np.uint8)


def _with_segments(page: Page, ifd: Ifd) -> Page:
    """The page with its offsets and byte counts, all inside the file."""
    cols, rows = page.grid
    needed = cols * rows * page.planes
    offsets = ifd.array(324 if 324 in ifd.entries else 273)[:needed]
    row_bytes = page.shape(0).row_bytes
    if 325 in ifd.entries or 279 in ifd.entries:
        counts = ifd.array(325 if 325 in ifd.entries else 279)[:needed]
    elif page.compression == 1 and not page.tiled:
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
    if not counts.any() or not (page.tiled or counts.all()):
        raise ifd.file.bad("tiles or strips are empty")
    page = _chopped(replace(page, offsets=offsets, counts=counts))
    size = page.tile_h * row_bytes
    if size > (MAX_TILE_BYTES if page.tiled else MAX_DECODED_BYTES):
        raise ifd.file.bad(f"its tiles or strips decode to {size / 1e9:.1f} GB each; {CONVERT}")
    return page


def _chopped(page: Page) -> Page:
    """Long uncompressed strips as several short ones: any of their rows can be read alone."""
    row_bytes = page.shape(0).row_bytes
    rows = max(1, CHOP_BYTES // row_bytes)
    one_strip = page.tile_h >= page.height and not page.tiled
    if page.compression != 1 or not one_strip or rows >= page.height:
        return page
    if (page.counts < page.height * row_bytes).any():
        return page  # decoding will say what is missing
    tops = np.arange(0, page.height, rows, dtype=np.int64)
    heights = np.minimum(rows, page.height - tops)
    offsets = (page.offsets[:, None] + tops * row_bytes).ravel()
    counts = np.tile(heights * row_bytes, page.planes)
    return replace(page, tile_h=rows, offsets=offsets, counts=counts)
