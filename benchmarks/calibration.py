"""How often intervals hold, what per-gene numbers are worth, and how draws vary, on sections that took no part.

    python benchmarks/calibration.py COHORT --home C2,C3,C4,C5 --away C2,C3,C4,C5,A1 [--views 1] [--json FILE]

Each section of ``--away`` is predicted around its spots by a reference of ``--home`` without it
(docs/reliability.md; COHORT by benchmarks/cohorts.py or ``bleep-train phantom``). Told are the share of measured
values between ``lower`` and ``upper``, for the 50 genes that vary most in the reference, those that half of its
spots have, those that a tenth has, and the others; the rank correlation of ``heldout_r`` with the r that came out;
and of the mean map and of draws the variance over the measured one, Moran's I and how far genes go together (mean
|r| of their pairs) beside the measured ones, r, and how well Leiden clusters agree (NMI).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import machine, table

from bleep_cli import api
from bleep_cli.cohort.patches import morans_i
from bleep_cli.cohort.read import read_cohort
from bleep_cli.genes.columns import gene_columns
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.types import F32, I64, Prediction, Section
from bleep_train.metrics.clusters import cluster_agreement, leiden
from bleep_train.metrics.per_gene import pearson, spearman, variance_ratio

COVERAGES = (0.5, 0.8, 0.9)
DRAWS = 10
HVG = 50


class Bench:
    """A reference, and groups of its genes."""

    def __init__(self, home: Sequence[Section], folder: Path, views: int) -> None:
        self._folder = folder
        self.path = api.write(
            api.build_reference(home, views=views, device="cpu"), folder / "home.zarr", force=True
        )
        self.bundle = api.open_bundle(self.path)
        values = self.bundle.expression_rows()[: self.bundle.n_spots]
        detected = (values > 0).mean(axis=0)
        self.groups: dict[str, I64] = {
            "50 most varying": np.argsort(-values.var(axis=0, dtype=np.float64), kind="stable")[:HVG],
            "in half of the spots": np.flatnonzero(detected >= 0.5),
            "in a tenth to a half": np.flatnonzero((detected >= 0.1) & (detected < 0.5)),
            "in fewer": np.flatnonzero(detected < 0.1),
        }

    def predict(self, section: Section, **options: Any) -> Prediction:
        """The spots of a section."""
        at = self._folder / "at.csv"
        rows = (f"{b},{x},{y}" for b, (x, y) in zip(section.barcodes, section.xy_l0, strict=True))
        at.write_text("\n".join(["id,x,y", *rows]), encoding="utf-8")
        predictor = api.Predictor(self.path, api.PredictOptions(device="cpu", **options))
        return predictor.predict(Path(section.image), at=at, mpp=section.mpp)

    def measured(self, section: Section) -> F32:
        """f32[n, g] log1p of the reference's genes."""
        columns = gene_columns(section, self.bundle.symbols, self.bundle.gene_ids)
        return np.asarray(log1p_normalise(section.counts)[:, columns].toarray(), np.float32)


def whole(prediction: Prediction, layer: str | None = None) -> F32:
    """f32[n, g]."""
    blocks = prediction.blocks if layer is None else prediction.layers[layer]
    return np.concatenate([block for _, block in blocks()])


def intervals(bench: Bench, section: Section) -> Iterator[dict[str, Any]]:
    """A row for each group of genes."""
    measured = bench.measured(section)
    inside: dict[float, F32] = {}
    for coverage in COVERAGES:
        found = bench.predict(section, interval=coverage)
        lower, upper = whole(found, "lower"), whole(found, "upper")
        inside[coverage] = ((measured >= lower) & (measured <= upper)).mean(axis=0)
    for name, genes in bench.groups.items():
        if not len(genes):
            continue
        row = {"section": section.id, "genes": name, "number": len(genes)}
        yield row | {f"{coverage:.0%}": round(float(inside[coverage][genes].mean()), 3) for coverage in COVERAGES}


def per_gene(bench: Bench, section: Section) -> dict[str, Any]:
    """``heldout_r`` against the r of the section, over the genes that a tenth of the reference's spots have."""
    found, measured = bench.predict(section), bench.measured(section)
    genes = np.concatenate([bench.groups["in half of the spots"], bench.groups["in a tenth to a half"]])
    r, said = pearson(whole(found), measured)[genes], np.asarray(found.var["heldout_r"], np.float64)[genes]
    known = np.isfinite(r) & np.isfinite(said)
    rank = spearman(said[known, None].astype(np.float32), r[known, None].astype(np.float32))[0]
    row = {"section": section.id, "genes": int(known.sum()), "rank correlation": round(float(rank), 3)}
    return row | {"heldout_r, mean": round(said[known].mean(), 3), "r, mean": round(r[known].mean(), 3)}


def maps(bench: Bench, section: Section) -> Iterator[dict[str, Any]]:
    """The mean map, one of the draws (the mean over them), and the mean of all draws."""
    genes, measured = bench.groups["50 most varying"], bench.measured(section)
    found = bench.predict(section, samples=DRAWS)
    draws = [whole(found, f"sample_{i}") for i in range(1, DRAWS + 1)]
    truth, place = leiden(measured), (section.xy_l0, np.full(len(measured), section.id))
    moran = float(np.nanmean(morans_i(measured[:, genes], *place)))
    for name, some in (
        ("X", [whole(found)]),
        ("a sample", draws),
        ("mean of the samples", [np.mean(draws, axis=0)]),
    ):
        of_genes = [each[:, genes] for each in some]
        yield {
            "section": section.id,
            "map": name,
            "variance ratio": mean(np.nanmedian(variance_ratio(each, measured[:, genes])) for each in of_genes),
            "Moran's I": mean(np.nanmean(morans_i(each, *place)) for each in of_genes),
            "measured I": round(moran, 3),
            "pairs": mean(genes_together(each) for each in of_genes),
            "measured pairs": mean(iter([genes_together(measured[:, genes])])),
            "r": mean(np.nanmean(pearson(each, measured[:, genes])) for each in of_genes),
            "NMI": mean(cluster_agreement(truth, leiden(each))["nmi"] for each in some),
        }


def genes_together(values: F32) -> float:
    """Mean |r| over all pairs of genes of f32[n, g]."""
    r = np.corrcoef(values.astype(np.float64).T)
    return float(np.nanmean(np.abs(r[np.triu_indices(len(r), 1)])))


def mean(values: Iterator[Any]) -> float:
    """Rounded."""
    return round(float(np.mean([float(value) for value in values])), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--home", required=True)
    parser.add_argument("--away", required=True)
    parser.add_argument("--views", type=int, default=1, choices=(1, 8))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    home, away = given.home.split(","), given.away.split(",")
    sections = {s.id: s for s in read_cohort(given.cohort, only=list(dict.fromkeys([*home, *away])))}
    tables: dict[str, list[dict[str, Any]]] = {"intervals": [], "genes": [], "maps": []}
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        for left_out in away:
            bench = Bench([sections[i] for i in home if i != left_out], Path(name), given.views)
            tables["intervals"] += intervals(bench, sections[left_out])
            tables["genes"].append(per_gene(bench, sections[left_out]))
            tables["maps"] += maps(bench, sections[left_out])
            print(left_out, file=sys.stderr)
    print("\n\n".join(table(rows) for rows in tables.values()))
    if given.json is not None:
        record = {"machine": machine(), "home": given.home, "views": given.views, **tables}
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
