"""The tables of a study, made from its rows and its saved numbers (paper, Tables 1 and 2, Fig. 4, supplement)."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.atomic import atomic_path
from bleep_cli.base.json_file import write_json
from bleep_cli.types import F32
from bleep_train.metrics.bootstrap import interval
from bleep_train.metrics.per_gene import GENE_METRICS
from bleep_train.metrics.tables import MISSING, SHORT, Table, number, over_seeds, seeds_cell, span, write_tables
from bleep_train.study.journal import Row
from bleep_train.study.run import RESAMPLED, WITHIN, StudyResult
from bleep_train.study.saved import FoldFolder

METRICS_FILE, GENES_FILE = "metrics.json", "genes.csv"
SETS = ("hvg50", "heg50", "all", "markers")
LEAKS = (
    "This protocol leaks: the held-out section enters the union of highly variable genes and the Harmony fit, "
    "truth is Harmony-corrected, and the gene sets are picked on the held-out section. Compare it with nothing "
    "but itself."
)


class StudyTables:
    """Every table of a study whose predictions lie in ``out``."""

    def __init__(self, result: StudyResult, out: Path) -> None:
        self.record, self.rows, self.out = result.record, result.rows, out
        self.methods = tuple(dict.fromkeys(row["job"]["method"] for row in self.rows))
        self.folds = tuple(self.record.folds)
        known = [name for name in SHORT if any(name in row["scores"] for row in self.rows)]
        several = any(len(fold["sections"]) > 1 for fold in self.record.folds.values())
        self.numbers = tuple(name for name in known if several or name != WITHIN)
        seeds = len({row["job"]["seed"] for row in self.rows})
        self.over = f"mean over {seeds} seeds ± the largest deviation" if seeds > 1 else "one seed"

    def write(self) -> None:
        """Writes every table as Markdown, the per-gene numbers as ``genes.csv`` and all as ``metrics.json``."""
        write_tables(self.out / "table.md", self.main())
        write_tables(self.out / "top_genes.md", [self.top_genes()])
        write_tables(self.out / "clusters.md", [self.clusters()])
        write_tables(self.out / "genegene.md", [self.gene_gene()])
        write_json(self.out / METRICS_FILE, self.metrics())
        self._write_genes()

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
        rows = []
        for fold in self.folds:
            for method in self.methods:
                own = [row for row in self._of(method) if row["job"]["fold"] == fold]
                cells = [seeds_cell({r["job"]["seed"]: [r["scores"][n]] for r in own}) for n in self.numbers]
                counts = (str(own[0]["scores"][name]) for name in ("n_spots", "n_nan"))
                rows.append((fold, method, *cells, span(own[0]["intervals"].get("hvg50")), *counts))
        columns = ("fold", "method", *(SHORT[name] for name in self.numbers), "HVG50 r 95 %", "spots", "no r")
        return Table(columns, tuple(rows), f"{self._label()}: each fold, {self.over}")

    def top_genes(self) -> Table:
        """The five genes with the largest r of each method and fold, in the replicate of the first seed."""
        rows = []
        for row in self._first():
            top = [f"{gene} {r:.3f}" for gene, r in row["top"]]
            top += [MISSING] * (5 - len(top))
            rows.append((row["job"]["fold"], row["job"]["method"], *top))
        title = f"{self._label()}: genes with the largest r, seed {self.record.seeds[0]}"
        return Table(("fold", "method", *"12345"), tuple(rows), title)

    def clusters(self) -> Table:
        """Agreement of Leiden clusters of predicted and of measured expression."""

        def cells(row: Row) -> tuple[str, ...]:
            found = row["clusters"]
            return number(found["nmi"]), number(found["ari"]), str(found["measured"]), str(found["predicted"])

        columns = ("NMI", "ARI", "clusters measured", "clusters predicted")
        note = "Same genes, neighbours and resolution on both sides; a constant prediction is one cluster."
        return self._structure("clusters", columns, cells, "Leiden clusters", (note,))

    def gene_gene(self) -> Table:
        """Agreement of gene-gene correlations of predicted and of measured expression."""

        def cells(row: Row) -> tuple[str, ...]:
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
                "n_nan": sum(row["scores"]["n_nan"] for row in self._first() if row["job"]["method"] == method),
            }
        rows = [{**row["job"], **{k: v for k, v in row.items() if k != "job"}} for row in self.rows]
        head = {"protocol": self.record.protocol, "truth": self.record.truth, "leaks": self._leaks}
        folds = {name: {k: v for k, v in fold.items() if k != "data"} for name, fold in self.record.folds.items()}
        return {**head, "seeds": self.record.seeds, "folds": folds, "methods": methods, "rows": _clean(rows)}

    def interval(self, method: str, name: str = "hvg50") -> tuple[float, float] | None:
        """The 95 % interval over spots of the mean over folds; none for a method without resamples."""
        parts = []
        for row in self._first():
            if row["job"]["method"] == method:
                saved = FoldFolder.of(self.out, row["job"]["fold"]).scores(method, row["job"]["seed"])
                if RESAMPLED + name in saved:
                    parts.append(saved[RESAMPLED + name].astype(np.float64))
        return interval(np.mean(parts, axis=0)) if parts else None

    @property
    def _leaks(self) -> bool:
        return self.record.truth == "paper"

    def _label(self) -> str:
        return f"{self.record.protocol}{' (leaks)' if self._leaks else ''}"

    def _notes(self) -> Iterator[str]:
        yield (
            "95 %: held-out spots resampled 1,000 times within their fold, first seed; neighbouring spots "
            "resemble each other and patients differ, so a new patient can lie outside."
        )
        if self._leaks:
            yield LEAKS
        scored = [set(FoldFolder.of(self.out, fold).genes().get("markers", ())) for fold in self.folds]
        absent = [marker for marker in self.record.markers if any(marker not in genes for genes in scored)]
        if absent:
            yield f"Markers not among the genes of every fold, and left out there: {', '.join(absent)}."
        for fold, described in self.record.folds.items():
            shared = described["donors"]["shared"]
            if shared:
                yield (
                    f"Fold {fold}: donor {', '.join(shared)} is on both sides: this measures a new section, not a "
                    "new patient."
                )

    def _of(self, method: str) -> list[Row]:
        return [row for row in self.rows if row["job"]["method"] == method]

    def _first(self) -> list[Row]:
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
        cells: Callable[[Row], tuple[str, ...]],
        what: str,
        notes: tuple[str, ...],
    ) -> Table:
        rows = [(row["job"]["fold"], row["job"]["method"], *cells(row)) for row in self._first() if key in row]
        title = f"{self._label()}: {what}, seed {self.record.seeds[0]}"
        return Table(("fold", "method", *columns), tuple(rows), title, notes)

    def _write_genes(self) -> None:
        """``genes.csv``: a line per fold, method and gene, means over seeds."""
        with (
            atomic_path(self.out / GENES_FILE, force=True) as temp,
            temp.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(
                ("fold", "method", "gene", *SETS, "mean", "variance", *GENE_METRICS, "pearson_low", "pearson_high")
            )
            for fold in self.folds:
                self._fold_genes(fold, writer.writerow)

    def _fold_genes(self, fold: str, write: Callable[[Sequence[object]], object]) -> None:
        folder = FoldFolder.of(self.out, fold)
        truth, sets = folder.truth(), {name: set(genes) for name, genes in folder.genes().items()}
        symbols = truth.symbols.tolist()
        member = [[int(symbol in sets.get(name, ())) for name in SETS] for symbol in symbols]
        mean, variance = truth.measured.mean(axis=0), truth.measured.var(axis=0)
        missing: F32 = np.full(len(symbols), np.nan, np.float32)
        for method in self.methods:
            seeds = [row["job"]["seed"] for row in self._of(method) if row["job"]["fold"] == fold]
            saved = [folder.scores(method, seed) for seed in seeds]
            columns = [np.mean([s[name] for s in saved], axis=0) for name in GENE_METRICS]
            columns += [saved[0].get(name, missing) for name in ("pearson_low", "pearson_high")]
            for i, symbol in enumerate(symbols):
                numbers = (f"{column[i]:.5g}" for column in (mean, variance, *columns))
                write((fold, method, symbol, *member[i], *numbers))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _clean(value: Any) -> Any:
    """The same with null for NaN, which JSON has not."""
    if isinstance(value, dict):
        return {key: _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(inner) for inner in value]
    return _finite(value) if isinstance(value, float) else value
