"""The tables of a study, made from its rows and its saved numbers (paper, Tables 1 and 2, Fig. 4, supplement)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.files.json_file import write_json
from bleep_train.config.protocols import BENCH
from bleep_train.methods.by_name import BLEEP
from bleep_train.metrics.bootstrap import interval
from bleep_train.metrics.tables import (
    MAPS,
    MISSING,
    SHORT,
    Table,
    number,
    over_seeds,
    seeds_cell,
    span,
    write_tables,
)
from bleep_train.study.differences import Difference, PairedFold, differences, differences_table, saved_fold
from bleep_train.study.fold_table import (
    BOTH_SIDES,
    GENES_FILE,
    METRICS_FILE,
    TABLE_FILE,
    absent_genes,
    finite,
    fold_table,
    score_names,
    without_nan,
)
from bleep_train.study.gene_table import SETS, saved_genes, write_gene_table
from bleep_train.study.maps import ceiling_table, maps_table, study_ceilings, study_map_scores
from bleep_train.study.run import StudyResult
from bleep_train.study.saved import NULLS, FoldFolder
from bleep_train.study.scoring import RESAMPLED, MethodRow

BENCH_NOTE = (
    "Splits, genes, truth (log1p of raw counts) and mean are HEST-Bench's. Its published numbers stand on its own "
    "patches of 112 µm and, for encoders, on ridge over 256 principal components: compare with nothing else."
)
GENE_FORM = ".5g"  # of numbers that are kept as float32
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
        genes = (saved_genes(self.out, fold, self._seeds(fold, self.methods)) for fold in self.folds)
        write_gene_table(self.out / GENES_FILE, genes, GENE_FORM)

    def main(self) -> list[Table]:
        """The summary over folds, how far methods differ, what maps are like, and every fold."""
        found, folds = self.differences
        between = [differences_table(found, folds, self._label(), self._below())] if found else []
        bench = [self.bench()] if self.record.protocol == BENCH else []
        return [*bench, self.summary(), *between, *self.maps(), self.per_fold()]

    @cached_property
    def differences(self) -> tuple[list[Difference], list[PairedFold]]:
        """The first BLEEP, or else the first method, minus each other one, and the folds that says it of."""
        methods = [method for method in self.methods if method not in NULLS]
        methods.sort(key=lambda method: method.partition(":")[0] != BLEEP)
        folds = [saved_fold(self.out, fold, self._seeds(fold, methods)) for fold in self.folds]
        return differences(folds, methods), folds

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

    def bench(self) -> Table:
        """HEST-Bench's own summary: the mean over splits and their standard deviation."""
        rows = [(method, self.bench_scores(method)) for method in self.methods]
        rows.sort(key=lambda row: -row[1]["mean"])
        cells = tuple((method, number(found["mean"], 4), number(found["std"], 4)) for method, found in rows)
        columns = ("method", "mean r", "standard deviation over splits")
        return Table(columns, cells, f"{BENCH}: {len(self.folds)} splits", (BENCH_NOTE,))

    def bench_scores(self, method: str) -> dict[str, float]:
        """``mean`` and ``std`` over splits of the mean r over the genes, seeds averaged, as in the benchmark."""
        by_split = np.mean(list(self._values(method, "hvg50").values()), axis=0)
        return {"mean": float(by_split.mean()), "std": float(by_split.std())}

    def per_fold(self) -> Table:
        """A row per fold and method."""
        title = f"{self._label()}: each fold, {self.over}"
        ends = {
            (fold, method): self.interval(method, folds=(fold,)) for fold in self.folds for method in self.methods
        }
        return fold_table(self.rows, self.numbers, title, self._below(), ends)

    def maps(self) -> list[Table]:
        """What maps are like beyond their r, a row per method, and the ceiling, where truth is the measurement."""
        tables = [maps_table(self.map_scores, f"{self._label()}: maps, {self.over}", self._below())]
        if self.ceilings:
            tables.append(ceiling_table(self.ceilings, f"{self._label()}: noise ceiling", self._below()))
        return tables

    @cached_property
    def map_scores(self) -> dict[str, dict[int, list[dict[str, float]]]]:
        """By method and seed, the scores of its maps in each fold."""
        return study_map_scores(self.out, [row["job"] for row in self.rows])

    @cached_property
    def ceilings(self) -> dict[str, dict[str, dict[str, float]]]:
        """By fold, how reproducible the measurement of each gene set is."""
        return study_ceilings(self.out, self.folds)

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
                **({"bench": self.bench_scores(method)} if self.record.protocol == BENCH else {}),
                "mean": {name: finite(mean) for name, (mean, _) in over.items()},
                "deviation": {name: finite(deviation) for name, (_, deviation) in over.items()},
                "intervals": {name: self.interval(method, name) for name in SETS if name in self.numbers},
                "maps": self._map_means(method),
                **{
                    name: sum(r["scores"].get(name, 0) for r in self._first() if r["job"]["method"] == method)
                    for name in ("n_nan", "n_absent")
                },
            }
        rows = [{**row["job"], **{k: v for k, v in row.items() if k != "job"}} for row in self.rows]
        head = {"protocol": self.record.protocol, "truth": self.record.truth, "leaks": self._leaks}
        folds = {name: {k: v for k, v in fold.items() if k != "data"} for name, fold in self.record.folds.items()}
        return {
            **head,
            "seeds": self.record.seeds,
            "folds": folds,
            "methods": methods,
            "differences": [one.row() for one in self.differences[0]],
            "ceilings": self.ceilings,
            "rows": without_nan(rows),
        }

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

    def _below(self) -> tuple[str, ...]:
        """What is to be said below every table of means."""
        return (*self._leak_note(), *absent_genes(self.rows))

    def _label(self) -> str:
        return f"{self.record.protocol}{' (leaks)' if self._leaks else ''}"

    def _notes(self) -> Iterator[str]:
        yield (
            "95 %: held-out spots resampled 1,000 times within their fold, mean of all seeds; neighbouring spots "
            "resemble each other and patients differ, so a new patient can lie outside."
        )
        yield from self._below()
        scored = [set(FoldFolder.of(self.out, fold).genes().get("markers", ())) for fold in self.folds]
        absent = [marker for marker in self.record.markers if any(marker not in genes for genes in scored)]
        if absent:
            yield f"Markers not among the genes of every fold, and left out there: {', '.join(absent)}."
        for row in self.rows:
            if row.get("told"):
                yield f"{row['job']['method']}, fold {row['job']['fold']}: {'; '.join(row['told'])}."
        for fold, described in self.record.folds.items():
            shared = described["donors"]["shared"]
            if shared:
                yield f"Fold {fold}: donor {', '.join(shared)} {BOTH_SIDES}"

    def _of(self, method: str) -> list[MethodRow]:
        return [row for row in self.rows if row["job"]["method"] == method]

    def _first(self) -> list[MethodRow]:
        return [row for row in self.rows if row["job"]["seed"] == self.record.seeds[0]]

    def _seeds(self, fold: str, methods: Sequence[str]) -> dict[str, list[int]]:
        """The seeds that each method has in a fold."""
        jobs = [row["job"] for row in self.rows if row["job"]["fold"] == fold]
        return {method: [job["seed"] for job in jobs if job["method"] == method] for method in methods}

    def _map_means(self, method: str) -> dict[str, float | None]:
        seeds = self.map_scores[method]
        over = {name: {seed: [s[name] for s in folds] for seed, folds in seeds.items()} for name in MAPS}
        return {name: finite(over_seeds(values)[0]) for name, values in over.items()}

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
