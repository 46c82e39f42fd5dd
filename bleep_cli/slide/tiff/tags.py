"""The numbers of TIFF by name: tags, field types and the values of the tags that this reader looks at.

From TIFF 6.0 (1992), its supplements 1 and 2, the BigTIFF proposal, and, for the compressions since, the lists of
libtiff and Aperio. A number that is not here is not read.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag


class Tag(IntEnum):
    """Tags of a directory."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    IMAGE_DESCRIPTION = 270
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    MAX_SAMPLE_VALUE = 281
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR_CONFIGURATION = 284
    PAGE_NAME = 285
    RESOLUTION_UNIT = 296
    SOFTWARE = 305
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    SUB_IFDS = 330
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347


class FieldType(IntEnum):
    """How the values of a tag are stored."""

    BYTE = 1
    ASCII = 2
    SHORT = 3
    LONG = 4
    RATIONAL = 5
    SBYTE = 6
    UNDEFINED = 7
    SSHORT = 8
    SLONG = 9
    SRATIONAL = 10
    FLOAT = 11
    DOUBLE = 12
    IFD = 13
    LONG8 = 16
    SLONG8 = 17
    IFD8 = 18


class Version(IntEnum):
    """The second word of the file."""

    CLASSIC = 42
    BIG = 43


class SubfileType(IntFlag):
    """Bits of NewSubfileType."""

    REDUCED = 1
    PAGE = 2
    MASK = 4


class Compression(IntEnum):
    """How a segment is stored."""

    NONE = 1
    LZW = 5
    JPEG = 7
    DEFLATE = 8
    PACKBITS = 32773
    DEFLATE_OLD = 32946
    APERIO_JPEG2000_RGB = 33005
    JPEG2000 = 34712
    LZMA = 34925
    ZSTD_OLD = 34926
    WEBP_OLD = 34927
    ZSTD = 50000
    WEBP = 50001


class Photometric(IntEnum):
    """What the colour samples mean."""

    WHITE_IS_ZERO = 0
    BLACK_IS_ZERO = 1
    RGB = 2
    PALETTE = 3
    SEPARATED = 5
    YCBCR = 6


class FillOrder(IntEnum):
    """Which bit of a byte comes first."""

    HIGH_BIT_FIRST = 1


class Orientation(IntEnum):
    """Which corner the first pixel is, and whether rows stand upright; some writers put 0."""

    UNSTATED = 0
    TOP_LEFT = 1
    TOP_RIGHT = 2
    BOTTOM_RIGHT = 3
    BOTTOM_LEFT = 4
    LEFT_TOP = 5
    RIGHT_TOP = 6
    RIGHT_BOTTOM = 7
    LEFT_BOTTOM = 8


class Planar(IntEnum):
    """Whether the samples of a pixel stand together, or each plane by itself."""

    CONTIGUOUS = 1
    SEPARATE = 2


class Predictor(IntEnum):
    """What was subtracted before compression."""

    NONE = 1
    HORIZONTAL = 2


class ExtraSample(IntEnum):
    """What a sample beyond the colours means."""

    UNSPECIFIED = 0
    ASSOCIATED_ALPHA = 1
    UNASSOCIATED_ALPHA = 2


class SampleFormat(IntEnum):
    """The kind of number a sample is."""

    UNSIGNED = 1
    VOID = 4


class InkSet(IntEnum):
    """Which inks separated samples are."""

    CMYK = 1


class ResolutionUnit(IntEnum):
    """What the resolution counts pixels per."""

    NONE = 1
    INCH = 2
    CENTIMETRE = 3
