"""A cohort made ready for held-out studies: its folds, and what a method may see of each.

Two protocols of this project, by name (docs/reproduce.md, section 3, tells them apart):

- ``leak-free``: nothing of a held-out section is used before it is predicted, not even which genes it measures.
  Truth is log1p as measured; gene sets are picked on the training spots, among the genes of the training sections.
- ``paper``: as published. The held-out section enters the union of highly variable genes and the Harmony fit,
  truth is Harmony-corrected expression, and the gene sets are picked on the held-out section.

And the folds of a benchmark, ``hest-bench``: its splits, its genes, and its truth, log1p of raw counts, normalised
to no total.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from scipy import sparse

from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.genes.columns import measured_log1p
from bleep_cli.genes.names import GeneTable, join_genes, plain_names
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.towers.levels import block_scale
from bleep_cli.types import F32, F64, I64, U8, Progress, Section, Str, no_progress
from bleep_train.backbones.build import Normalised
from bleep_train.config.protocols import BENCH, By, Truth
from bleep_train.config.schema import Config
from bleep_train.data.hest_bench import Bench, check_bench
from bleep_train.data.tile_cache import cached_tiles
from bleep_train.data.training_set import TrainingSet, prepare
from bleep_train.methods.splits import Fold, bench_folds, leave_one_out
from bleep_train.metrics.gene_sets import GeneSets, pick_gene_sets
from bleep_train.metrics.per_gene import measured_sets
from bleep_train.training.distributed import pick_device
from bleep_train.training.frozen import cached_features
from bleep_train.training.start import starting_backbone

Part = Literal["train", "test"]
PARTS: tuple[Part, ...] = get_args(Part)


class Study:
    """A cohort read once: ``sections`` and the ``log1p`` CSR[n, g] of each, on its own genes.

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
        self.log1p = [log1p_normalise(s.counts, config.data.target_sum) for s in self.sections]
        if bench:
            check_bench(bench, [s.id for s in self.sections], self.shared.symbols.tolist())

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
    def shared(self) -> GeneTable:
        """The genes that all sections measure: a benchmark's are among them. No other fold asks for these."""
        return join_genes(self.sections)

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
    """f32[m, g] expression of the held-out spots, log1p; NaN where their section does not measure a gene"""

    @cached_property
    def measured_sets(self) -> dict[str, I64]:
        """``sets`` without the genes that a held-out section does not measure.

        Raises ``ReferenceError`` where none of the genes to be scored is left.
        """
        found = measured_sets(self.test_y, self.sets)
        if not len(found["all"]):
            raise ReferenceError(f"{self.name}: none of the genes that are scored was measured there")
        return found

    @abstractmethod
    def sections(self, which: Part) -> Sequence[Section]:
        """The training or the held-out sections, in order."""

    @property
    @abstractmethod
    def panel(self) -> F32:
        """f32[n, p] of the training spots, as the expression tower is given them."""

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

    @abstractmethod
    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """Columns of the d features: for each field of view, the widths of its stages side by side."""

    def scaled_features(self, which: Part) -> F32:
        """:meth:`mean_features`, whose blocks weigh alike over the training spots' smallest field: f32[n, d]."""
        fields, rows = self.blocks(), self.mean_features("train")
        scale = block_scale(fields[0], rows[:, : sum(fields[0])], shipped=self.shipped)
        return self.mean_features(which) * np.tile(scale, len(fields))

    @property
    @abstractmethod
    def shipped(self) -> bool:
        """Whether the features are those of the runtime's own backbone."""

    def mean_features(self, which: Part) -> F32:
        """Frozen features averaged over the eight views, f32[n, d]."""
        return np.concatenate([np.asarray(f).mean(axis=1) for f in self.features(which)])


class CohortFold(FoldData):
    """A fold of a cohort: its sections' tiles are there to train on, and their expression to prepare a run of.

    ``keys`` str[g]: by what its genes are told from each other, Ensembl ids without version or symbols.
    """

    def __init__(self, study: Study, fold: Fold, protocol: Truth) -> None:
        self.study, self.fold, self.protocol, self.name = study, fold, protocol, fold.name
        self.held_out = self.sections("test")
        self.groups = np.repeat(fold.train, [len(s.barcodes) for s in self.sections("train")])
        by_protocol = {"paper": self._corrected, "leak-free": self._measured, BENCH: self._benchmarked}
        self.keys, genes, self.train_y, self.test_y = by_protocol[protocol]()
        self.symbols, self.sets = genes.symbols, genes.sets

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

    def blocks(self) -> tuple[tuple[int, ...], ...]:
        """See :class:`FoldData`."""
        return (self.study.backbone.block_dims,) * len(self.study.config.data.tile_um)

    @property
    def shipped(self) -> bool:
        """See :class:`FoldData`."""
        return self.study.backbone.shipped

    @property
    def panel(self) -> F32:
        """f32[n, p] of the training spots, as the expression tower is given them."""
        return self.training.panel

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

    def _measured(self) -> tuple[Str, GeneSets, F32, F32]:
        """Genes are those of the training sections: what a held-out one measures decides nothing."""
        study, table = self.study, join_genes(self.sections("train"))
        own = [study.log1p[i][:, table.columns[study.sections[i].id]] for i in self.fold.train]
        train = sparse.vstack(own, format="csr")
        once = plain_names(table.symbols, table.keys)
        used, genes = pick_gene_sets(train, table.symbols, once, study.markers).alone()
        keys, target = table.keys[used], study.config.data.target_sum
        test = [measured_log1p(s, genes.symbols, keys, target) for s in self.held_out]
        return keys, genes, dense_columns(train, used), np.concatenate(test)

    def _benchmarked(self) -> tuple[Str, GeneSets, F32, F32]:
        """The benchmark's own genes, as log1p of raw counts: its code normalises by no total."""
        table = self.study.shared
        slot = {symbol: i for i, symbol in enumerate(table.symbols.tolist())}
        genes = self.study.bench.genes if self.study.bench else ()
        used = np.unique(np.array([slot[gene] for gene in genes], np.int64))
        rows = np.searchsorted(used, [slot[gene] for gene in genes])
        train, test = (
            np.concatenate([_log1p_counts(s, np.array(table.columns[s.id])[used]) for s in self.sections(part)])
            for part in PARTS
        )
        return table.keys[used], GeneSets(table.symbols[used], {"hvg50": rows, "all": rows}), train, test

    def _corrected(self) -> tuple[Str, GeneSets, F32, F32]:
        n, panel = len(self.groups), self._joint.panel
        table = join_genes([*self.sections("train"), *self.sections("test")])
        slot = {key: i for i, key in enumerate(table.keys.tolist())}
        columns = np.array([slot[key] for key in self._joint.panel_keys.tolist()], np.int64)
        symbols, once = table.symbols[columns], plain_names(table.symbols, table.keys)[columns]
        used, genes = pick_gene_sets(panel[n:], symbols, once, self.study.markers).alone()
        return table.keys[columns][used], genes, dense_columns(panel[:n], used), dense_columns(panel[n:], used)


def _log1p_counts(section: Section, columns: I64) -> F32:
    return np.log1p(dense_columns(section.counts, columns))


def dense_columns(matrix: sparse.csr_matrix | F32, columns: I64) -> F32:
    """Some columns of f32[n, g], dense, row after row in memory."""
    chosen = matrix[:, columns]
    return np.ascontiguousarray(chosen if isinstance(chosen, np.ndarray) else chosen.toarray(), np.float32)
