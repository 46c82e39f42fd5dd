"""Scores of gene sets, a number per tile, beside what a prediction says of its tiles already.

``bleep predict``, ``convert`` and ``report`` score by :func:`scored`, once a prediction is there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.hashing import file_sha256
from bleep_cli.base.text import file_text
from bleep_cli.errors import UsageError, option
from bleep_cli.genes.gene_sets import mean_z, read_gmt, set_columns
from bleep_cli.outputs.blocks import checked_blocks, spread
from bleep_cli.types import I64, Prediction

PREFIX = "set_"
METHOD = "mean over the genes of a set of their z-scores over the tiles of the slide"
FEWEST_GENES = 3
"""Genes of a set that have to be predicted for a score to mean the set."""


def with_set_scores(prediction: Prediction, sets: Mapping[str, tuple[str, ...]]) -> Prediction:
    """The prediction with a column ``set_NAME`` f32[n] in ``obs`` for each set: the mean over its genes of their
    z-scores over the tiles of this slide. ``gene_sets`` of the provenance names the method, and how many genes of
    each set had a part.

    ``sets`` are symbols or ids by name (:func:`bleep_cli.genes.gene_sets.read_gmt`); genes that are not predicted
    have no part. Two passes over the expression, in memory of a block. ``UsageError`` for a set of which fewer
    than three genes are predicted.
    """
    columns = columns_of_sets(sets, prediction.gene_ids, prediction.symbols)
    mean, deviation = spread(prediction)
    scores = {f"{PREFIX}{name}": np.empty(len(prediction.grid), np.float32) for name in sets}
    for first, block in checked_blocks(prediction):
        for name, genes in columns.items():
            values = mean_z(block.astype(np.float64), mean, deviation, genes)
            scores[f"{PREFIX}{name}"][first : first + len(block)] = values
    parts = {name: {"genes": len(columns[name]), "of": len(genes)} for name, genes in sets.items()}
    said = {**prediction.provenance, "gene_sets": {"method": METHOD, "sets": parts}}
    return replace(prediction, obs={**prediction.obs, **scores}, provenance=said)


def columns_of_sets(
    sets: Mapping[str, tuple[str, ...]], gene_ids: Iterable[str], symbols: Iterable[str]
) -> dict[str, I64]:
    """Columns i64[m] of the genes of each set among those of a prediction, or of a reference.

    ``UsageError`` as for :func:`with_set_scores`.
    """
    slots = {str(name): i for names in (gene_ids, symbols) for i, name in enumerate(names)}
    columns = {name: set_columns(genes, slots) for name, genes in sets.items()}
    few = [
        f"{name} ({len(columns[name])} of {len(sets[name])})" for name in sets if len(columns[name]) < FEWEST_GENES
    ]
    if few:
        raise UsageError(
            f"{option('sets')}: fewer than {FEWEST_GENES} genes are predicted of {', '.join(few[:10])}; leave "
            "these sets out, or predict with their genes"
        )
    return columns


def recorded_sets(sets: Path | None) -> dict[str, Any]:
    """The file of sets as the options of a result state it, by name and hash; empty for none."""
    return {} if sets is None else {"sets": {"name": file_text(sets.name), "sha256": file_sha256(sets)}}


def scored(prediction: Prediction, sets: Path | str | None) -> Prediction:
    """The same by a GMT file, which the options of the result then state; the prediction itself for none."""
    if sets is None:
        return prediction
    found = with_set_scores(prediction, read_gmt(Path(sets)))
    options = {**found.provenance.get("options", {}), **recorded_sets(Path(sets))}
    return replace(found, provenance={**found.provenance, "options": options})
