"""How what predictions miss hangs together in space: along which axis of expression, how much, and how far.

The residuals of left-out spots on the panel's genes are projected on their first principal components; the axis is
the direction there in which neighbouring spots' residuals agree most (the largest eigenvalue of their lag
covariance; Dray, Saïd & Débias 2008, J. Veg. Sci. 19). A spot's place among its own neighbours along it, as a
normal score, then has a correlation that falls with distance as share x exp(-distance / range).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.rows import dense_rows
from bleep_cli.bundle.contents import BundleArrays
from bleep_cli.reliability.left_out import LeftOut
from bleep_cli.types import F32, F64, I64

if TYPE_CHECKING:
    from scipy.spatial import KDTree

COMPONENTS = 20
AROUND = 6  # the nearest spots of a section
NEAR = 1.75  # times the usual distance of a section's spots, up to which they are neighbours
LAGS = np.array([0.5, 1.75, 2.75, 4, 6, 9, 13])  # of the same
SHARES = np.linspace(0, 1, 41)
RANGES = np.geomspace(0.5, 40, 40)  # of the same
ROWS = 8192
FEWEST = 10  # spots of a section


@dataclass(frozen=True)
class Axis:
    """See :class:`bleep_cli.bundle.learned.calibration.Calibration`."""

    values: F32
    """f32[n] of every spot of the reference."""
    share: float
    range_um: float


def find_axis(left_out: LeftOut, arrays: BundleArrays, mpp: Mapping[str, float]) -> Axis | None:
    """None where the µm per level-0 px ``mpp`` of a section is not known, or too few spots lie side by side."""
    places = list(_places(left_out, arrays, mpp))
    if not places or set(arrays.section.tolist()) - mpp.keys():
        return None
    weights = _weights(_residuals(left_out, arrays.panel), places)
    values = np.concatenate(
        [
            dense_rows(arrays.expression[start : start + ROWS])[:, arrays.panel] @ weights
            for start in range(0, arrays.expression.shape[0], ROWS)
        ]
    ).astype(np.float32)
    scores = _normal_scores(values, left_out)
    share, reach = _fitted(*_correlogram(scores, places))
    pitch = float(np.median([place.pitch_um for place in places]))
    return Axis(values, share, reach * pitch)


@dataclass(frozen=True)
class _Place:
    """The left-out spots of one section."""

    rows: I64
    """Places in ``LeftOut.spots``."""
    tree: KDTree
    pitch_um: float
    """The usual distance of neighbouring spots."""


def _places(left_out: LeftOut, arrays: BundleArrays, mpp: Mapping[str, float]) -> Iterator[_Place]:
    from scipy.spatial import KDTree

    section = arrays.section[left_out.spots]
    for name in dict.fromkeys(section.tolist()):
        rows = np.flatnonzero(section == name)
        if name not in mpp or len(rows) < FEWEST:
            continue
        tree = KDTree(arrays.xy_l0[left_out.spots[rows]] * mpp[name])
        apart = tree.query(tree.data, 2)[0][:, 1]
        if (pitch := float(np.median(apart))) > 0:
            yield _Place(rows, tree, pitch)


def _residuals(left_out: LeftOut, panel: I64) -> F32:
    """f32[m, p] measured less predicted, on the genes of the panel."""
    out = np.empty((len(left_out.spots), len(panel)), np.float32)
    for genes, predicted, _, measured in left_out.blocks():
        inside = np.flatnonzero((panel >= genes.start) & (panel < genes.stop))
        columns = panel[inside] - genes.start
        out[:, inside] = measured[:, columns] - predicted[:, columns]
    return out


def _weights(residuals: F32, places: list[_Place]) -> F64:
    """f64[p] of the axis; the largest of them is positive."""
    centred = residuals.astype(np.float64)
    for place in places:
        centred[place.rows] -= centred[place.rows].mean(axis=0)
    centred = centred[np.concatenate([place.rows for place in places])]
    _, vectors = np.linalg.eigh(centred.T @ centred)
    components = vectors[:, ::-1][:, :COMPONENTS]
    scores, lag, first = centred @ components, np.zeros((components.shape[1],) * 2), 0
    for place in places:
        own = scores[first : first + len(place.rows)]
        first += len(own)
        a, b = _pairs(place)
        lag += own[a].T @ own[b]
    axis = components @ np.linalg.eigh(lag + lag.T)[1][:, -1]
    return np.asarray(axis * np.sign(axis[np.abs(axis).argmax()]))


def _pairs(place: _Place) -> tuple[I64, I64]:
    """Spots and their neighbours, by place in ``place.rows``."""
    distance, near = place.tree.query(place.tree.data, AROUND + 1, distance_upper_bound=NEAR * place.pitch_um)
    inside = np.isfinite(distance[:, 1:])
    a = np.broadcast_to(np.arange(len(near))[:, None], inside.shape)
    return a[inside], np.asarray(near[:, 1:][inside], np.int64)


def _normal_scores(values: F32, left_out: LeftOut) -> F64:
    """f64[m]: each left-out spot's place among its own neighbours."""
    from scipy.special import ndtri

    near = left_out.neighbours()
    below = (values[near] < values[left_out.spots][:, None]).sum(axis=1)
    return np.asarray(ndtri((below + 0.5) / (near.shape[1] + 1)), np.float64)


def _correlogram(scores: F64, places: list[_Place]) -> tuple[F64, F64, F64]:
    """Mean distance (in pitches), correlation and number of the pairs of each lag."""
    total = np.zeros((3, len(LAGS) - 1))
    square, spots = 0.0, 0
    for place in places:
        own = scores[place.rows] - scores[place.rows].mean()
        square, spots = square + float(own @ own), spots + len(own)
        pairs = place.tree.query_pairs(LAGS[-1] * place.pitch_um, output_type="ndarray")
        a, b = pairs.T
        apart = np.linalg.norm(place.tree.data[a] - place.tree.data[b], axis=1) / place.pitch_um
        lag = np.digitize(apart, LAGS) - 1
        inside = (lag >= 0) & (lag < total.shape[1])
        sums = [apart, own[a] * own[b], np.ones(len(apart))]
        total += [np.bincount(lag[inside], values[inside], total.shape[1]) for values in sums]
    distance, product, count = total
    seen = np.maximum(count, 1)
    return distance / seen, product / seen / max(square / max(spots, 1), 1e-12), count


def _fitted(distance: F64, correlation: F64, count: F64) -> tuple[float, float]:
    """Share and range (in pitches) of least squares, every pair alike."""
    curves = SHARES[:, None, None] * np.exp(-distance / RANGES[:, None])
    errors = (count * (curves - correlation) ** 2).sum(axis=2)
    share, reach = np.unravel_index(int(errors.argmin()), errors.shape)
    return float(SHARES[share]), float(RANGES[reach])
