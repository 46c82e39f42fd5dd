"""How many bits of a 16-bit sample are used: cameras of 10, 12 and 14 bits are stored so, and rarely said so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.findings import Finding
from bleep_cli.slide.samples.pixels import COLOURS, DEEP_WHITE, PixelFormat

DEPTHS = (8, 10, 12, 14)
HALF = 32767  # brighter than that, all 16 bits are used
BRIGHT = 0.6  # the brightest pixel of a bright-field picture comes this near to white
PADDED = 0.01  # this share of pixels that are not pure white tells of the others


def depth_of(values: NDArray[Any], stated: int | None) -> tuple[int, tuple[Finding, ...]]:
    """(the value that is white, what is to be said of it) of 16-bit colour samples.

    ``values`` u16[any] are seen in some places of the picture; ``stated`` is how many bits its tags say are used.
    Values decide: a tag is believed where they keep to it. Nothing is said of a picture that uses all 16 bits.
    """
    most = _brightest(values)
    if most == 0:
        return DEEP_WHITE, ()
    if stated is not None and DEPTHS[0] <= stated < 16 and most < 1 << stated:
        what = f"{stated} bits of its 16-bit samples are used, as its tags say: {(1 << stated) - 1} is white"
        return (1 << stated) - 1, (Finding("depth-stated", what),)
    if most > HALF:
        return DEEP_WHITE, ()
    mend = "store it as RGB of 8 bits if that is not so"
    for bits in DEPTHS:
        white = (1 << bits) - 1
        if BRIGHT * white <= most <= white:
            what = f"its 16-bit samples reach {most}, so they are taken as {bits} bits: {white} is white"
            return white, (Finding("depth-guessed", what, mend=mend),)
    what = f"its 16-bit samples reach {most} of {DEEP_WHITE}, which is taken as white"
    return most, (Finding("depth-guessed", what, mend=mend),)


def deep_format(
    fmt: PixelFormat, seen: NDArray[Any], stated: int | None
) -> tuple[PixelFormat, tuple[Finding, ...]]:
    """A format of 16-bit samples with its white, and what is to be said of it; ``seen`` u16[n, samples]."""
    white, findings = depth_of(seen[:, : COLOURS[fmt.model]], stated)
    whole = fmt.alpha is None or int(seen[:, fmt.alpha].max()) > white
    return replace(fmt, white=white, alpha_white=DEEP_WHITE if whole else white), findings


def _brightest(values: NDArray[Any]) -> int:
    """The highest value; of pixels beside a padding in pure white, where that is far above all of them."""
    most = int(values.max())
    rest = values[values < DEEP_WHITE]
    if most == DEEP_WHITE and rest.size > PADDED * values.size:
        below = int(rest.max())
        if 0 < below < 1 << DEPTHS[-1]:
            return below
    return most


def spread(samples: NDArray[Any], most: int = 1 << 16) -> NDArray[Any]:
    """``[h, w, s]`` → some of its pixels ``[n, s]``, evenly spread, at most about ``most`` of them."""
    step = max(1, int(np.ceil(np.sqrt(samples.shape[0] * samples.shape[1] / most))))
    return samples[::step, ::step].reshape(-1, samples.shape[2])
