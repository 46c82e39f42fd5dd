"""How far methods differ on the same spots: paired differences of mean r, with intervals over blocks and folds.

Everything is made from saved predictions, so that a study that was resumed, or run long ago, has it too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from bleep_cli.types import F32, F64, I64
from bleep_train.metrics.blocks import EDGE, MIN_FOLDS, block_pearson, over_folds, spatial_blocks
from bleep_train.metrics.bootstrap import interval, resampled_means
from bleep_train.metrics.per_gene import pearson
from bleep_train.metrics.tables import SHORT, Table, number, span
from bleep_train.study.saved import FoldFolder

COMPARED = ("hvg50", "all")
FEW_BLOCKS = 10


@dataclass(frozen=True)
class PairedFold:
    """One fold as all its methods predict it: m held-out spots, g genes."""

    name: str
    """Of the fold; its resamples are drawn by it."""
    measured: F32
    """f32[m, g] log1p"""
    blocks: I64
    """i64[m] the block of each spot (:func:`bleep_train.metrics.blocks.spatial_blocks`)"""
    sets: Mapping[str, I64]
    """Positions of the genes of each set in g, of those that were measured."""
    predicted: Mapping[str, Sequence[Callable[[], F32]]]
    """By method, what reads its prediction f32[m, g] with each seed; read one at a time."""


def saved_fold(out: Path, name: str, seeds: Mapping[str, Sequence[int]]) -> PairedFold:
    """A fold of the study in ``out``, its predictions read when they are asked for; ``seeds`` by method."""
    folder = FoldFolder.of(out, name)
    truth = folder.truth()
    predicted = {
        method: [partial(folder.predicted, method, seed) for seed in of_method]
        for method, of_method in seeds.items()
    }
    blocks = spatial_blocks(truth.xy_l0, truth.section)
    return PairedFold(name, truth.measured, blocks, folder.measured_sets(truth), predicted)


@dataclass(frozen=True)
class Difference:
    """The first method minus another: positive where the first is ahead."""

    reference: str
    """The method that all others are compared with."""
    method: str
    """The other one."""
    mean: dict[str, float]
    """By gene set, difference of mean r: over seeds, then over folds."""
    intervals: dict[str, tuple[float, float]]
    """By gene set, 95 % of its resamples."""

    def row(self) -> dict[str, object]:
        """What ``metrics.json`` holds of it."""
        return {"reference": self.reference, "method": self.method, "mean": self.mean, "intervals": self.intervals}


def differences(folds: Sequence[PairedFold], methods: Sequence[str]) -> list[Difference]:
    """The first of ``methods`` minus each of the others, in their order; none where there is a single one."""
    if len(methods) < 2 or not folds:
        return []
    scored = [{method: _over_seeds(fold, method) for method in methods} for fold in folds]
    found = []
    for method in methods[1:]:
        mean, intervals = {}, {}
        for name in (name for name in COMPARED if all(len(fold.sets.get(name, ())) for fold in folds)):
            pairs = [(by_method[methods[0]][name], by_method[method][name]) for by_method in scored]
            mean[name] = float(np.mean([first[0] - other[0] for first, other in pairs]))
            intervals[name] = interval(over_folds([first[1] - other[1] for first, other in pairs]))
        found.append(Difference(methods[0], method, mean, intervals))
    return found


def _over_seeds(fold: PairedFold, method: str) -> dict[str, tuple[float, F64]]:
    """Mean r of each gene set and its resamples f64[resamples], averaged over the seeds of a method."""
    sets = {name: fold.sets[name] for name in COMPARED if len(fold.sets.get(name, ()))}
    means: dict[str, list[float]] = {name: [] for name in sets}
    resampled: dict[str, list[F64]] = {name: [] for name in sets}
    for read in fold.predicted[method]:
        predicted = read()
        r = np.nan_to_num(pearson(predicted, fold.measured), nan=0.0)
        drawn = resampled_means(block_pearson(predicted, fold.measured, fold.blocks, fold.name), sets)
        for name, rows in sets.items():
            means[name].append(float(r[rows].mean()))
            resampled[name].append(drawn[name])
    return {name: (float(np.mean(means[name])), np.mean(resampled[name], axis=0)) for name in sets}


def differences_table(
    found: Sequence[Difference], folds: Sequence[PairedFold], label: str, below: tuple[str, ...] = ()
) -> Table:
    """A row per method that was compared; ``below`` are notes after its own."""
    shown = [name for name in COMPARED if all(name in one.mean for one in found)]
    columns = [c for name in shown for c in (f"{SHORT[name]} difference", "95 %")]
    rows = tuple(
        (one.method, *(c for name in shown for c in (number(one.mean[name]), span(one.intervals[name]))))
        for one in found
    )
    folds_drawn = "and folds" if len(folds) >= MIN_FOLDS else f"(not folds: fewer than {MIN_FOLDS})"
    notes = [
        f"Paired: both methods on the same resamples, seeds averaged. 95 %: squares of {EDGE:g} spot pitches "
        f"{folds_drawn} resampled. Where the interval holds 0, these spots do not tell the two apart."
    ]
    few = [f"{fold.name} ({fold.blocks.max() + 1})" for fold in folds if fold.blocks.max() + 1 < FEW_BLOCKS]
    if few:
        notes.append(f"Fewer than {FEW_BLOCKS} squares, so that the interval is rough: {', '.join(few)}.")
    reference = found[0].reference if found else ""
    return Table(("method", *columns), rows, f"{label}: {reference} minus each other method", (*notes, *below))
