"""What the page's maps show, small: values as eight bits each, the overview as JPEG."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np

from bleep_cli.types import F32, F64, U8, Bool

STEPS = 254
"""The largest code: values lie on ``low + code / STEPS * (high - low)``."""
NO_VALUE = 255
"""The code of what is no number."""
PICTURE_BYTES = 1_500_000
"""Most that the overview takes."""
_QUALITIES = (88, 80, 70, 60)


@dataclass(frozen=True)
class Codes:
    """n values, quantised to the range that they have."""

    low: float
    high: float
    codes: U8
    """u8[n]; :data:`NO_VALUE` where there is none."""


def quantised(values: F32 | F64 | Bool) -> Codes:
    """n values between the least and the largest finite one, each off by half of 1/254 of that range at most."""
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if not finite.any():
        return Codes(0.0, 1.0, np.full(len(numbers), NO_VALUE, np.uint8))
    low, high = float(numbers[finite].min()), float(numbers[finite].max())
    share = (np.where(finite, numbers, low) - low) / ((high - low) or 1.0)
    return Codes(low, high, np.where(finite, np.rint(share * STEPS), NO_VALUE).astype(np.uint8))


def jpeg(picture: U8) -> bytes:
    """An overview u8[h, w, 3] as a JPEG of at most :data:`PICTURE_BYTES`, by its quality and then by its size."""
    from PIL import Image

    image = Image.fromarray(picture)
    while True:
        for quality in _QUALITIES:
            data = io.BytesIO()
            image.save(data, "JPEG", quality=quality, optimize=True)
            if data.tell() <= PICTURE_BYTES:
                return data.getvalue()
        image = image.resize((max(1, image.width * 3 // 4), max(1, image.height * 3 // 4)), Image.Resampling.BOX)
