"""Expression of a reference that is not written yet, read some genes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bleep_cli.base.rows import PickedRows, Rows, StackedRows, dense_rows
from bleep_cli.bundle.stored import StoredExpression
from bleep_cli.types import F32

GENES = 256
"""Of a block: those of a chunk of a bundle."""
BLOCK_BYTES = 256 << 20


class GeneBlocks:
    """log1p expression [n, g] of all spots, as blocks of genes; the parts that lie on disk stay there."""

    def __init__(self, expression: Rows) -> None:
        self.shape = expression.shape
        parts = expression.parts if isinstance(expression, StackedRows) else (expression,)
        self._parts: list[Any] = [part.tocsc() if hasattr(part, "tocsc") else part for part in parts]

    def slices(self) -> Iterator[slice]:
        """The genes of every block, in order."""
        n, genes = self.shape
        width = max(1, min(GENES, BLOCK_BYTES // (4 * n)))
        for first in range(0, genes, width):
            yield slice(first, min(first + width, genes))

    def read(self, genes: slice) -> F32:
        """f32[n, b] of a block."""
        return np.concatenate([_of_genes(part, genes) for part in self._parts])


def _of_genes(part: Any, genes: slice) -> F32:
    if isinstance(part, StoredExpression):
        return part.of_genes(genes)[: part.shape[0]]
    if isinstance(part, PickedRows) and isinstance(part.rows, StoredExpression):
        return PickedRows(part.rows.of_genes(genes), part.picked)[: part.shape[0]]
    return dense_rows(part[:, genes])
