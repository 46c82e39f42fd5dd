"""From the bytes of one tile or strip to samples, through imagecodecs.

C decoders believe what a header says, so every header is checked here first: the size it claims against the
size it should have, and against what so few bytes can hold at all.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bleep_cli.slide.jpeg_header import jpeg_header
from bleep_cli.slide.samples.pixels import Samples
from bleep_cli.slide.tiff.tags import Compression, FieldType, Photometric, Predictor, Tag, Version
from bleep_cli.types import U8

BYTE_CODECS = {
    Compression.LZW: "tiff",
    Compression.DEFLATE: "zlib",
    Compression.DEFLATE_OLD: "zlib",
    Compression.PACKBITS: "packbits",
    Compression.LZMA: "lzma",
    Compression.ZSTD_OLD: "zstd",
    Compression.ZSTD: "zstd",
}
"""Compressions of bytes that know no pixels, by the name of their decoder in imagecodecs."""
IMAGE_CODECS = {
    Compression.JPEG: "jpeg",
    Compression.APERIO_JPEG2000_RGB: "jpeg2000",
    Compression.JPEG2000: "jpeg2000",
    Compression.WEBP_OLD: "webp",
    Compression.WEBP: "webp",
}
"""Compressions whose segments are pictures with headers of their own."""


SampleType = np.dtype[np.uint8 | np.uint16]
"""Of a sample, in the file's byte order."""


@dataclass(frozen=True)
class Shape:
    """What a segment should decode to; the last strip and some writers' edge tiles are smaller."""

    rows: int
    """Pixels down."""
    cols: int
    """Pixels across."""
    samples: int
    """Samples per pixel in this segment."""
    dtype: SampleType
    """Of each."""
    min_rows: int
    """The fewest rows that will do."""
    min_cols: int
    """The fewest columns that will do."""

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return self.cols * self.samples * self.dtype.itemsize


def decode_bytes(data: bytes, compression: Compression, shape: Shape, predictor: Predictor) -> Samples:
    """A stored or byte-compressed segment → ``[rows, cols, samples]`` in native order (rows may be fewer)."""
    raw: bytes | U8 = data
    if compression == Compression.LZW:
        raw = _decode_lzw(data, shape)
    elif compression in BYTE_CODECS:
        import imagecodecs

        decode: Callable[..., U8] = getattr(imagecodecs, BYTE_CODECS[compression] + "_decode")
        raw = decode(data, out=np.empty(shape.rows * shape.row_bytes, np.uint8))
    rows = min(shape.rows, len(raw) // shape.row_bytes)
    if rows < shape.min_rows:
        raise ValueError("too little data")
    pixels = np.frombuffer(raw, shape.dtype, rows * shape.cols * shape.samples)
    pixels = pixels.reshape(rows, shape.cols, shape.samples)
    if not pixels.dtype.isnative:
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
    if predictor == Predictor.HORIZONTAL:
        import imagecodecs

        pixels = np.asarray(imagecodecs.delta_decode(pixels, axis=1))
    return pixels


def _decode_lzw(data: bytes, shape: Shape) -> U8:
    """LZW → ``u8[bytes]``, by libtiff, from a TIFF made around it.

    imagecodecs' own LZW decoder (2025.11) crashes on damaged data.
    """
    import imagecodecs

    tags = {
        Tag.IMAGE_WIDTH: shape.row_bytes,
        Tag.IMAGE_LENGTH: shape.min_rows,
        Tag.BITS_PER_SAMPLE: 8,
        Tag.COMPRESSION: Compression.LZW,
        Tag.PHOTOMETRIC: Photometric.BLACK_IS_ZERO,
        Tag.STRIP_OFFSETS: 8 + 2 + 9 * 12 + 4,  # behind the header, and this directory of nine
        Tag.SAMPLES_PER_PIXEL: 1,
        Tag.ROWS_PER_STRIP: shape.min_rows,
        Tag.STRIP_BYTE_COUNTS: len(data),
    }
    head = struct.pack("<2sHIH", b"II", Version.CLASSIC, 8, len(tags))
    body = b"".join(struct.pack("<HHII", tag, FieldType.LONG, 1, value) for tag, value in tags.items())
    return np.asarray(imagecodecs.tiff_decode(head + body + bytes(4) + data)).reshape(-1)


def decode_image(
    data: bytes, compression: Compression, shape: Shape, colour: Photometric, tables: bytes
) -> Samples:
    """A segment that is an image file of its own → ``[h, w, samples]``.

    ``colour`` is what TIFF says of its samples; ``tables`` the shared JPEG tables. ValueError where the image
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
        width, height = _webp_size(data)
        _check_image(shape, width, height, shape.samples)
        out = np.empty((height, width, shape.samples), np.uint8)
        pixels = imagecodecs.webp_decode(data, hasalpha=shape.samples == 4, out=out)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    _check_image(shape, pixels.shape[1], pixels.shape[0], pixels.shape[2])
    if pixels.dtype != shape.dtype.newbyteorder("="):
        raise ValueError("samples of another depth")
    return pixels


def _decode_jpeg(data: bytes, shape: Shape, colour: Photometric, tables: bytes) -> U8:
    import imagecodecs

    header = jpeg_header(data)
    _check_image(shape, header.width, header.height, header.components)
    # the stream's own marker is what its encoder did; without one TIFF's RGB is stored as it is (Aperio)
    stored = "RGB" if colour == Photometric.RGB and header.components == 3 and not header.marked else None
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


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of a WebP stream: lossy, lossless or extended."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        raise ValueError("no WebP data")
    match data[12:16]:
        case b"VP8 ":
            size = int.from_bytes(data[26:30], "little")
            return size & 0x3FFF, size >> 16 & 0x3FFF
        case b"VP8L":
            size = int.from_bytes(data[21:25], "little")
            return (size & 0x3FFF) + 1, (size >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    raise ValueError("no WebP data")


def _check_image(shape: Shape, width: int, height: int, samples: int) -> None:
    fits = shape.min_cols <= width <= shape.cols and shape.min_rows <= height <= shape.rows
    if not fits or samples != shape.samples:
        raise ValueError(
            f"{width} x {height} x {samples} where {shape.cols} x {shape.rows} x {shape.samples} belongs"
        )
