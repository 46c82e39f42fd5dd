"""The columns of a section that serve the genes of a reference, and its measured expression on them."""

from __future__ import annotations

import numpy as np

from bleep_cli.genes.names import strip_version, symbol_columns
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.types import F32, I64, Section, Str


def gene_columns(section: Section, symbols: Str, gene_ids: Str) -> I64:
    """i64[g]: the section's column of each of a reference's genes, by id without version, else by symbol; -1 where
    it has none. Which of several columns of one symbol it is: :func:`bleep_cli.genes.names.symbol_columns`. A
    column that is one gene by its id is not another one by its symbol."""
    ids = np.array([strip_version(str(g)) for g in section.gene_ids], dtype=str)
    by_id = symbol_columns(ids, section.gene_ids)
    found = np.array([by_id.get(strip_version(str(gene)), -1) for gene in gene_ids], np.int64)
    free = np.setdiff1d(np.arange(len(ids)), found)
    by_symbol = symbol_columns(section.symbols[free], section.gene_ids[free])
    for gene in np.flatnonzero(found < 0).tolist():
        at = by_symbol.get(str(symbols[gene]))
        found[gene] = -1 if at is None else free[at]
    return found


def measured_log1p(section: Section, symbols: Str, gene_ids: Str, target_sum: float) -> F32:
    """f32[n, g] measured log1p expression on a reference's genes; NaN columns where the section has none."""
    columns = gene_columns(section, symbols, gene_ids)
    normalised = log1p_normalise(section.counts, target_sum).tocsc()
    out = np.full((normalised.shape[0], len(columns)), np.nan, np.float32)
    have = columns >= 0
    out[:, have] = normalised[:, columns[have]].toarray()
    return out
