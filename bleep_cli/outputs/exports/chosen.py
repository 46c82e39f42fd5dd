"""Which genes a file holds whose readers keep all of it in memory: QuPath's GeoJSON, OME-TIFF."""

from __future__ import annotations

import numpy as np

from bleep_cli.outputs.blocks import most_varying
from bleep_cli.types import I64, Prediction

MOST_GENES = 200
"""Genes of such a file; of more, those that vary most are written."""


def chosen_genes(prediction: Prediction) -> I64:
    """Columns of the genes that are written, in the prediction's order: all, or those that vary most."""
    if len(prediction.symbols) <= MOST_GENES:
        return np.arange(len(prediction.symbols))
    return np.sort(most_varying(prediction, MOST_GENES))


def genes_told(prediction: Prediction, genes: int) -> str:
    """How many of how many genes a file holds, in words."""
    whole = len(prediction.symbols)
    return f"{genes} of {whole}, those that vary most" if genes < whole else str(genes)
