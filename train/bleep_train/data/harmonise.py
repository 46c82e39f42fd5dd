"""Harmony batch correction of the panel across sections, as the paper does it (on genes, not on PCs)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.errors import DeviceError, UsageError
from bleep_cli.types import F32


def harmonise(log1p: F32, section_ids: Sequence[str], seed: int) -> F32:
    """f32[n, p] → f32[n, p], corrected for the section of each spot.

    Harmony fits a cohort and cannot transform a newcomer: a tower trained on its output can be queried by images,
    and a bundle that grows is looked up by its tiles from then on. Raises ``UsageError`` for a single section.
    """
    if len(set(section_ids)) < 2:
        raise UsageError("data.harmony needs at least two training sections; set data.harmony=false")
    import harmonypy
    import pandas as pd

    meta = pd.DataFrame({"section": list(section_ids)})
    # genes × spots: of a square table harmonypy takes the columns for the spots
    fit = harmonypy.run_harmony(log1p.T, meta, ["section"], random_state=seed, verbose=False)
    result = np.asarray(fit.Z_corr)
    if result.shape != log1p.shape:  # harmonypy up to 0.0.9 returned dims × cells
        raise DeviceError(f"harmonypy returned {result.shape} for {log1p.shape}; version 2 or later is needed")
    return np.ascontiguousarray(result, np.float32)
