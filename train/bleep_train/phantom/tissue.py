"""The geometry of the synthetic liver section: where its veins, portal triads, fat and edges are.

Everything here is in **µm, (x, y), origin top left** of the section; nothing is drawn and nothing is counted.
`make_tissue` is the one way in. The fields it rasterises at `STEP_UM` are the ground truth that both the
picture and the counts are made from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, spatial

from bleep_cli.types import F32, F64, I64
from bleep_train.phantom.shapes import Blob, Raster, thin

STEP_UM = 4.0
"""Pitch of the ground-truth fields."""

COMPARTMENTS = ("hepatocyte", "tract", "wall", "duct", "vessel", "fat", "lumen")
"""What tissue is made of; the area fractions of a disc inside the tissue sum to 1."""


@dataclass(frozen=True)
class Triad:
    """One portal tract with what runs in it."""

    tract: Blob
    """Its collagen."""
    vein: Blob
    """Of the portal blood."""
    artery: Blob
    """Beside the vein."""
    ducts: tuple[Blob, ...]
    """Of bile."""
    cells: float
    """Its inflammation, in [0, 1]."""


@dataclass(frozen=True)
class TissueFold:
    """A strip of doubled tissue around the curve v = bend·sin(u / wave) in turned axes; lengths in µm."""

    x: float
    """Its middle."""
    y: float
    """Its middle."""
    angle: float
    """Of the axes, in radians."""
    length: float
    """From the middle to an end."""
    half_width: float
    """At its middle."""
    bend: float
    """Amplitude of the curve."""
    wave: float
    """Wave length of the curve over 2π."""

    def strength(self, x: F32, y: F32) -> F32:
        """0 off the fold to 1 in its middle; broadcasts x and y (µm)."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u, v = (x - self.x) * cos + (y - self.y) * sin, (y - self.y) * cos - (x - self.x) * sin
        taper = np.sqrt(np.clip(1 - np.abs(u) / self.length, 0, 1))
        off = np.abs(v - self.bend * np.sin(u / self.wave)) / np.maximum(self.half_width * taper, 1e-3)
        strength: F32 = np.clip((1.1 - off) * 3, 0, 1).astype(np.float32) * (taper > 0)
        return strength


@dataclass(frozen=True)
class Tissue:
    """One section; fields are f32[h, w] on ``raster``."""

    raster: Raster
    """Where their pixels lie."""
    centrals: tuple[Blob, ...]
    """Central veins."""
    triads: tuple[Triad, ...]
    """Portal tracts."""
    fat: F64
    """f64[n, 3] droplets (x, y, radius) in µm"""
    fold: TissueFold | None
    """A strip of doubled tissue, if there is one."""
    edge: F32
    """Signed distance to the section's outline in µm, positive in tissue."""
    z: F32
    """Zonation coordinate: 0 portal, 1 central."""
    area: dict[str, F32]
    """The fraction of each pixel, by name of ``COMPARTMENTS``."""


def make_tissue(
    rng: np.random.Generator, size_um: tuple[float, float], lobule_um: float, steatosis: float, folded: bool
) -> Tissue:
    """Draws one section: lobules of about ``lobule_um``, fat level ``steatosis`` in [0, 1], maybe a fold."""
    raster = Raster(size_um, STEP_UM)
    seeds = _lobule_centres(rng, size_um, lobule_um)
    centrals = tuple(_central_vein(rng, xy) for xy in seeds)
    corners, ridges = _corners(seeds, lobule_um)
    triads = tuple(_triad(rng, xy) for xy in corners if _inside(xy, size_um, 250) and rng.random() > 0.06)
    if not triads:
        triads = tuple(_triad(rng, xy) for xy in corners[:1])
    edge = _outline(rng, raster)
    z = _zonation(raster, centrals, triads, ridges)
    area = _areas(raster, centrals, triads, edge)
    fat = _fat(rng, raster, seeds, steatosis, z=z, hepatocyte=area["hepatocyte"])
    area = _with_fat(raster, area, fat)
    return Tissue(raster, centrals, triads, fat, _fold(rng, size_um) if folded else None, edge, z, area)


def artery_wall_um(artery: Blob) -> float:
    """How far the muscle reaches from the artery's border to its lumen."""
    return 0.6 * artery.r


def duct_wall_um(duct: Blob) -> float:
    """How far the epithelium reaches from the duct's border to its lumen."""
    return min(9.0, 0.68 * duct.r)


def _inside(xy: F64, size_um: tuple[float, float], margin: float) -> bool:
    return bool(np.all(xy > -margin) and np.all(xy < np.asarray(size_um) + margin))


def _wobble(rng: np.random.Generator, *amplitudes: float) -> tuple[tuple[float, float], ...]:
    return tuple((a * rng.uniform(0.4, 1.0), rng.uniform(0, 2 * np.pi)) for a in amplitudes)


def _lobule_centres(rng: np.random.Generator, size_um: tuple[float, float], lobule_um: float) -> F64:
    """A jittered hexagonal lattice f64[n, 2] reaching beyond the section; one centre is near its middle."""
    reach = int(np.ceil(max(size_um) / lobule_um)) + 3
    row, col = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    lattice = np.stack([(col + 0.5 * (row % 2)).ravel(), (row * np.sqrt(0.75)).ravel()], axis=1) * lobule_um
    turn = rng.uniform(0, np.pi)
    turned = lattice @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.asarray(size_um) * rng.uniform(0.38, 0.62, 2)
    centres: F64 = turned + middle + rng.uniform(-0.17, 0.17, lattice.shape) * lobule_um
    margin = 1.6 * lobule_um
    return centres[np.all((centres > -margin) & (centres < np.asarray(size_um) + margin), axis=1)]


def _corners(seeds: F64, lobule_um: float) -> tuple[F64, F64]:
    """Voronoi corners f64[n, 2], at least a fifth of a lobule apart, and the ridges f64[m, 2, 2]."""
    cells = spatial.Voronoi(seeds)
    ridges = np.array([cells.vertices[r] for r in cells.ridge_vertices if -1 not in r])
    keep = thin(cells.vertices, np.full(len(cells.vertices), 0.11 * lobule_um))
    return cells.vertices[keep], ridges


def _central_vein(rng: np.random.Generator, xy: F64) -> Blob:
    radius, aspect = rng.uniform(26, 52), rng.uniform(1.0, 1.7)
    return Blob(xy[0], xy[1], radius, aspect, rng.uniform(0, np.pi), _wobble(rng, 0.06, 0.05, 0.03))


def _triad(rng: np.random.Generator, xy: F64) -> Triad:
    """Vein, artery and ducts on three sides of the tract's middle."""
    size, turn = rng.uniform(78, 125), rng.uniform(0, 2 * np.pi)

    def at(angle: float, far: float) -> tuple[float, float]:
        return xy[0] + size * far * np.cos(turn + angle), xy[1] + size * far * np.sin(turn + angle)

    tract = Blob(xy[0], xy[1], size, rng.uniform(1.0, 1.5), turn, _wobble(rng, 0.05, 0.16, 0.07, 0.05))
    vein_angle, oblong = turn + rng.uniform(-0.5, 0.5), rng.uniform(1.1, 1.7)
    vein = Blob(*at(0, 0.27), size * rng.uniform(0.28, 0.38), oblong, vein_angle, _wobble(rng, 0.05, 0.07))
    artery = Blob(*at(2.15, 0.5), rng.uniform(11, 17), rng.uniform(1.0, 1.3), turn, _wobble(rng, 0.03))
    ducts = tuple(
        Blob(
            *at(-1.65 - 0.78 * i, 0.6),
            rng.uniform(14, 22),
            rng.uniform(1.0, 1.4),
            turn + i,
            _wobble(rng, 0.04),
        )
        for i in range(rng.integers(1, 4))
    )
    return Triad(tract, vein, artery, ducts, float(rng.beta(1.2, 2.5)))


def _fold(rng: np.random.Generator, size_um: tuple[float, float]) -> TissueFold:
    w, h = size_um
    x, y = w * rng.choice([0.22, 0.78]), h * rng.choice([0.25, 0.75])
    length, half = 0.28 * min(w, h), rng.uniform(11, 17)
    return TissueFold(x, y, rng.uniform(0, np.pi), length, half, rng.uniform(12, 30), rng.uniform(70, 130))


def _outline(rng: np.random.Generator, raster: Raster) -> F32:
    """Signed distance to the section's ragged outline, positive inside; one corner is cut off."""
    x, y = raster.axes()
    w, h = raster.size_um
    inset = min(120.0, 0.07 * min(w, h))
    corner = 0.22 * min(w, h)
    nearest = np.stack(np.broadcast_arrays(x, w - x, y, h - y)).astype(np.float32)
    inner = np.sort(nearest, axis=0)[:2] - inset
    rounded = corner - np.hypot(*np.clip(corner - inner, 0, None))
    side = np.minimum(rounded, inner[0])
    cut = (x / w + (h - y) / h - 0.34) * min(w, h)  # the bottom left corner
    ragged = 0.22 * inset * raster.smooth_noise(rng, 160) + 7 * raster.smooth_noise(rng, 38)
    ragged += 2.5 * raster.smooth_noise(rng, 9)
    edge: F32 = (np.minimum(side, cut) - inset * 0.35 + ragged).astype(np.float32)
    return edge


def _zonation(raster: Raster, centrals: tuple[Blob, ...], triads: tuple[Triad, ...], ridges: F64) -> F32:
    """d_portal / (d_portal + d_central); a ridge between lobules counts as a portal site 110 µm away."""
    x, y = raster.axes()

    def nearest(blobs: tuple[Blob, ...]) -> F32:
        best = np.full(raster.shape, np.inf, np.float32)
        for blob in blobs:
            far = np.hypot(x - np.float32(blob.x), y - np.float32(blob.y)) - np.float32(blob.r)
            np.minimum(best, far, out=best)
        return np.maximum(best, np.float32(1))

    marks = np.ones(raster.shape, bool)
    along = np.linspace(0, 1, 600)[:, None, None]
    points = (ridges[:, 0] * (1 - along) + ridges[:, 1] * along).reshape(-1, 2)
    cells = np.floor(points / raster.step).astype(np.int64)
    rows, cols = raster.shape
    cells = cells[(cells[:, 0] >= 0) & (cells[:, 0] < cols) & (cells[:, 1] >= 0) & (cells[:, 1] < rows)]
    marks[cells[:, 1], cells[:, 0]] = False
    ridge = np.full(raster.shape, np.inf, np.float32)
    if not marks.all():
        ridge = (ndimage.distance_transform_edt(marks) * raster.step + 110).astype(np.float32)
    portal, central = np.minimum(nearest(tuple(t.tract for t in triads)), ridge), nearest(centrals)
    z: F32 = ndimage.gaussian_filter(portal / (portal + central), 12 / raster.step, mode="nearest")
    return z


def _areas(raster: Raster, centrals: tuple[Blob, ...], triads: tuple[Triad, ...], edge: F32) -> dict[str, F32]:
    """The fraction of every pixel that each compartment but fat takes."""
    area = {name: np.zeros(raster.shape, np.float32) for name in COMPARTMENTS}

    def paint(name: str, blob: Blob, grow_um: float = 0.0) -> None:
        at, x, y = raster.window(blob.x, blob.y, blob.reach + grow_um)
        cover = np.clip(0.5 - (blob.distance(x, y) - np.float32(grow_um)) / np.float32(raster.step), 0, 1)
        for other in area.values():
            other[at] *= 1 - cover
        area[name][at] += cover

    area["hepatocyte"] += 1
    for central in centrals:
        paint("wall", central, 7)
        paint("vessel", central, 3)
        paint("lumen", central)
    for triad in triads:
        paint("tract", triad.tract)
        for duct in triad.ducts:
            paint("duct", duct, 2)
        paint("wall", triad.vein, 6)
        paint("wall", triad.artery)
        for blob, shrink in ((triad.vein, 0.0), (triad.artery, artery_wall_um(triad.artery))):
            paint("vessel", blob, 3 - shrink)
            paint("lumen", blob, -shrink)
    inside = np.clip(0.5 + edge / np.float32(raster.step), 0, 1)
    return {name: (a * inside).astype(np.float32) for name, a in area.items()}


def _fat(
    rng: np.random.Generator, raster: Raster, seeds: F64, steatosis: float, *, z: F32, hepatocyte: F32
) -> F64:
    """Droplets f64[n, 3]: in hepatocytes only, mostly in zone 3, in some lobules more than in others."""
    w, h = raster.size_um
    n = int(w * h / 110)
    xy = rng.uniform(0, 1, (n, 2)) * (w, h)
    radius = np.clip(rng.lognormal(np.log(5.2), 0.42, n), 2.2, 13)
    lobule: I64 = spatial.cKDTree(seeds).query(xy)[1]
    level = steatosis * np.clip(rng.normal(0.75, 0.55, len(seeds)), 0, 1.4)[lobule]
    patchy = np.clip(1 + 0.5 * raster.sample(raster.smooth_noise(rng, 60), xy), 0, 2)
    chance = level * patchy * (0.03 + 0.97 * raster.sample(z, xy) ** 2.5)
    keep = (rng.random(n) < chance) & (raster.sample(hepatocyte, xy) > 0.97)
    xy, radius = xy[keep], radius[keep]
    keep = thin(xy, radius * 1.06)
    return np.column_stack([xy, radius])[keep]


def _with_fat(raster: Raster, area: dict[str, F32], fat: F64) -> dict[str, F32]:
    """Takes the droplets' area from the hepatocytes."""
    cover = np.zeros(raster.shape, np.float32)
    rows, cols = raster.shape
    col = np.clip((fat[:, 0] / raster.step).astype(np.int64), 0, cols - 1)
    row = np.clip((fat[:, 1] / raster.step).astype(np.int64), 0, rows - 1)
    np.add.at(cover, (row, col), (np.pi * fat[:, 2] ** 2 / raster.step**2).astype(np.float32))
    spread: F32 = ndimage.gaussian_filter(cover, 4 / raster.step)
    share = np.minimum(spread, np.float32(0.9)) * area["hepatocyte"]
    return area | {"fat": share, "hepatocyte": area["hepatocyte"] - share}
