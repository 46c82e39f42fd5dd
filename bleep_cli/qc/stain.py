"""How densely a slide is stained, colour by colour, beside the reference."""

from __future__ import annotations

import numpy as np

from bleep_cli.findings import Finding
from bleep_cli.fitting.looks import stain_of
from bleep_cli.qc.check import Check
from bleep_cli.qc.strange import WHY_NOT, Beside
from bleep_cli.types import F32, U8, Slide

STRANGE = 1.0  # score of the middle tile: like the strangest of twenty of the reference's own left-out tiles


def stain_check(slide: Slide, tiles: U8, found: Beside | None, why_not: str = WHY_NOT) -> Check:
    """The stain of tiles u8[n, px, px, 3 * fields] of a slide: optical density, -ln of the light let through, its
    mean over tiles of red, green and blue, and of its standard deviation within a tile."""
    own = stain_of(tiles).mean(axis=0)
    values = _values("density", own)
    words = f"optical density of red, green, blue {_three(own)}"
    if found is None:
        return Check("stain", f"{words}; the reference's not available: {why_not}", values, judged=False)
    values["score"] = round(found.stain_score, 2)
    if found.reference_stain is not None:
        reference = found.reference_stain.mean(axis=0)
        values |= _values("reference_density", reference)
        words += f", the reference's {_three(reference)}"
    if found.stain_score <= STRANGE:
        return Check("stain", f"{words}: alike", values)
    what = f"its middle tile is stained otherwise than 95% of the reference's own: {words}"
    mend = "see that stain and scanner are those of the reference, or take another reference"
    return Check("stain", f"{words}: different", values, (Finding("stain-differs", what, slide.name, mend),))


def _values(name: str, stain: F32) -> dict[str, object]:
    """f32[6] as JSON-able values."""
    mean, sd = (np.round(part.astype(float), 3).tolist() for part in np.split(stain, 2))
    return {f"{name}_mean": mean, f"{name}_sd": sd}


def _three(stain: F32) -> str:
    return " / ".join(f"{mean:.2f}" for mean in stain[:3])
