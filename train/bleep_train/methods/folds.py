"""A cohort made ready for held-out studies: its folds, and what a method may see of each.

Two protocols of this project, by name (docs/reproduce.md, section 3, tells them apart):

- ``leak-free``: nothing of a held-out section is used before it is predicted. Truth is log1p as measured; gene
  sets are picked on the training spots.
- ``paper``: as published. The held-out section enters the union of highly variable genes and the Harmony fit,
  truth is Harmony-corrected expression, and the gene sets are picked on the held-out section.

And the folds of a benchmark, ``hest-bench``: its splits, its genes, and its truth, log1p of raw counts, normalised
to no total.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from scipy import sparse

from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError, option
from bleep_cli.genes.names import join_genes
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.types import F32, F64, I64, U8, Progress, Section, Str, no_progress
from bleep_train.backbones.build import Normalised
from bleep_train.config.protocols import BENCH, By, Truth
from bleep_train.config.schema import Config
from bleep_train.data.hest_bench import Bench, check_bench
from bleep_train.data.tile_cache import cached_tiles
from bleep_train.data.training_set import TrainingSet, prepare
from bleep_train.metrics.gene_sets import GeneSets, pick_gene_sets
from bleep_train.training.distributed import pick_device
from bleep_train.training.frozen import cached_features
from bleep_train.training.start import starting_backbone

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


@dataclass(frozen=True)
class Fold:
    """What is held out, and what is trained on, as positions in the cohort."""

    name: str
    """Of the section or donor that is held out."""
    train: tuple[int, ...]
    """Sections trained on."""
    test: tuple[int, ...]
    """Sections held out."""


def leave_one_out(labels: Sequence[str]) -> list[Fold]:
    """One fold per label, in order of appearance: tested on its positions, trained on all others."""
    everything = range(len(labels))
    return [
        Fold(
            name,
            train=tuple(i for i in everything if labels[i] != name),
            test=tuple(i for i in everything if labels[i] == name),
        )
        for name in dict.fromkeys(labels)
    ]


def bench_folds(bench: Bench, ids: Sequence[str]) -> list[Fold]:
    """A fold per split of the benchmark, sections as positions in ``ids``."""
    slot = {name: i for i, name in enumerate(ids)}
    return [
        Fold(split.name, tuple(slot[i] for i in split.train), tuple(slot[i] for i in split.test))
        for split in bench.splits
    ]


class Study:
    """A cohort read once: ``sections``, ``symbols`` str[g] of the genes all share, ``log1p`` CSR[n, g] of each.

    ``columns`` i64[g] by section id: where these genes stand in its counts.

    Tiles and frozen features are decoded when asked for and kept under ``cache``.
    """

    def __init__(
        self,
        cohort: Path,
        config: Config,
        cache: Path,
        *,
        markers: Sequence[str] = (),
        bench: Bench | None = None,
        progress: Progress = no_progress,
    ) -> None:
        self.bench = bench
        self.config, self.cache, self.markers, self.progress = config, cache, tuple(markers), progress
        self.sections = read_cohort(cohort, progress=progress)
        table = join_genes(self.sections)
        self.symbols: Str = table.symbols
        self.columns = {name: np.array(columns, np.int64) for name, columns in table.columns.items()}
        self.log1p = [
            log1p_normalise(s.counts, config.data.target_sum)[:, table.columns[s.id]] for s in self.sections
        ]
        if bench:
            check_bench(bench, [s.id for s in self.sections], self.symbols.tolist())

    def folds(self, by: By, test: Sequence[str] = ()) -> list[Fold]:
        """One fold per section, per donor, or per split of the benchmark; ``test`` keeps those of these names."""
        folds = (
            bench_folds(self.bench, [s.id for s in self.sections])
            if self.bench
            else leave_one_out([s.donor if by == "donor" else s.id for s in self.sections])
        )
        if len(folds) < 2 and not self.bench:
            raise UsageError(
                f"the cohort has a single {by}: nothing to train on; add sections or use {option('by')} section"
            )
        unknown = set(test) - {fold.name for fold in folds}
        if unknown:
            what = "split" if self.bench else by
            raise UsageError(
                f"no {what} is named {', '.join(sorted(unknown))}; there are {', '.join(f.name for f in folds)}"
            )
        return [fold for fold in folds if not test or fold.name in test]

    def data(self, fold: Fold, protocol: Truth = "leak-free") -> CohortFold:
        """What a method may see of a fold."""
        return CohortFold(self, fold, protocol)

    def tiles(self, parts: Sequence[int]) -> list[U8]:
        """Memory-mapped ``u8[n, px, px, 3 * fields]`` of the sections at those positions."""
        sections = [self.sections[i] for i in parts]
        return cached_tiles(sections, self.config.data.tile, self.cache, self.progress)

    def features(self, parts: Sequence[int]) -> list[F32]:
        """Memory-mapped frozen features ``f32[n, 8, d]`` of the sections at those positions."""
        sections = [self.sections[i] for i in parts]
        return cached_features(
            sections, self.backbone, self.config.data.tile, self.cache, pick_device(), self.progress
        )

    @cached_property
    def backbone(self) -> Normalised:
        """The backbone that training starts from."""
        return starting_backbone(self.config)


class FoldData(ABC):
    """One fold as it is predicted and scored, wherever its training spots come from."""

    name: str
    """Of the fold; the resamples of its spots are drawn by it."""
    symbols: Str
    """str[g] genes that any gene set names"""
    sets: Mapping[str, I64]
    """Positions in ``symbols`` by name (``hvg50``, ``heg50``, ``all``, ``markers``), best first."""
    train_y: F32
    """f32[n, g] expression of the training spots, log1p"""
    groups: I64
    """i64[n] the section each training spot is of"""
    held_out: Sequence[Section]
    """The sections that the m held-out spots are of, in order."""
    test_y: F32
    """f32[m, g] expression of the held-out spots, log1p"""

    @property
    def xy(self) -> F64:
        """f64[m, 2] centres of the held-out spots, (x, y) in level-0 pixels of their section."""
        return np.concatenate([section.xy_l0 for section in self.held_out]).astype(np.float64)

    @property
    def section(self) -> Str:
        """str[m] the section that each held-out spot is of."""
        return np.repeat([s.id for s in self.held_out], [len(s.barcodes) for s in self.held_out])

    @abstractmethod
    def features(self, which: Part) -> list[F32]:
        """Frozen features of the eight views per section, ``f32[n, 8, d]``."""

    def mean_features(self, which: Part) -> F32:
        """Frozen features averaged over the eight views, f32[n, d]."""
        return np.concatenate([np.asarray(f).mean(axis=1) for f in self.features(which)])


class CohortFold(FoldData):
    """A fold of a cohort: its sections' tiles are there to train on, and their expression to prepare a run of."""

    def __init__(self, study: Study, fold: Fold, protocol: Truth) -> None:
        self.study, self.fold, self.protocol, self.name = study, fold, protocol, fold.name
        self.held_out = self.sections("test")
        self.groups = np.repeat(fold.train, [len(s.barcodes) for s in self.sections("train")])
        by_protocol = {"paper": self._corrected, "leak-free": self._measured, BENCH: self._benchmarked}
        picked, train_y, test_y = by_protocol[protocol]()
        used, genes = picked.alone()
        self.symbols, self.sets = genes.symbols, genes.sets
        self.train_y, self.test_y = dense_columns(train_y, used), dense_columns(test_y, used)

    def parts(self, which: Part) -> tuple[int, ...]:
        """Cohort positions of the training or of the held-out sections."""
        return self.fold.train if which == "train" else self.fold.test

    def sections(self, which: Part) -> list[Section]:
        """The training or the held-out sections, in order."""
        return [self.study.sections[i] for i in self.parts(which)]

    def tiles(self, which: Part) -> list[U8]:
        """Decoded tiles per section, ``u8[n, px, px, 3 * fields]``."""
        return self.study.tiles(self.parts(which))

    def features(self, which: Part) -> list[F32]:
        """Frozen features of the eight views per section, ``f32[n, 8, d]``."""
        return self.study.features(self.parts(which))

    @cached_property
    def training(self) -> TrainingSet:
        """Panel and expression tower input of the training spots, as ``bleep-train train`` prepares them."""
        config = self.study.config
        if self.protocol == "paper":
            joint, n = self._joint, len(self.groups)
            rows = slice(0, n)
            return replace(
                joint,
                sections=tuple(self.sections("train")),
                panel=joint.panel[rows],
                log1p=joint.log1p[rows],
                section_of=joint.section_of[rows],
            )
        return prepare(self.sections("train"), config.data, config.optim.seed)

    @cached_property
    def _joint(self) -> TrainingSet:
        """Panel and Harmony over training and held-out sections together: the published leak."""
        config = self.study.config
        everything = [*self.sections("train"), *self.sections("test")]
        return prepare(everything, replace(config.data, panel="hvg", harmony=True), config.optim.seed)

    def _measured(self) -> tuple[GeneSets, sparse.csr_matrix, sparse.csr_matrix]:
        train, test = (
            sparse.vstack([self.study.log1p[i] for i in part], format="csr")
            for part in (self.fold.train, self.fold.test)
        )
        everywhere = np.ones(train.shape[1], bool)
        return pick_gene_sets(train, self.study.symbols, everywhere, self.study.markers), train, test

    def _benchmarked(self) -> tuple[GeneSets, sparse.csr_matrix, sparse.csr_matrix]:
        """The benchmark's own genes, as log1p of raw counts: its code normalises by no total."""
        slot = {symbol: i for i, symbol in enumerate(self.study.symbols.tolist())}
        genes = self.study.bench.genes if self.study.bench else ()
        rows = np.array([slot[gene] for gene in genes], np.int64)
        train, test = (
            sparse.vstack([_log1p_counts(s, self.study.columns[s.id]) for s in self.sections(part)], format="csr")
            for part in PARTS
        )
        return GeneSets(self.study.symbols, {"hvg50": rows, "all": rows}), train, test

    def _corrected(self) -> tuple[GeneSets, F32, F32]:
        n, panel = len(self.groups), self._joint.panel
        table = join_genes([*self.sections("train"), *self.sections("test")])
        symbol_of = dict(zip(table.keys.tolist(), table.symbols.tolist(), strict=True))
        symbols = np.array([symbol_of[key] for key in self._joint.panel_keys.tolist()], dtype=str)
        everywhere = np.ones(len(symbols), bool)
        return pick_gene_sets(panel[n:], symbols, everywhere, self.study.markers), panel[:n], panel[n:]


def _log1p_counts(section: Section, columns: I64) -> sparse.csr_matrix:
    return section.counts[:, columns].astype(np.float32).log1p()


def dense_columns(matrix: sparse.csr_matrix | F32, columns: I64) -> F32:
    """Some columns of f32[n, g], dense, row after row in memory."""
    chosen = matrix[:, columns]
    return np.ascontiguousarray(chosen if isinstance(chosen, np.ndarray) else chosen.toarray(), np.float32)
