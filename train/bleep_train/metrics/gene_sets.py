"""The genes that scores are averaged over, picked on training spots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.types import F32, I64, Bool, Str

if TYPE_CHECKING:
    from scipy import sparse

HVG, ALL, HEG = 50, 1000, 50
MIN_DETECTED = 0.10


@dataclass(frozen=True)
class GeneSets:
    """Gene sets picked on training spots only."""

    symbols: Str
    """str[g]"""
    sets: Mapping[str, I64]
    """Positions in ``symbols`` by name, best first."""

    def names(self) -> dict[str, list[str]]:
        """Symbols of every set, to be saved."""
        return {name: self.symbols[rows].tolist() for name, rows in self.sets.items()}

    def alone(self) -> tuple[I64, GeneSets]:
        """Positions i64[u] of the genes that any set names, ascending, and the same sets on these genes alone."""
        used = np.unique(np.concatenate(list(self.sets.values())))
        sets = {name: np.searchsorted(used, rows) for name, rows in self.sets.items()}
        return used, GeneSets(self.symbols[used], sets)


def pick_gene_sets(
    training: F32 | sparse.csr_matrix,
    symbols: Str,
    eligible: Bool,
    markers: Sequence[str] | None = None,
) -> GeneSets:
    """``hvg50``, ``all`` (the 50 and 1,000 of largest log1p variance) and ``heg50`` (largest mean), among genes
    detected in at least a tenth of the training spots and ``eligible``; ``markers`` as given.

    ``training`` f32[n, g] log1p, dense or CSR; ``eligible`` bool[g], one gene of each symbol
    (``plain_names``). What other sections measure decides nothing here.
    """
    from scipy import sparse

    matrix = sparse.csc_matrix(training, dtype=np.float64)  # float32 sums would decide between close genes
    n = matrix.shape[0]
    mean = np.asarray(matrix.mean(axis=0), np.float64).ravel()
    variance = np.asarray(matrix.multiply(matrix).mean(axis=0), np.float64).ravel() - mean**2
    usable = (np.diff(matrix.indptr) >= MIN_DETECTED * n) & np.asarray(eligible, bool)
    count = int(usable.sum())
    by_variance = np.argsort(np.where(usable, -variance, np.inf), kind="stable")[:count]
    by_mean = np.argsort(np.where(usable, -mean, np.inf), kind="stable")[:count]
    sets = {"hvg50": by_variance[:HVG], "all": by_variance[:ALL], "heg50": by_mean[:HEG]}
    if markers:
        slot = {str(symbol): i for i, symbol in enumerate(symbols)}
        sets["markers"] = np.array([slot[m] for m in markers if m in slot], np.int64)
    return GeneSets(symbols, sets)
