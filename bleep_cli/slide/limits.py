"""What a decoder is allowed, whatever a header claims, and what decoders raise about bad bytes."""

from __future__ import annotations

import struct

CODEC_ERRORS = (RuntimeError, ValueError, TypeError, OSError, MemoryError, ImportError, struct.error)
"""What imagecodecs, numpy and the checks before them raise about bad bytes."""

MAX_DECODED_BYTES = 1_600_000_000
MAX_RATIO = 4000  # decoded : stored; LZW can reach 2600, JPEG 1400, deflate 1032
RATIO_FREE_BYTES = 16 << 20  # constant tiles of modern codecs may be smaller still


def check_ratio(decoded: int, stored: int) -> None:
    """ValueError where so few bytes cannot hold so many: a bomb, or a broken size."""
    if decoded > MAX_DECODED_BYTES or decoded > max(RATIO_FREE_BYTES, MAX_RATIO * stored):
        raise ValueError(f"{stored} bytes claim to hold {decoded}")
