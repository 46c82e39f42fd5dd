"""What ``bleep cohort`` finds and does not find: false positives and power, with the patient as the unit and,
beside it, with every tile as one (docs/comparing-groups.md).

    python benchmarks/cohort_power.py [--donors 48] [--cohorts 1000] [--json FILE]

Donors are the phantom's own, each with its tissue, fat and factors of genes; values are the true log1p expression
at tiles 100 µm apart, as the best of predictions would have them: no picture is drawn and no tower runs. A cohort
is two groups of donors drawn without return. Under no effect that is all; else a fifth of the genes is raised in
every tile of the second group, by a multiple of the gene's standard deviation between donors. Tests are those of
the command; the tile-level one is Welch's t test over all tiles of a group.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats
from side_by_side import report

from bleep_cli.comparison.permutation import between_groups, within_pairs
from bleep_cli.types import F64
from bleep_train.phantom.section import PhantomOptions, true_expression

LEVEL = 0.05
PATIENTS = (3, 4, 6, 10)
"""In each group."""
EFFECTS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
"""In standard deviations between donors."""
PITCH_UM, SIZE_UM = 100.0, (2400.0, 1800.0)
COLUMNS = (
    *(
        "patients",
        "effect",
        "cohorts",
        "patients false p",
        "pairs false p",
        "patients power p",
        "patients power q",
    ),
    *("patients any false q", "patients false discoveries", "tiles false p", "tiles power q", "tiles any false q"),
    "tiles false discoveries",
)
MOST, SEED = 10_000, 0


@dataclass(frozen=True)
class Donors:
    """Tiles reduced to what the tests need, of d donors and g genes, and the number of tiles of each."""

    mean: F64
    """f64[d, g]"""
    variance: F64
    """f64[d, g] between the tiles of a donor."""
    tiles: int


def donors(count: int) -> Donors:
    """The phantom's donors."""
    x, y = np.meshgrid(*(np.arange(PITCH_UM / 2, side, PITCH_UM) for side in SIZE_UM))
    xy_um = np.stack([x.ravel(), y.ravel()], axis=1)
    means, variances = [], []
    for number in range(count):
        options = PhantomOptions(SEED, f"D{number}", f"D{number}-S1", SIZE_UM, mpp=2.0)
        _, values = true_expression(options, xy_um / options.mpp)
        means.append(values.mean(axis=0, dtype=np.float64))
        variances.append(values.var(axis=0, dtype=np.float64))
    return Donors(np.array(means), np.array(variances), len(xy_um))


def by_tiles(mean: F64, variance: F64, tiles: int, patients: int) -> F64:
    """p f64[g] of Welch's t test over all tiles, the first ``patients`` donors being one group."""
    told = []
    for part in (slice(0, patients), slice(patients, None)):
        n = tiles * len(mean[part])
        deviation = np.sqrt((variance[part].mean(axis=0) + mean[part].var(axis=0)) * n / (n - 1))
        told.append((mean[part].mean(axis=0), deviation, n))
    return np.asarray(stats.ttest_ind_from_stats(*told[0], *told[1], equal_var=False).pvalue, np.float64)


def rates(pool: Donors, patients: int, effect: float, cohorts: int, rng: np.random.Generator) -> dict[str, Any]:
    """Shares of genes with p and q at most 0.05, raised and others, by patients and by tiles, over cohorts."""
    between = pool.mean.std(axis=0, ddof=1)
    n_genes = pool.mean.shape[1]
    hits: dict[str, list[float]] = {}
    for _ in range(cohorts):
        drawn = rng.permutation(len(pool.mean))[: 2 * patients]
        raised = np.zeros(n_genes, bool)
        if effect:
            raised[rng.permutation(n_genes)[: n_genes // 5]] = True
        mean = pool.mean[drawn].copy()
        mean[patients:] += effect * between * raised
        found = between_groups(mean, np.arange(2 * patients) >= patients, MOST, SEED)
        tiles = by_tiles(mean, pool.variance[drawn], pool.tiles, patients)
        adjusted = stats.false_discovery_control(tiles)
        for way, p, q in (("patients", found.p, found.q), ("tiles", tiles, adjusted)):
            hits.setdefault(f"{way} false p", []).append(float((p[~raised] <= LEVEL).mean()))
            hits.setdefault(f"{way} any false q", []).append(float((q[~raised] <= LEVEL).any()))
            if effect:
                hits.setdefault(f"{way} power p", []).append(float((p[raised] <= LEVEL).mean()))
                hits.setdefault(f"{way} power q", []).append(float((q[raised] <= LEVEL).mean()))
                share = (q[~raised] <= LEVEL).sum() / max(1, (q <= LEVEL).sum())
                hits.setdefault(f"{way} false discoveries", []).append(float(share))
    return {name: round(float(np.mean(values)), 4) for name, values in hits.items()}


def pairs(pool: Donors, patients: int, cohorts: int, rng: np.random.Generator) -> dict[str, Any]:
    """The same of pairs under no effect: two unrelated sections a patient."""
    found = []
    for _ in range(cohorts):
        drawn = rng.permutation(len(pool.mean))[: 2 * patients]
        difference = pool.mean[drawn[:patients]] - pool.mean[drawn[patients:]]
        found.append(float((within_pairs(difference, MOST, SEED).p <= LEVEL).mean()))
    return {"pairs false p": round(float(np.mean(found)), 4)}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--donors", type=int, default=48)
    parser.add_argument("--cohorts", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    pool = donors(args.donors)
    rng = np.random.default_rng(SEED)
    rows = []
    for patients in PATIENTS:
        for effect in EFFECTS:
            cohorts = args.cohorts // 4 if effect else args.cohorts
            row = dict.fromkeys(COLUMNS, "") | {"patients": patients, "effect": effect, "cohorts": cohorts}
            row |= rates(pool, patients, effect, cohorts, rng)
            rows.append(row if effect else row | pairs(pool, patients, cohorts, rng))
    report(rows, args.json, donors=args.donors, tiles=pool.tiles, genes=pool.mean.shape[1], seed=SEED)


if __name__ == "__main__":
    main()
