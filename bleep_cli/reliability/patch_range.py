"""How far draws hang together in space: as far as makes their maps as patchy as measured ones.

Spots that were left out are drawn (``prediction/expression/draws.py``) with fields of several ranges, and Moran's
I of the genes that vary most in the rest of the reference is compared with that of what was measured there. The
range at which the means over genes and folds are the same is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from bleep_cli.bundle.contents import BundleArrays
from bleep_cli.cohort.patches import morans_i, parts_of
from bleep_cli.cohort.pitch import pitch
from bleep_cli.prediction.expression.draws import draw
from bleep_cli.reliability.left_out import Fold, LeftOut
from bleep_cli.types import F32, F64, I64, Neighbours, Str

RANGES = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Of the fields that are tried, in pitches of the spots."""
DRAWS = 4
GENES = 50
FEWEST = 10  # spots of a section


def patch_range(left_out: LeftOut, arrays: BundleArrays, mpp: Mapping[str, float]) -> float | None:
    """µm, within 0.5 to 32 pitches; None where the µm per level-0 px ``mpp`` of a section is not known, or no
    section has ten left-out spots."""
    section = arrays.section[left_out.spots]
    if set(arrays.section.tolist()) - mpp.keys():
        return None
    um = arrays.xy_l0[left_out.spots] * np.array([mpp[name] for name in section.tolist()])[:, None]
    rows = [part for part in parts_of(section) if len(part) >= FEWEST]
    if not rows:
        return None
    step = float(np.median([pitch(um[part]) for part in rows]))
    places = [_Place(um[fold.at], section[fold.at]) for fold in left_out.folds]
    drawn, measured, weight = np.zeros(len(RANGES)), 0.0, 0
    for place, seen in zip(places, _seen(left_out, places, step), strict=True):
        here = place.patchiness(seen.measured)
        if np.isfinite(here):
            each = [[place.patchiness(seen.drawn(y)) for y in some] for some in seen.chosen]
            drawn += len(place.um) * np.mean(each, axis=1)
            measured, weight = measured + len(place.um) * here, weight + len(place.um)
    if not weight or not np.isfinite(drawn).all():
        return None
    rising = np.maximum.accumulate(drawn / weight)
    return float(np.exp(np.interp(measured / weight, rising, np.log(RANGES)))) * step


@dataclass(frozen=True)
class _Place:
    """Where the spots of a fold lie."""

    um: F64
    section: Str

    def patchiness(self, values: F32) -> float:
        """Mean Moran's I of f32[m, g] over the genes that have one."""
        found = morans_i(values, self.um, self.section)
        return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else float("nan")

    def draws(self, fold: Fold, range_um: float) -> list[I64]:
        """Rows of ``fold.inside``, i64[m] each: every section drawn by itself."""
        out = []
        for number in range(DRAWS):
            chosen = np.empty(len(self.um), np.int64)
            for part in parts_of(self.section):
                near = Neighbours(fold.neighbours.index[part], fold.neighbours.similarity[part])
                chosen[part] = draw(near, fold.weights[part], range_um, self.um[part], number)
            out.append(chosen)
        return out


@dataclass(frozen=True)
class _Seen:
    """Of m spots of a fold, log1p of the genes that vary most in the rest."""

    measured: F32
    """f32[m, g]."""
    beside: F32
    """f32[m, g] what the prediction adds to the mean of the neighbours."""
    chosen: F32
    """f32[ranges, draws, m, g] what was measured at the drawn neighbours."""

    def drawn(self, at: F32) -> F32:
        return np.asarray(np.maximum(at + self.beside, 0), np.float32)


def _seen(left_out: LeftOut, places: list[_Place], step: float) -> Iterator[_Seen]:
    genes = _most_varying(left_out)
    rows = [
        np.array([place.draws(fold, reach * step) for reach in RANGES])
        for fold, place in zip(left_out.folds, places, strict=True)
    ]
    found = [
        _Seen(
            np.empty((len(fold.at), len(wanted)), np.float32),
            np.empty((len(fold.at), len(wanted)), np.float32),
            np.empty((*chosen.shape, len(wanted)), np.float32),
        )
        for fold, wanted, chosen in zip(left_out.folds, genes, rows, strict=True)
    ]
    for block, values in left_out.values():
        for fold, wanted, chosen, out in zip(left_out.folds, genes, rows, found, strict=True):
            columns = np.flatnonzero((wanted >= block.start) & (wanted < block.stop))
            if not len(columns):
                continue
            of_genes = values[:, wanted[columns] - block.start]
            known = of_genes[fold.inside]
            told = fold.predicted(known)
            out.measured[:, columns] = of_genes[left_out.spots[fold.at]]
            out.beside[:, columns] = told.value - told.mean
            out.chosen[..., columns] = known[chosen]
    yield from found


def _most_varying(left_out: LeftOut) -> list[I64]:
    """Of every fold, the genes i64[g] that vary most in the spots that are not left out."""
    variance: list[list[F64]] = [[] for _ in left_out.folds]
    for _, values in left_out.values():
        for fold, some in zip(left_out.folds, variance, strict=True):
            some.append(values[fold.inside].var(axis=0, dtype=np.float64))
    return [np.sort(np.argsort(-np.concatenate(some), kind="stable")[:GENES]) for some in variance]
