"""What a newcomer is worth in a space that was trained on Harmony's expression, by every way of putting it there
(docs/growing.md).

    python benchmarks/harmony_newcomers.py [COHORT --donors A,B] [--seeds 0 1] [--batch 0 1] [--json FILE]

Without a cohort, synthetic liver sections: four donors that the towers are fitted to, two sections of a newcomer,
whose first is added and whose second is tested on, and one of a donor that nobody knows. ``--batch`` thins every
gene of every donor by a factor of its own, down to exp(-batch): a batch effect beyond the phantom's. With a cohort
each donor in turn is the newcomer, its spots as in ``own_spots.py``. Towers are fitted in closed form to Harmony's
expression of the panel, as ``bleep-train`` gives it to a tower; a prediction is the mean of the 50 nearest.

Ways: ``refused``, without the newcomer; ``log1p``, its spots embedded from their log1p; ``image``, all spots
looked up by their tiles; ``image slot``, the newcomer's by their tiles and the others by their expression; ``image
alone``, by tiles and without the newcomer; ``refit``, towers fitted anew, in closed form, to everybody's log1p;
``plain refused`` and ``plain log1p``, the first two in a space that was fitted to log1p without Harmony.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from own_spots import scored, turns
from scipy import sparse
from side_by_side import report

from bleep_cli.cohort.read import read_cohort
from bleep_cli.fitting.backbone import built_in_backbone
from bleep_cli.fitting.cca import decompose, fit_heads
from bleep_cli.fitting.choose import choose, held_out_groups
from bleep_cli.fitting.features import section_features
from bleep_cli.genes.names import join_genes, plain_names
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.genes.panel import most_variable
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import unit
from bleep_cli.towers.levels import block_scale
from bleep_cli.types import F32, I64, Section, TileSpec
from bleep_train.data.harmonise import harmonise
from bleep_train.metrics.gene_sets import pick_gene_sets
from bleep_train.phantom.section import write_phantom_cohort

K, PANEL = 50, 1000
KNOWN = ("P1", "P2", "P3", "P4")
NEW, STRANGER = "P5", "P6"
SIZE_UM = (1600.0, 1300.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path, nargs="?")
    parser.add_argument("--donors")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--batch", type=float, nargs="+", default=[0.0, 1.0])
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.cohort is None:
        found = synthetic(given.seeds, given.batch)
    else:
        donors = given.donors.split(",") if given.donors else None
        found = of_cohort(read_cohort(given.cohort), donors)
    scores: dict[tuple[str, str, str], list[tuple[float, float, float]]] = defaultdict(list)
    for data, tested, way, score in found:
        scores[data, tested, way].append(score)
    rows = [
        {"data": data, "tested on": tested, "way": way, "turns": len(several)}
        | dict(zip(("r hvg50", "r all", "MAE all"), np.mean(several, axis=0).round(3).tolist(), strict=True))
        for (data, tested, way), several in scores.items()
    ]
    report(rows, given.json, ways=given.cohort.name if given.cohort else "phantom")


Score = tuple[str, str, str, tuple[float, float, float]]


def synthetic(seeds: list[int], batches: list[float]) -> Iterator[Score]:
    """A score per batch effect, tested donor and way."""
    for seed in seeds:
        with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
            sections = []
            for donors, count in (((*KNOWN, STRANGER), 1), ((NEW,), 2)):
                out = Path(folder) / str(count)
                made = write_phantom_cohort(out, seed, donors=donors, sections_per_donor=count, size_um=SIZE_UM)
                sections += read_cohort(made)
            spaces = Spaces(sections, known=[s.donor in KNOWN for s in sections])
            for batch in batches:
                spaces.measure([thinned(s, batch, seed) for s in sections])
                rows = spaces.rows
                for tested, name in (("the newcomer", f"{NEW}-S2"), ("a stranger", f"{STRANGER}-S1")):
                    for way, predicted in spaces.predicted(rows[f"{NEW}-S1"], rows[name]):
                        score = scored(predicted, spaces.expression[rows[name]], spaces.sets)
                        yield f"phantom, batch {batch:g}", tested, way, score
        print(f"seed {seed} done", file=sys.stderr, flush=True)


def of_cohort(sections: list[Section], donors: list[str] | None) -> Iterator[Score]:
    """A score per way and turn of each donor."""
    for donor in donors or dict.fromkeys(s.donor for s in sections):
        others, own = ([s for s in sections if (s.donor == donor) is mine] for mine in (False, True))
        spaces = Spaces([*others, *own], known=[True] * len(others) + [False] * len(own))
        spaces.measure([*others, *own])
        for pool, test in turns(own, sum(len(s.barcodes) for s in others)):
            for way, predicted in spaces.predicted(pool, test):
                yield donor, "the newcomer", way, scored(predicted, spaces.expression[test], spaces.sets)


def thinned(section: Section, batch: float, seed: int) -> Section:
    """The section with each gene's molecules caught with a chance of its donor's own."""
    rng = np.random.default_rng([seed, *section.donor.encode()])
    chance = np.exp(-batch * rng.uniform(size=section.counts.shape[1]))
    counts = section.counts.tocsr().copy()
    counts.data = rng.binomial(counts.data.astype(np.int64), chance[counts.indices]).astype(np.float32)
    return replace(section, counts=sparse.csr_matrix(counts))


class Spaces:
    """Sections of which some are ``known`` to the towers, in the spaces of every way."""

    def __init__(self, sections: list[Section], known: list[bool]) -> None:
        backbone, self.known = built_in_backbone(), known
        features = section_features(sections, backbone.model, TileSpec(backbone.px, backbone.fields_um), 1, "cpu")
        scale = block_scale(backbone.dims, features.means[:, : sum(backbone.dims)], shipped=backbone.shipped)
        fields = range(1, len(backbone.fields_um) + 1)
        self.features = [features.mean(count) * np.tile(scale, count) for count in fields]
        ends = np.cumsum([0, *(len(s.barcodes) for s in sections)])
        self.rows = {s.id: np.arange(ends[i], ends[i + 1]) for i, s in enumerate(sections)}
        self.old = np.concatenate([self.rows[s.id] for s, k in zip(sections, known, strict=True) if k])

    def measure(self, sections: list[Section]) -> None:
        """Takes expression from the sections, and picks panel and gene sets by those that are known."""
        table = join_genes(sections)
        rows = [log1p_normalise(s.counts)[:, table.columns[s.id]] for s in sections]
        self.sections, old = sections, [row for row, k in zip(rows, self.known, strict=True) if k]
        detected = np.asarray(sum((row > 0).sum(axis=0) for row in old)).ravel()
        panel = most_variable(old, PANEL, detected >= 0.1 * len(self.old))
        every = sparse.vstack(rows, format="csr")
        picked = pick_gene_sets(every[self.old], table.symbols, plain_names(table.symbols, table.keys))
        used, alone = picked.alone()
        self.panel, self.expression = every[:, panel].toarray(), every[:, used].toarray()
        self.sets: dict[str, I64] = {name: alone.sets[name] for name in ("hvg50", "all")}

    def predicted(self, new: I64, test: I64) -> Iterator[tuple[str, F32]]:
        """Every way by name, and what it predicts of the spots ``test``; ``new`` are the newcomer's."""
        known = [s for s, k in zip(self.sections, self.known, strict=True) if k]
        ids = [s.id for s in known for _ in s.barcodes]
        both = np.concatenate([self.old, new])
        images, keys = self._space(self.old, harmonise(self.panel[self.old], ids, 0), known)
        log1p = keys(self.panel[new])
        old = keys(harmonise(self.panel[self.old], ids, 0))
        yield "refused", self._mean(images[test], old, self.old)
        yield "log1p", self._mean(images[test], np.concatenate([old, log1p]), both)
        yield "image", self._mean(images[test], images[both], both)
        yield "image slot", self._mean(images[test], np.concatenate([old, images[new]]), both)
        yield "image alone", self._mean(images[test], images[self.old], self.old)
        images, keys = self._space(self.old, self.panel[self.old], known)
        yield "plain refused", self._mean(images[test], keys(self.panel[self.old]), self.old)
        yield "plain log1p", self._mean(images[test], keys(self.panel[both]), both)
        own = [s for s in self.sections if np.isin(self.rows[s.id], new).any()]
        images, keys = self._space(both, self.panel[both], [*known, *(self._some(s, new) for s in own)])
        yield "refit", self._mean(images[test], keys(self.panel[both]), both)

    def _some(self, section: Section, rows: I64) -> Section:
        inside = np.isin(self.rows[section.id], rows)
        return replace(section, barcodes=section.barcodes[inside], xy_l0=section.xy_l0[inside])

    def _space(self, rows: I64, panel: F32, sections: list[Section]) -> Any:
        """Unit vectors of all tiles, and the function that embeds expression, of towers fitted to some spots."""
        choice = choose([f[rows] for f in self.features], panel, *held_out_groups(sections), K)
        features = self.features[choice.fields - 1]
        image, spot = fit_heads(decompose(features[rows]), decompose(panel, choice.components), choice.penalty)
        return unit(image(features)), lambda values: unit(spot(values))

    def _mean(self, queries: F32, keys: F32, rows: I64) -> F32:
        return np.asarray(self.expression[rows[ExactIndex(keys).search(queries, K).index]].mean(axis=1))


if __name__ == "__main__":
    main()
