"""What a header claims of the bytes behind it, held against what they can hold; and what decoders raise."""

from __future__ import annotations

import struct

from bleep_cli.limits import (
    LARGE_BYTES,
    MOST_PICTURE_BYTES,
    MOST_RATIO,
    MOST_RATIO_LARGE,
    RATIO_FREE_BYTES,
    over,
)

CODEC_ERRORS = (RuntimeError, ValueError, TypeError, OSError, MemoryError, ImportError, struct.error)
"""What imagecodecs, numpy and the checks before them raise about bad bytes."""


def check_ratio(decoded: int, stored: int) -> None:
    """ValueError where so few bytes cannot hold so many: a bomb, or a broken size."""
    told = f"{stored:,} bytes claim to hold {decoded:,}, which"
    if decoded > MOST_PICTURE_BYTES:
        raise ValueError(over(told, "MOST_PICTURE_BYTES"))
    if decoded > max(RATIO_FREE_BYTES, MOST_RATIO * stored):
        raise ValueError(over(told, "MOST_RATIO"))
    if decoded > max(LARGE_BYTES, MOST_RATIO_LARGE * stored):
        raise ValueError(over(told, "MOST_RATIO_LARGE"))
