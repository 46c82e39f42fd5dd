"""From the bytes of one tile, strip or flat file to samples, through imagecodecs.

C decoders believe what a header says, so every header is checked here first: the size it claims against the
size it should have, and against what so few bytes can hold at all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bleep_cli.types import U8

CODEC_ERRORS = (RuntimeError, ValueError, TypeError, OSError, MemoryError, ImportError, struct.error)
"""What imagecodecs, numpy and the checks here raise about bad bytes."""

MAX_DECODED_BYTES = 1_600_000_000
MAX_RATIO = 4000  # decoded : stored; LZW can reach 2600, JPEG 1400, deflate 1032
RATIO_FREE_BYTES = 16 << 20  # constant tiles of modern codecs may be smaller still
MAX_JPEG_SCANS = 100
SOF_USUAL = {0xC0, 0xC1, 0xC2}
SOF_OTHER = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
LZW = 5
BYTE_CODECS = {
    LZW: "tiff",
    8: "zlib",
    32946: "zlib",
    32773: "packbits",
    34925: "lzma",
    34926: "zstd",
    50000: "zstd",
}
IMAGE_CODECS = {7: "jpeg", 33005: "jpeg2000", 34712: "jpeg2000", 34927: "webp", 50001: "webp"}
"""TIFF compression numbers that are read; 1 is none."""


@dataclass(frozen=True)
class Shape:
    """What a segment should decode to: ``rows`` × ``cols`` × ``samples`` of ``dtype``.

    The last strip and some writers' edge tiles are smaller, down to ``min_rows`` × ``min_cols``.
    """

    rows: int
    cols: int
    samples: int
    dtype: np.dtype[Any]
    min_rows: int
    min_cols: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.cols * self.samples * self.dtype.itemsize


@dataclass(frozen=True)
class JpegHeader:
    """What a JPEG stream says before its pixels.

    ``marked`` whether a JFIF or Adobe marker tells the colour space; ``density`` (unit 1 = inch, 2 = cm; x; y)
    of JFIF; ``exif`` the body of its EXIF segment.
    """

    width: int
    height: int
    components: int
    marked: bool
    density: tuple[int, int, int]
    exif: bytes


def check_ratio(decoded: int, stored: int) -> None:
    """ValueError where so few bytes cannot hold so many: a bomb, or a broken size."""
    if decoded > MAX_DECODED_BYTES or decoded > max(RATIO_FREE_BYTES, MAX_RATIO * stored):
        raise ValueError(f"{stored} bytes claim to hold {decoded}")


def jpeg_header(data: bytes) -> JpegHeader:
    """Walks the markers up to the first scan. ValueError where broken, rare, or cut off."""
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG data")
    at, frame, density, marked, exif = 2, None, (0, 0, 0), False, b""
    while True:
        kind, body, at = _jpeg_segment(data, at)
        if kind in SOF_OTHER:
            raise ValueError("lossless or arithmetic JPEG")
        if kind in SOF_USUAL:
            frame = struct.unpack_from(">BHHB", body)
        elif kind == 0xE0 and body[:5] == b"JFIF\0" and len(body) >= 12:
            marked, density = True, struct.unpack_from(">BHH", body, 7)
        elif kind == 0xEE and body[:5] == b"Adobe":
            marked = True
        elif kind == 0xE1 and body[:6] == b"Exif\0\0":
            exif = body
        elif kind == 0xDA:
            break
    # libjpeg pads a cut file with grey and says nothing: the end marker is the only witness
    if data.rfind(b"\xff\xd9", at) < 0:
        raise ValueError("truncated JPEG data")
    if data.count(b"\xff\xda", at) > MAX_JPEG_SCANS:
        raise ValueError("too many JPEG scans")
    if frame is None or frame[0] != 8 or not (frame[1] and frame[2] and frame[3]):
        raise ValueError("not an 8-bit JPEG with a size")
    return JpegHeader(frame[2], frame[1], frame[3], marked, density, exif)


def _jpeg_segment(data: bytes, at: int) -> tuple[int, bytes, int]:
    """(marker, body, offset behind it) of the marker segment at an offset."""
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    if len(data) < at + 4 or data[at] != 0xFF:
        raise ValueError("broken JPEG header")
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if end > len(data) or end < at + 4:
        raise ValueError("broken JPEG header")
    return data[at + 1], data[at + 4 : end], end


def decode_bytes(data: bytes, compression: int, shape: Shape, predictor: int) -> Any:
    """A stored or byte-compressed segment → ``[rows, cols, samples]`` in native order (rows may be fewer)."""
    raw: Any = data
    if compression == LZW:
        raw = _decode_lzw(data, shape)
    elif compression in BYTE_CODECS:
        import imagecodecs

        decode: Callable[..., Any] = getattr(imagecodecs, BYTE_CODECS[compression] + "_decode")
        raw = decode(data, out=np.empty(shape.rows * shape.row_bytes, np.uint8))
    rows = min(shape.rows, len(raw) // shape.row_bytes)
    if rows < shape.min_rows:
        raise ValueError("too little data")
    pixels = np.frombuffer(raw, shape.dtype, rows * shape.cols * shape.samples)
    pixels = pixels.reshape(rows, shape.cols, shape.samples)
    if not pixels.dtype.isnative:
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if predictor == 2:
        import imagecodecs

        pixels = imagecodecs.delta_decode(pixels, axis=1)
    return pixels


def _decode_lzw(data: bytes, shape: Shape) -> U8:
    """LZW → ``u8[bytes]``, by libtiff, from a TIFF made around it.

    imagecodecs' own LZW decoder (2025.11) crashes on damaged data.
    """
    import imagecodecs

    tags = [(256, shape.row_bytes), (257, shape.min_rows), (258, 8), (259, LZW), (262, 1), (277, 1)]
    tags += [(273, 8 + 2 + 9 * 12 + 4), (278, shape.min_rows), (279, len(data))]
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    return np.asarray(imagecodecs.tiff_decode(head + body + bytes(4) + data)).reshape(-1)


def decode_image(data: bytes, compression: int, shape: Shape, colour: int, tables: bytes) -> Any:
    """A segment that is an image file of its own → ``[h, w, samples]``.

    ``colour`` is TIFF's photometric tag; ``tables`` the shared JPEG tables. ValueError where the image
    does not have the expected size.
    """
    import imagecodecs

    kind = IMAGE_CODECS[compression]
    if kind == "jpeg":
        pixels = _decode_jpeg(data, shape, colour, tables)
    elif kind == "jpeg2000":
        _check_image(shape, *_jpeg2000_size(data))
        pixels = imagecodecs.jpeg2k_decode(data)
    else:
        out = np.empty((shape.rows, shape.cols, shape.samples), np.uint8)
        pixels = imagecodecs.webp_decode(data, hasalpha=shape.samples == 4, out=out)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    _check_image(shape, pixels.shape[1], pixels.shape[0], pixels.shape[2])
    if pixels.dtype != shape.dtype.newbyteorder("="):
        raise ValueError("samples of another depth")
    return pixels


def _decode_jpeg(data: bytes, shape: Shape, colour: int, tables: bytes) -> U8:
    import imagecodecs

    header = jpeg_header(data)
    _check_image(shape, header.width, header.height, header.components)
    # the stream's own marker is what its encoder did; without one TIFF's RGB is stored as it is (Aperio)
    stored = "RGB" if colour == 2 and header.components == 3 and not header.marked else None
    wanted = {1: "GRAYSCALE", 3: "RGB", 4: "CMYK"}.get(header.components)
    if wanted is None:
        raise ValueError(f"JPEG of {header.components} components")
    return np.asarray(
        imagecodecs.jpeg8_decode(data, tables=tables or None, colorspace=stored, outcolorspace=wanted)
    )


def _jpeg2000_size(data: bytes) -> tuple[int, int, int]:
    """(width, height, components) of a JPEG 2000 stream, bare or in JP2 boxes; 8 bits unsigned only."""
    at = data.find(b"\xff\x4f\xff\x51", 0, 4096)
    if at < 0 or len(data) < at + 42:
        raise ValueError("no JPEG 2000 data")
    x1, y1, x0, y0, tile_w, tile_h, _, _, parts = struct.unpack_from(">8IH", data, at + 8)
    if any(data[at + 42 + 3 * i : at + 45 + 3 * i] != b"\x07\x01\x01" for i in range(min(parts, 5))):
        raise ValueError("JPEG 2000 with subsampled or not 8-bit components")
    if not (tile_w and tile_h) or -(-x1 // tile_w) * -(-y1 // tile_h) > 4096:
        raise ValueError("JPEG 2000 of too many tiles")
    return x1 - x0, y1 - y0, parts


def _check_image(shape: Shape, width: int, height: int, samples: int) -> None:
    fits = shape.min_cols <= width <= shape.cols and shape.min_rows <= height <= shape.rows
    if not fits or samples != shape.samples:
        raise ValueError(
            f"{width} x {height} x {samples} where {shape.cols} x {shape.rows} x {shape.samples} belongs"
        )
