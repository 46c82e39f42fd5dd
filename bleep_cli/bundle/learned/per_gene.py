"""The numbers per gene that a bundle of format 1.4 keeps under ``genes/``, by name (docs/bundle-format.md)."""

from __future__ import annotations

QUANTILES = {
    "measured_q05": 0.05,
    "measured_q25": 0.25,
    "measured_q50": 0.5,
    "measured_q75": 0.75,
    "measured_q95": 0.95,
}
"""Quantiles of what was measured, and the share of the spots that lie below."""
HELD_OUT = (
    "heldout_r",
    "heldout_r_low",
    "heldout_r_high",
    "heldout_rank",
    "heldout_mae",
    "heldout_variance_ratio",
)
COLUMNS = (*HELD_OUT, "measured_mean", *QUANTILES)
