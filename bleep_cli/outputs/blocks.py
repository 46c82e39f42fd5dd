"""A prediction's expression, block by block: checked, searched for a gene, reduced to one number per gene."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from bleep_cli.base.reasons import did_you_mean
from bleep_cli.errors import UsageError, option
from bleep_cli.genes.gene_sets import known_of
from bleep_cli.types import F32, F64, I64, Blocks, Prediction


def checked_blocks(prediction: Prediction, blocks: Callable[[], Blocks] | None = None) -> Blocks:
    """The prediction's own blocks, or those of a layer; a gap, an overlap or a wrong width is a bug of who made
    it."""
    expected, genes = 0, len(prediction.symbols)
    for first, block in (blocks or prediction.blocks)():
        assert first == expected, f"block starts at row {first} instead of {expected}"
        assert block.ndim == 2 and block.shape[1] == genes, f"block of shape {block.shape} for {genes} genes"
        yield first, block
        expected += len(block)
    assert expected == len(prediction.grid), f"blocks hold {expected} of {len(prediction.grid)} tiles"


def default_gene(prediction: Prediction) -> str:
    """The gene whose prediction varies most over the tiles; the first among equals."""
    return str(prediction.symbols[most_varying(prediction, 1)[0]])


def most_varying(prediction: Prediction, count: int) -> I64:
    """Columns i64[count] of the genes whose prediction varies most over the tiles (variance in f64), the most
    varying first, in their order among equals.

    One pass over ``prediction.blocks()``, in memory of one block.
    """
    return np.argsort(-spread(prediction)[1], kind="stable")[:count]


def spread(prediction: Prediction) -> tuple[F64, F64]:
    """(mean, standard deviation) f64[g] of every gene over the tiles; by one pass, in memory of one block."""
    seen = 0
    mean = np.zeros(len(prediction.symbols))
    squares = np.zeros(len(prediction.symbols))
    for _, block in prediction.blocks():
        rows = len(block)
        block_mean = block.mean(axis=0, dtype=np.float64)
        shift = block_mean - mean
        squares += block.var(axis=0, dtype=np.float64) * rows + shift**2 * (seen * rows / (seen + rows))
        mean += shift * (rows / (seen + rows))
        seen += rows
    return mean, np.sqrt(squares / seen)


def gene_columns(prediction: Prediction, genes: Sequence[str], asked: str = "gene") -> I64:
    """Columns i64[g] of genes, by symbol or else by id, each once; of genes of sets those that are predicted.

    ``UsageError`` of the parameter ``asked`` for genes that are not predicted, with symbols like the first.
    """
    slot = {str(name): i for names in (prediction.gene_ids, prediction.symbols) for i, name in enumerate(names)}
    genes = known_of(genes, slot, "the result")
    absent = [gene for gene in genes if gene not in slot]
    if absent:
        hint = did_you_mean(absent[0], map(str, prediction.symbols))
        known = f"{len(prediction.symbols):,} predicted genes"
        raise UsageError(f"{option(asked)} {', '.join(absent[:10])}: not among the {known}{hint}")
    return np.array(list(dict.fromkeys(slot[gene] for gene in genes)), dtype=np.int64)


def columns_of(prediction: Prediction, columns: I64) -> F32:
    """f32[g, n]: predicted log1p expression of these genes in every tile, by one pass over the blocks."""
    values = np.empty((len(columns), len(prediction.grid)), np.float32)
    for first, block in checked_blocks(prediction):
        values[:, first : first + len(block)] = block[:, columns].T
    return values


def gene_values(prediction: Prediction, gene: str) -> F32:
    """One gene's predicted log1p expression, f32[n]; ``UsageError`` for a gene that is not predicted."""
    (values,) = columns_of(prediction, gene_columns(prediction, [gene]))
    return np.asarray(values, np.float32)


def row_values(prediction: Prediction, row: int) -> F32:
    """f32[g]: predicted log1p expression of all genes in one tile."""
    for first, block in prediction.blocks():
        if row < first + len(block):
            return np.asarray(block[row - first], np.float32)
    raise AssertionError("blocks end before the last tile")


def of_genes(prediction: Prediction, genes: Sequence[str] | None) -> Prediction:
    """The same prediction of these genes alone, by symbol or id, in this order; None for all. ``UsageError`` for
    one that is not predicted."""
    if genes is None:
        return prediction
    columns = gene_columns(prediction, genes)
    return replace(
        prediction,
        symbols=prediction.symbols[columns],
        gene_ids=prediction.gene_ids[columns],
        var={name: values[columns] for name, values in prediction.var.items()},
        blocks=_chosen(prediction.blocks, columns),
        layers={name: _chosen(blocks, columns) for name, blocks in prediction.layers.items()},
    )


def _chosen(blocks: Callable[[], Blocks], columns: I64) -> Callable[[], Blocks]:
    return lambda: ((first, np.ascontiguousarray(block[:, columns])) for first, block in blocks())
