"""The second table: what a prediction's maps are like, gene by gene, beside how reproducible the measurement is.

A study run before these numbers were known has them made from its saved predictions, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from bleep_cli.types import F32, F64, I64
from bleep_train.methods.folds import FoldData
from bleep_train.metrics.ceiling import ceiling_scores
from bleep_train.metrics.maps import map_metrics, map_scores
from bleep_train.metrics.tables import MAPS, SHORT, Table, number, seeds_cell
from bleep_train.study.saved import FoldFolder
from bleep_train.study.scoring import Job

CEILING_SETS = ("hvg50", "heg50", "all", "markers")
NOTES = (
    "Over the genes of *all*; docs/metrics.md says what each is. Genes at FDR 5 %: r larger than that of the same "
    "map shifted over its section (Benjamini-Hochberg). Of shuffled and shifted predictions the first one.",
)
CEILING_NOTES = (
    "Reliability: r between two halves of each spot's molecules, corrected to full depth (Spearman-Brown). Its "
    "square root is the r that the true mean expression would reach; no prediction can be expected to pass it.",
)


def fold_maps(data: FoldData, predicted: F32) -> dict[str, F64]:
    """The metrics of a prediction's maps, f64[g] each."""
    return map_metrics(predicted, data.test_y, data.xy, data.section, data.measured_sets["all"])


def saved_maps(folder: FoldFolder, method: str, seed: int) -> dict[str, F32]:
    """The metrics of a saved prediction's maps, f32[g] each; made and saved where they are not there yet."""
    if not folder.has_maps(method, seed):
        truth = folder.truth()
        tested = folder.measured_sets(truth)["all"]
        predicted = folder.predicted(method, seed)
        folder.save_maps(method, seed, map_metrics(predicted, truth.measured, truth.xy_l0, truth.section, tested))
    return folder.maps(method, seed)


def study_map_scores(out: Path, jobs: Iterable[Job]) -> dict[str, dict[int, list[dict[str, float]]]]:
    """By method and seed, ``map_scores`` of each fold of the study in ``out``."""
    found: dict[str, dict[int, list[dict[str, float]]]] = {}
    genes: dict[str, I64] = {}
    for job in jobs:
        folder = FoldFolder.of(out, job["fold"])
        if job["fold"] not in genes:
            genes[job["fold"]] = folder.measured_sets(folder.truth())["all"]
        scores = map_scores(saved_maps(folder, job["method"], job["seed"]), genes[job["fold"]])
        found.setdefault(job["method"], {}).setdefault(job["seed"], []).append(scores)
    return found


def maps_table(
    scores: Mapping[str, Mapping[int, Sequence[Mapping[str, float]]]], title: str, below: tuple[str, ...] = ()
) -> Table:
    """A row per method, from its ``map_scores`` by seed, a fold each: means over folds, over seeds.

    ``below`` are notes after its own.
    """
    rows = tuple(
        (
            method,
            *(
                seeds_cell({seed: [s[name] for s in folds] for seed, folds in seeds.items()}, _digits(name))
                for name in MAPS
            ),
        )
        for method, seeds in scores.items()
    )
    return Table(("method", *MAPS.values()), rows, title, (*NOTES, *below))


def _digits(name: str) -> int:
    return 0 if name == "significant" else 3


def fold_ceiling(of_genes: F64 | F32, sets: Mapping[str, I64]) -> dict[str, dict[str, float]]:
    """``ceiling_scores`` of each gene set, of genes that were measured."""
    return {name: ceiling_scores(of_genes, sets[name]) for name in CEILING_SETS if len(sets.get(name, ()))}


def study_ceilings(out: Path, folds: Iterable[str]) -> dict[str, dict[str, dict[str, float]]]:
    """``fold_ceiling`` of each fold of the study in ``out`` that has one."""
    folders = {fold: FoldFolder.of(out, fold) for fold in folds}
    return {
        fold: fold_ceiling(folder.ceiling(), folder.measured_sets(folder.truth()))
        for fold, folder in folders.items()
        if folder.has_ceiling()
    }


def ceiling_table(
    ceilings: Mapping[str, Mapping[str, Mapping[str, float]]], title: str, below: tuple[str, ...] = ()
) -> Table:
    """A row per fold and gene set, from its ``fold_ceiling``; ``below`` are notes after its own."""
    rows = tuple(
        (fold, SHORT[name].removesuffix(" r"), number(found["reliability"]), number(found["ceiling"]))
        for fold, sets in ceilings.items()
        for name, found in sets.items()
    )
    return Table(("fold", "genes", "reliability", "ceiling of r"), rows, title, (*CEILING_NOTES, *below))
