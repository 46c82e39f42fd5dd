"""``genes.csv``: a line per fold, method and gene."""

from __future__ import annotations

import csv
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.types import F32, F64, Str
from bleep_train.metrics.maps import MAP_METRICS
from bleep_train.metrics.per_gene import GENE_METRICS
from bleep_train.study.maps import saved_maps
from bleep_train.study.saved import FoldFolder
from bleep_train.study.scoring import ENDS

SETS = ("hvg50", "heg50", "all", "markers")
WORST = {"p": np.max, "q": np.max}  # over seeds; the largest of several p is a p, their mean is not
METRICS = (*GENE_METRICS, *ENDS, *MAP_METRICS)
COLUMNS = ("fold", "method", "gene", *SETS, "mean", "variance", *METRICS)


@dataclass(frozen=True)
class GeneScores:
    """The g genes of one fold, as its methods predict them."""

    fold: str
    """Its name."""
    symbols: Str
    """str[g]"""
    sets: Mapping[str, Collection[str]]
    """Symbols by gene set."""
    measured: F32
    """f32[m, g] log1p of the held-out spots"""
    methods: Mapping[str, Mapping[str, F64 | F32]]
    """By method, by metric of a gene (those of ``METRICS``; ``ENDS`` only where there are resamples): [g]"""

    def rows(self, form: str) -> Iterator[Sequence[object]]:
        """Lines in the order of ``COLUMNS``, numbers written as ``form`` says."""
        members = {name: set(self.sets.get(name, ())) for name in SETS}
        mean, variance = self.measured.mean(axis=0), self.measured.var(axis=0)
        missing = np.full(len(self.symbols), np.nan, np.float32)
        for method, metrics in self.methods.items():
            columns = [mean, variance, *(metrics.get(name, missing) for name in METRICS)]
            for i, symbol in enumerate(self.symbols.tolist()):
                member = (int(symbol in members[name]) for name in SETS)
                yield (self.fold, method, symbol, *member, *(format(column[i], form) for column in columns))


def saved_genes(out: Path, fold: str, seeds: Mapping[str, Sequence[int]]) -> GeneScores:
    """The genes of a fold of the study in ``out``, by method the means over its ``seeds``, of the ends of their
    intervals, too; of p and q the largest."""
    folder = FoldFolder.of(out, fold)
    truth, methods = folder.truth(), {}
    for method, of_method in seeds.items():
        saved = [folder.scores(method, seed) for seed in of_method]
        there = [name for name in (*GENE_METRICS, *ENDS) if all(name in s for s in saved)]
        means = {name: np.mean([s[name] for s in saved], axis=0) for name in there}
        maps = [saved_maps(folder, method, seed) for seed in of_method]
        of_maps = {name: WORST.get(name, np.mean)([m[name] for m in maps], axis=0) for name in MAP_METRICS}
        methods[method] = means | of_maps
    return GeneScores(fold, truth.symbols, folder.genes(), truth.measured, methods)


def write_gene_table(path: Path, folds: Iterable[GeneScores], form: str = "") -> None:
    """Writes it, replacing what was there; numbers in the format ``form``, by default with all their digits."""
    with atomic_path(path, force=True) as temp, temp.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for fold in folds:
            writer.writerows(fold.rows(form))
