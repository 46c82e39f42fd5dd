"""Scores of gene sets, a number per tile, beside what a prediction says of its tiles already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bleep_cli.errors import UsageError, option
from bleep_cli.genes.gene_sets import mean_z, read_gmt, set_columns
from bleep_cli.outputs.blocks import checked_blocks, spread
from bleep_cli.types import Prediction

PREFIX = "set_"
FEWEST_GENES = 3
"""Genes of a set that have to be predicted for a score to mean the set."""


def with_set_scores(prediction: Prediction, sets: Mapping[str, tuple[str, ...]]) -> Prediction:
    """The prediction with a column ``set_NAME`` f32[n] in ``obs`` for each set: the mean over its genes of their
    z-scores over the tiles of this slide.

    ``sets`` are symbols or ids by name (:func:`bleep_cli.genes.gene_sets.read_gmt`); genes that are not predicted
    have no part. Two passes over the expression, in memory of a block. ``UsageError`` for a set of which fewer
    than three genes are predicted.
    """
    slots = {str(name): i for names in (prediction.gene_ids, prediction.symbols) for i, name in enumerate(names)}
    columns = {name: set_columns(genes, slots) for name, genes in sets.items()}
    few = [
        f"{name} ({len(columns[name])} of {len(sets[name])})" for name in sets if len(columns[name]) < FEWEST_GENES
    ]
    if few:
        raise UsageError(
            f"{option('sets')}: fewer than {FEWEST_GENES} genes are predicted of {', '.join(few[:10])}; leave "
            "these sets out, or predict with their genes"
        )
    mean, deviation = spread(prediction)
    scores = {f"{PREFIX}{name}": np.empty(len(prediction.grid), np.float32) for name in sets}
    for first, block in checked_blocks(prediction):
        for name, genes in columns.items():
            values = mean_z(block.astype(np.float64), mean, deviation, genes)
            scores[f"{PREFIX}{name}"][first : first + len(block)] = values
    return replace(prediction, obs={**prediction.obs, **scores})


def scored(prediction: Prediction, sets: Path | str | None) -> Prediction:
    """The same by a GMT file; the prediction itself for none."""
    return prediction if sets is None else with_set_scores(prediction, read_gmt(Path(sets)))
