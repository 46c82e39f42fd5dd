"""What own measured spots are worth: r on a donor that a reference has not seen, against how many of the donor's
spots are added to it (docs/growing.md).

    python benchmarks/own_spots.py COHORT ... [--donors A,B] [--spots 0 25 50 100 200] [--seeds 3] [--pool 0.5]
                                   [--json FILE]

Each donor in turn is left out; towers are fitted in closed form to the others and stay as they are. Spots of the
donor are added as ``bleep reference add`` does it, drawn at random from one half of a section, and the prediction
is tested on the other half, beyond a gap of a spot pitch; where the donor has several sections, spots are drawn
from one of the first two and tested on the others. Both halves, or both sections, take their turn.

Ways: ``add`` averages the K nearest of all spots; ``weight 4`` and ``weight 16`` count an own spot among them so
many times; ``offset`` adds to ``add`` what own spots differ from their prediction, gene by gene, less for few.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from side_by_side import report

from bleep_cli.api import build_reference
from bleep_cli.base.rows import dense_rows
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.choices import Aggregation
from bleep_cli.cohort.read import read_cohort
from bleep_cli.genes.names import plain_names
from bleep_cli.prediction.expression.fitted import fitted_prediction
from bleep_cli.reference.grow import grow_reference
from bleep_cli.search.exact import ExactIndex
from bleep_cli.types import F32, F64, I64, Section
from bleep_train.metrics.gene_sets import pick_gene_sets
from bleep_train.metrics.per_gene import pearson

SHRINK = 25  # own spots that count as much as the belief that a reference is right about a donor
WAYS = ("add", "weight 4", "weight 16", "offset")


@dataclass(frozen=True)
class Space:
    """A reference and a new donor's spots, embedded by its towers; its own are the first ``n_old`` rows."""

    images: F32
    keys: F32
    expression: F32
    n_old: int
    k: int
    how: Aggregation
    panel: F32

    def predict(self, own: I64, test: I64, weight: float = 1.0) -> F32:
        """f32[t, g] of spots ``test`` from the reference and the rows ``own``."""
        rows = np.concatenate([np.arange(self.n_old), own])
        found = ExactIndex(self.keys[rows]).search(self.images[test], self.k)
        weights = np.where(found.index < self.n_old, 1.0, weight)
        weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
        return fitted_prediction(
            self.images[test],
            found,
            weights,
            self.how,
            images=self.images[rows],
            expression=self.expression[rows],
            panel=self.panel[rows],
        )

    def shifted(self, own: I64, test: I64) -> F32:
        """The same, moved by what own spots differ from what the reference and the other own ones say."""
        predicted = self.predict(own, test)
        if not len(own):
            return predicted
        folds = np.arange(len(own)) % 5
        left = [
            self.expression[own[folds == f]] - self.predict(own[folds != f], own[folds == f]) for f in set(folds)
        ]
        by = np.concatenate(left).mean(axis=0) * len(own) / (len(own) + SHRINK)
        return np.asarray(np.maximum(predicted + by, 0), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, nargs="+")
    parser.add_argument("--donors")
    parser.add_argument("--spots", type=int, nargs="+", default=[0, 25, 50, 100, 200])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--pool", type=float, default=0.5)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    for cohort in given.cohort:
        sections = read_cohort(cohort)
        there = list(dict.fromkeys(s.donor for s in sections))
        wanted = [donor for donor in there if donor in given.donors.split(",")] if given.donors else there
        rows += [row for d in wanted for row in of_donor(d, sections, given.spots, given.seeds, given.pool)]
    named = ", ".join(f"{cohort.parent.name}/{cohort.name}" for cohort in given.cohort)
    report(rows, given.json, cohort=named, seeds=given.seeds, pool=given.pool)


def of_donor(
    donor: str, sections: list[Section], counts: list[int], seeds: int, share: float = 0.5
) -> list[dict[str, Any]]:
    """A row per number of own spots and way, means over halves and seeds."""
    own = [s for s in sections if s.donor == donor]
    space, sets = embedded([s for s in sections if s.donor != donor], own)
    scores: dict[tuple[int, str], list[tuple[float, float, float]]] = defaultdict(list)
    for pool, test in turns(own, space.n_old, share):
        truth = space.expression[test]
        for count in counts:
            if count > len(pool):
                continue
            for seed in range(seeds if count else 1):
                drawn = np.sort(np.random.default_rng(seed).permutation(pool)[:count])
                for way in WAYS if count else WAYS[:1]:
                    scores[count, way].append(scored(predicted(space, way, drawn, test), truth, sets))
    return [
        {"donor": donor, "own spots": count, "way": way, "turns": len(found)}
        | dict(zip(("r hvg50", "r all", "MAE all"), np.mean(found, axis=0).round(3).tolist(), strict=True))
        for (count, way), found in scores.items()
    ]


def embedded(others: list[Section], own: list[Section]) -> tuple[Space, dict[str, I64]]:
    """The reference of ``others`` with ``own`` added, and the gene sets picked on the former."""
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        built = build_reference(others, views=1, device="cpu", progress=False)
        write_bundle(Path(folder) / "base.zarr", built.info, built.arrays)
        grown = grow_reference(open_bundle(Path(folder) / "base.zarr"), own, device="cpu")
        arrays = grown.arrays
        expression = dense_rows(arrays.expression[: len(arrays.section)])
    n_old = sum(len(s.barcodes) for s in others)
    eligible = plain_names(arrays.symbols, arrays.gene_ids)
    picked = pick_gene_sets(expression[:n_old], arrays.symbols, eligible)
    used, alone = picked.alone()
    keyed = arrays.expression_embeddings if grown.info.key == "expression" else arrays.image_embeddings
    known, panel = expression[:, used], expression[:, arrays.panel]
    space = Space(arrays.image_embeddings, keyed, known, n_old, grown.info.k, grown.info.aggregation, panel)
    return space, {name: alone.sets[name] for name in ("hvg50", "all")}


def turns(own: list[Section], first: int, share: float = 0.5) -> Iterator[tuple[I64, I64]]:
    """(rows that own spots are drawn from, rows that are tested on), apart in space; of a lone section that share,
    and the rest."""
    ends = first + np.cumsum([0, *(len(s.barcodes) for s in own)])
    rows = [np.arange(a, b) for a, b in pairwise(ends)]
    if len(own) > 1:
        for chosen in range(min(2, len(own))):
            yield rows[chosen], np.concatenate([r for i, r in enumerate(rows) if i != chosen])
        return
    xy: F64 = own[0].xy_l0
    pitch = float(np.median(cKDTree(xy).query(xy, k=2)[0][:, 1]))
    along = xy[:, int(np.ptp(xy, axis=0).argmax())]
    low, high = (float(np.quantile(along, part)) for part in (share, 1 - share))
    for pool, test in ((along < low, along > low + pitch), (along > high, along < high - pitch)):
        yield rows[0][pool], rows[0][test]


def predicted(space: Space, way: str, own: I64, test: I64) -> F32:
    if way == "offset":
        return space.shifted(own, test)
    return space.predict(own, test, float(way.split()[1]) if " " in way else 1.0)


def scored(found: F32, truth: F32, sets: dict[str, I64]) -> tuple[float, float, float]:
    """Mean r over both sets of genes, those measured in the test spots, and the mean absolute error over all."""
    r = pearson(found, truth)
    varies = truth.std(axis=0) > 0
    hvg, every = (float(np.nanmean(r[rows[varies[rows]]])) for rows in (sets["hvg50"], sets["all"]))
    return hvg, every, float(np.abs(found - truth)[:, sets["all"]].mean())


if __name__ == "__main__":
    main()
