"""The tables of a study, made from its rows and its saved numbers (paper, Tables 1 and 2, Fig. 4, supplement)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.json_file import write_json
from bleep_train.metrics.bootstrap import interval
from bleep_train.metrics.per_gene import GENE_METRICS
from bleep_train.metrics.tables import MISSING, SHORT, Table, number, over_seeds, seeds_cell, span, write_tables
from bleep_train.study.gene_table import SETS, GeneScores, write_gene_table
from bleep_train.study.run import StudyResult
from bleep_train.study.saved import FoldFolder
from bleep_train.study.scoring import ENDS, RESAMPLED, WITHIN, MethodRow

METRICS_FILE, GENES_FILE, GENE_SETS_FILE, TABLE_FILE = "metrics.json", "genes.csv", "gene_sets.json", "table.md"
GENE_FORM = ".5g"  # of numbers that are kept as float32
BOTH_SIDES = "is on both sides: this measures a new section, not a new patient."
LEAKS = (
    "Protocol `paper`. This protocol leaks: the held-out section enters the union of highly variable genes and "
    "the Harmony fit, truth is Harmony-corrected, and the gene sets are picked on the held-out section. Compare "
    "it with nothing but itself."
)


class StudyTables:
    """Every table of a study whose predictions lie in ``out``."""

    def __init__(self, result: StudyResult, out: Path) -> None:
        self.record, self.rows, self.out = result.record, result.rows, out
        self.methods = tuple(dict.fromkeys(row["job"]["method"] for row in self.rows))
        self.folds = tuple(self.record.folds)
        several = any(len(fold["sections"]) > 1 for fold in self.record.folds.values())
        self.numbers = score_names(self.rows, several=several)
        seeds = len({row["job"]["seed"] for row in self.rows})
        self.over = f"mean over {seeds} seeds ± the largest deviation" if seeds > 1 else "one seed"

    def write(self) -> None:
        """Writes every table as Markdown, the per-gene numbers as ``genes.csv`` and all as ``metrics.json``."""
        write_tables(self.out / TABLE_FILE, self.main())
        write_tables(self.out / "top_genes.md", [self.top_genes()])
        write_tables(self.out / "clusters.md", [self.clusters()])
        write_tables(self.out / "genegene.md", [self.gene_gene()])
        write_json(self.out / METRICS_FILE, self.metrics())
        write_gene_table(self.out / GENES_FILE, map(self._genes, self.folds), GENE_FORM)

    def main(self) -> list[Table]:
        """The summary over folds, and every fold."""
        return [self.summary(), self.per_fold()]

    def summary(self) -> Table:
        """A row per method, best first: means over folds, over seeds, and the interval over spots."""
        order = sorted(self.methods, key=lambda m: -self._mean(m, "hvg50"))
        rows = [
            (
                method,
                *(seeds_cell(self._values(method, name)) for name in self.numbers),
                span(self.interval(method)),
            )
            for method in order
        ]
        folds = f"{len(self.folds)} fold{'s' if len(self.folds) > 1 else ''}"
        return Table(
            ("method", *(SHORT[name] for name in self.numbers), "HVG50 r 95 %"),
            tuple(rows),
            f"{self._label()}: {folds}, {self.over}",
            tuple(self._notes()),
        )

    def per_fold(self) -> Table:
        """A row per fold and method."""
        title = f"{self._label()}: each fold, {self.over}"
        ends = {
            (fold, method): self.interval(method, folds=(fold,)) for fold in self.folds for method in self.methods
        }
        return fold_table(self.rows, self.numbers, title, self._leak_note(), ends)

    def top_genes(self) -> Table:
        """The five genes with the largest r of each method and fold, in the replicate of the first seed."""
        rows = []
        for row in self._first():
            top = [f"{gene} {r:.3f}" for gene, r in row["top"]]
            top += [MISSING] * (5 - len(top))
            rows.append((row["job"]["fold"], row["job"]["method"], *top))
        title = f"{self._label()}: genes with the largest r, seed {self.record.seeds[0]}"
        return Table(("fold", "method", *"12345"), tuple(rows), title, self._leak_note())

    def clusters(self) -> Table:
        """Agreement of Leiden clusters of predicted and of measured expression."""

        def cells(row: MethodRow) -> tuple[str, ...]:
            found = row["clusters"]
            return number(found["nmi"]), number(found["ari"]), str(found["measured"]), str(found["predicted"])

        columns = ("NMI", "ARI", "clusters measured", "clusters predicted")
        note = "Same genes, neighbours and resolution on both sides; a constant prediction is one cluster."
        return self._structure("clusters", columns, cells, "Leiden clusters", (note,))

    def gene_gene(self) -> Table:
        """Agreement of gene-gene correlations of predicted and of measured expression."""

        def cells(row: MethodRow) -> tuple[str, ...]:
            found = row["genegene"]
            return found["genes"], number(found["r"]), number(found["mad"]), str(found["pairs"])

        columns = ("genes", "r of correlations", "mean absolute difference", "pairs")
        note = (
            "A correlation that a prediction does not have counts as 0. Shuffling spots changes no gene-gene "
            "correlation, so `shuffled` agrees as its original does."
        )
        return self._structure("genegene", columns, cells, "gene-gene correlations", (note,))

    def metrics(self) -> dict[str, Any]:
        """What ``metrics.json`` holds: per method means, deviations and intervals, and per fold the same."""
        methods: dict[str, Any] = {}
        for method in self.methods:
            over = {name: over_seeds(self._values(method, name)) for name in self.numbers}
            methods[method] = {
                "mean": {name: _finite(mean) for name, (mean, _) in over.items()},
                "deviation": {name: _finite(deviation) for name, (_, deviation) in over.items()},
                "intervals": {name: self.interval(method, name) for name in SETS if name in self.numbers},
                **{
                    name: sum(r["scores"].get(name, 0) for r in self._first() if r["job"]["method"] == method)
                    for name in ("n_nan", "n_absent")
                },
            }
        rows = [{**row["job"], **{k: v for k, v in row.items() if k != "job"}} for row in self.rows]
        head = {"protocol": self.record.protocol, "truth": self.record.truth, "leaks": self._leaks}
        folds = {name: {k: v for k, v in fold.items() if k != "data"} for name, fold in self.record.folds.items()}
        return {**head, "seeds": self.record.seeds, "folds": folds, "methods": methods, "rows": without_nan(rows)}

    def interval(
        self, method: str, name: str = "hvg50", folds: Sequence[str] | None = None
    ) -> tuple[float, float] | None:
        """The 95 % interval over spots of the mean over folds and seeds; none for a method without resamples.

        All seeds of a fold meet the same resamples, so theirs are averaged resample by resample first.
        """
        parts = []
        for fold in self.folds if folds is None else folds:
            seeds = [row["job"]["seed"] for row in self._of(method) if row["job"]["fold"] == fold]
            saved = [FoldFolder.of(self.out, fold).scores(method, seed) for seed in seeds]
            drawn = [arrays[RESAMPLED + name].astype(np.float64) for arrays in saved if RESAMPLED + name in arrays]
            if drawn:
                parts.append(np.mean(drawn, axis=0))
        return interval(np.mean(parts, axis=0)) if parts else None

    @property
    def _leaks(self) -> bool:
        return self.record.truth == "paper"

    def _leak_note(self) -> tuple[str, ...]:
        return (LEAKS,) if self._leaks else ()

    def _label(self) -> str:
        return f"{self.record.protocol}{' (leaks)' if self._leaks else ''}"

    def _notes(self) -> Iterator[str]:
        yield (
            "95 %: held-out spots resampled 1,000 times within their fold, mean of all seeds; neighbouring spots "
            "resemble each other and patients differ, so a new patient can lie outside."
        )
        yield from self._leak_note()
        scored = [set(FoldFolder.of(self.out, fold).genes().get("markers", ())) for fold in self.folds]
        absent = [marker for marker in self.record.markers if any(marker not in genes for genes in scored)]
        if absent:
            yield f"Markers not among the genes of every fold, and left out there: {', '.join(absent)}."
        yield from absent_genes(self.rows)
        for fold, described in self.record.folds.items():
            shared = described["donors"]["shared"]
            if shared:
                yield f"Fold {fold}: donor {', '.join(shared)} {BOTH_SIDES}"

    def _of(self, method: str) -> list[MethodRow]:
        return [row for row in self.rows if row["job"]["method"] == method]

    def _first(self) -> list[MethodRow]:
        return [row for row in self.rows if row["job"]["seed"] == self.record.seeds[0]]

    def _values(self, method: str, name: str) -> dict[int, list[float]]:
        seeds: dict[int, list[float]] = {}
        for row in self._of(method):
            seeds.setdefault(row["job"]["seed"], []).append(row["scores"].get(name, math.nan))
        return seeds

    def _mean(self, method: str, name: str) -> float:
        return over_seeds(self._values(method, name))[0]

    def _structure(
        self,
        key: str,
        columns: tuple[str, ...],
        cells: Callable[[MethodRow], tuple[str, ...]],
        what: str,
        notes: tuple[str, ...],
    ) -> Table:
        rows = [(row["job"]["fold"], row["job"]["method"], *cells(row)) for row in self._first() if key in row]
        title = f"{self._label()}: {what}, seed {self.record.seeds[0]}"
        return Table(("fold", "method", *columns), tuple(rows), title, (*notes, *self._leak_note()))

    def _genes(self, fold: str) -> GeneScores:
        """The genes of a fold: means over seeds, of the ends of their intervals, too."""
        folder = FoldFolder.of(self.out, fold)
        truth, methods = folder.truth(), {}
        for method in self.methods:
            seeds = [row["job"]["seed"] for row in self._of(method) if row["job"]["fold"] == fold]
            saved = [folder.scores(method, seed) for seed in seeds]
            there = [name for name in (*GENE_METRICS, *ENDS) if all(name in s for s in saved)]
            methods[method] = {name: np.mean([s[name] for s in saved], axis=0) for name in there}
        return GeneScores(fold, truth.symbols, folder.genes(), truth.measured, methods)


def absent_genes(rows: Sequence[MethodRow]) -> Iterator[str]:
    """A sentence for every fold in which some of the genes to be scored were not measured."""
    for fold, absent in {row["job"]["fold"]: int(row["scores"].get("n_absent", 0)) for row in rows}.items():
        if absent:
            yield (
                f"Fold {fold}: {absent} of the genes of *all* are not measured there and are in none of its means."
            )


def score_names(rows: Sequence[MethodRow], *, several: bool) -> tuple[str, ...]:
    """The scores that any row has, in the order of their columns; those inside sections only where a fold holds
    ``several``."""
    known = [name for name in SHORT if any(name in row["scores"] for row in rows)]
    return tuple(name for name in known if several or name != WITHIN)


def fold_table(
    rows: Sequence[MethodRow],
    names: Sequence[str],
    title: str = "",
    notes: tuple[str, ...] = (),
    ends: Mapping[tuple[str, str], tuple[float, float] | None] | None = None,
) -> Table:
    """A row per fold and method: its scores over seeds, the interval over spots, spots, and genes without r.

    ``ends`` are the intervals by fold and method; without them those of the rows, of which there is one each.
    """
    lines = []
    for fold in dict.fromkeys(row["job"]["fold"] for row in rows):
        for method in dict.fromkeys(row["job"]["method"] for row in rows):
            own = [row for row in rows if (row["job"]["fold"], row["job"]["method"]) == (fold, method)]
            cells = [seeds_cell({r["job"]["seed"]: [r["scores"][name]] for r in own}) for name in names]
            of_spots = own[0]["intervals"].get("hvg50") if ends is None else ends[fold, method]
            counts = (str(own[0]["scores"][name]) for name in ("n_spots", "n_nan"))
            lines.append((fold, method, *cells, span(of_spots), *counts))
    columns = ("fold", "method", *(SHORT[name] for name in names), "HVG50 r 95 %", "spots", "no r")
    return Table(columns, tuple(lines), title, notes)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def without_nan(value: Any) -> Any:
    """The same with null for NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(inner) for inner in value]
    return _finite(value) if isinstance(value, float) else value
