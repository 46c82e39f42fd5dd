"""A contrast tested, and what all of them stand on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bleep_cli.comparison.contrast import Contrast
from bleep_cli.comparison.measure import Measured
from bleep_cli.comparison.permutation import Tested, between_groups, within_pairs
from bleep_cli.genes.gene_sets import mean_z
from bleep_cli.types import F64, I64

FEWEST = 2
"""Patients on each side."""
ROUNDING = 1e-9  # of a value: a difference of no more is none


@dataclass(frozen=True)
class Setting:
    """What is measured and tested, settled before the first slide is measured; g genes in all."""

    all_ids: tuple[str, ...]
    """Genes that every result holds, g of them."""
    all_symbols: tuple[str, ...]
    columns: I64
    """i64[c] those that are tested and written."""
    sets: Mapping[str, I64]
    """Columns of the genes of each set that there are."""
    set_sizes: Mapping[str, int]
    """Genes of each set in its file."""
    patients: Mapping[str, str]
    """By slide."""
    groups: Mapping[str, tuple[str, ...]]
    """By slide; several where its regions are of several."""
    reference: str
    units: str
    above: float
    permutations: int
    seed: int
    genes_of_some: int
    """How many were left out."""

    @property
    def symbols(self) -> list[str]:
        """Of the genes that are written."""
        return [self.all_symbols[place] for place in self.columns]

    @property
    def ids(self) -> list[str]:
        """Of the genes that are written."""
        return [self.all_ids[place] for place in self.columns]


@dataclass(frozen=True)
class Tally:
    """Everything measured, with the mean and the standard deviation f64[g] that z scores stand on."""

    setting: Setting
    measured: Sequence[Measured]
    mean: F64
    deviation: F64

    def scores(self, values: F64) -> F64:
        """f64[n, sets] mean z of each set, of rows f64[n, g]."""
        columns = [mean_z(values, self.mean, self.deviation, genes) for genes in self.setting.sets.values()]
        return np.stack(columns, axis=1) if columns else np.empty((len(values), 0))


@dataclass(frozen=True)
class Outcome:
    """A contrast and what its tests say."""

    contrast: Contrast
    genes: Tested
    sets: Tested | None
    gene_values: tuple[F64, F64]
    """f64[n, c] and f64[m, c] of the genes that are written, a row a patient."""
    set_values: tuple[F64, F64]
    """The same of the scores of sets."""


def tested(contrast: Contrast, tally: Tally) -> Outcome:
    """A contrast tested, genes and sets each as a family of their own; at least ``FEWEST`` patients a side."""
    setting = tally.setting
    a, b = contrast.values
    genes = (a[:, setting.columns], b[:, setting.columns])
    scores = (tally.scores(a), tally.scores(b))
    of_sets = _test(scores, contrast.paired, setting) if setting.sets else None
    return Outcome(contrast, _test(genes, contrast.paired, setting), of_sets, genes, scores)


def _test(sides: tuple[F64, F64], paired: bool, setting: Setting) -> Tested:
    first, second = sides
    if paired:
        difference = second - first
        difference[np.abs(difference) <= ROUNDING * np.abs(first)] = 0
        return within_pairs(difference, setting.permutations, setting.seed)
    of_second = np.arange(len(first) + len(second)) >= len(first)
    return between_groups(np.concatenate(sides), of_second, setting.permutations, setting.seed)
