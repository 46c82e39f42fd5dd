"""Places nuclei, blood and fat droplets on the planes of optical density."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import spatial

from bleep_cli.types import F64
from bleep_train.phantom.shapes import Blob, thin
from bleep_train.phantom.stamps import (
    Planes,
    Stamp,
    bank_of_angles,
    blood_cell,
    droplet,
    nucleus,
    pick_angle,
    press,
)
from bleep_train.phantom.tissue import Tissue, Triad, artery_wall_um, duct_wall_um

VARIANTS = 3


def press_cells(
    rng: np.random.Generator, tissue: Tissue, planes: Planes, seeds: F64, sinusoids: tuple[F64, F64]
) -> None:
    """Stamps every cell of the section.

    ``seeds`` f64[n, 2] hepatocyte middles, ``sinusoids`` positions f64[m, 2] and directions f64[m] of the
    lining cells, all µm; ``planes`` is changed in place.
    """
    _press_fat(tissue, planes)
    _press_lining(rng, tissue, planes, *sinusoids)
    _press_hepatocytes(rng, tissue, planes, seeds)
    _press_vessels(rng, tissue, planes)


def _press_vessels(rng: np.random.Generator, tissue: Tissue, planes: Planes) -> None:
    """Cells of the portal tracts, their ducts and all larger vessels."""
    spindle = bank_of_angles(rng, planes.mpp, VARIANTS, long=5.2, short=1.25, density=0.95)
    small = [nucleus(rng, planes.mpp, (r, r * 0.94), density=1.15, rim=0.15) for r in rng.uniform(2.2, 2.9, 16)]
    oval = bank_of_angles(rng, planes.mpp, VARIANTS, long=3.4, short=2.7, density=0.85)
    blood = [blood_cell(rng, planes.mpp) for _ in range(16)]
    for triad in tissue.triads:
        _press_tract(rng, planes, triad, spindle, small)
        for duct in triad.ducts:
            inset = -0.42 * duct_wall_um(duct)
            _press_border(rng, planes, duct, oval, spacing_um=6.6, out_um=inset, chance=0.95, across=True)
        inset = -0.45 * artery_wall_um(triad.artery)
        _press_border(rng, planes, triad.artery, spindle, spacing_um=9, out_um=inset, chance=0.8)
        _press_border(rng, planes, triad.vein, spindle, spacing_um=15, out_um=1.5, chance=0.6)
        _press_blood(rng, planes, triad.vein, blood)
    for central in tissue.centrals:
        _press_border(rng, planes, central, spindle, spacing_um=14, out_um=1.3, chance=0.6)
        _press_blood(rng, planes, central, blood)


def _press_fat(tissue: Tissue, planes: Planes) -> None:
    step = np.round(tissue.fat[:, 2] * 4).astype(np.int64)
    bank = [droplet(planes.mpp, s / 4) for s in range(int(step.max(initial=0)) + 1)]
    press(planes, tissue.fat[:, :2], bank, step)


def _clear_of_fat(tissue: Tissue, xy: F64, reach_um: float) -> NDArray[np.bool_]:
    """Which points f64[n, 2] have no droplet border within ``reach_um``."""
    if not len(tissue.fat):
        return np.ones(len(xy), bool)
    far, index = spatial.cKDTree(tissue.fat[:, :2]).query(xy, k=min(8, len(tissue.fat)))
    gap = far.reshape(len(xy), -1) - tissue.fat[index.reshape(len(xy), -1), 2]
    clear: NDArray[np.bool_] = gap.min(axis=1) > reach_um
    return clear


def _press_hepatocytes(rng: np.random.Generator, tissue: Tissue, planes: Planes, seeds: F64) -> None:
    """Round vesicular nuclei; some cells have two, some have theirs outside the plane of the section."""
    cells = tissue.area["hepatocyte"] + tissue.area["fat"]
    seeds = seeds[(tissue.raster.sample(cells, seeds) > 0.93) & (rng.random(len(seeds)) > 0.14)]
    two = rng.random(len(seeds)) < 0.17
    turn = rng.uniform(0, np.pi, len(seeds))
    apart = np.where(two, rng.uniform(3.8, 5.2, len(seeds)), 0.0)[:, None] * np.column_stack(
        [np.cos(turn), np.sin(turn)]
    )
    xy = np.concatenate([seeds + apart, (seeds - apart)[two]]) + rng.normal(0, 0.8, (len(seeds) + two.sum(), 2))
    xy = xy[_clear_of_fat(tissue, xy, 2.4)]
    bank = []
    for _ in range(64):
        r = float(np.clip(rng.lognormal(np.log(3.75), 0.12), 2.9, 5.2))
        faint = rng.uniform(0.74, 1.08)
        look = nucleus(
            rng,
            planes.mpp,
            (r, r * rng.uniform(0.86, 1)),
            rng.uniform(0, np.pi),
            density=faint,
            rim=0.45,
            nucleolus=1.2,
        )
        bank.append(look)
    press(planes, xy, bank, rng.integers(0, len(bank), len(xy)))


def _press_lining(rng: np.random.Generator, tissue: Tissue, planes: Planes, xy: F64, turn: F64) -> None:
    """Flat endothelial and plump Kupffer nuclei along the sinusoids, and blood in patches of them."""
    free = _clear_of_fat(tissue, xy, 1.5)
    xy, turn = xy[free], turn[free]
    patchy = tissue.raster.sample(tissue.raster.smooth_noise(rng, 90), xy)
    kind = rng.random(len(xy))
    bleeding = kind > 0.86 - 0.13 * np.clip(patchy, -1, 2)
    blood = [blood_cell(rng, planes.mpp) for _ in range(16)]
    press(planes, xy[bleeding], blood, rng.integers(0, 16, int(bleeding.sum())))
    flat = bank_of_angles(rng, planes.mpp, VARIANTS, long=4.1, short=1.15, density=1.0)
    plump = bank_of_angles(rng, planes.mpp, VARIANTS, long=3.4, short=1.9, density=0.95)
    for bank, chosen in ((flat, kind < 0.30), (plump, (kind >= 0.30) & (kind < 0.36))):
        aside = rng.normal(0, 1.2, (int(chosen.sum()), 2))
        press(planes, xy[chosen] + aside, bank, pick_angle(rng, turn[chosen], VARIANTS))


def _press_tract(
    rng: np.random.Generator, planes: Planes, triad: Triad, spindle: Sequence[Stamp], small: Sequence[Stamp]
) -> None:
    """Fibroblasts along the collagen and lymphocytes in clusters, outside the tubes."""
    tract = triad.tract
    n = int(tract.r**2 / 38)
    xy = rng.uniform(-1, 1, (n * 3, 2)) * tract.reach + (tract.x, tract.y)
    tubes = (triad.vein, triad.artery, *triad.ducts)
    free = _distance(tract, xy) < -4
    for tube in tubes:
        free &= _distance(tube, xy) > 4
    xy = xy[free]
    xy = xy[thin(xy, np.full(len(xy), 2.3))]
    middle = np.array([tract.x, tract.y]) + rng.normal(0, 0.45 * tract.r, 2)
    near = np.exp(-((np.linalg.norm(xy - middle, axis=1) / (0.55 * tract.r)) ** 2))
    chance = rng.random(len(xy))
    lymph = chance < 1.3 * triad.cells * near + 0.10
    fibro = ~lymph & (chance > 0.66)
    press(planes, xy[lymph], small, rng.integers(0, len(small), int(lymph.sum())))
    turn = rng.normal(tract.angle, 0.4, int(fibro.sum()))
    press(planes, xy[fibro], spindle, pick_angle(rng, turn, VARIANTS))


def _press_border(
    rng: np.random.Generator,
    planes: Planes,
    blob: Blob,
    bank: Sequence[Stamp],
    *,
    spacing_um: float,
    out_um: float,
    chance: float,
    across: bool = False,
) -> None:
    """Nuclei in a row along a border, ``out_um`` outside it, lying along it or ``across``."""
    n = max(int(2 * np.pi * (blob.r + out_um) / spacing_um), 3)
    xy, turn = blob.border(n, -out_um)
    keep = rng.random(n) < chance
    xy = xy + rng.normal(0, 0.5, xy.shape)
    turn = turn + rng.normal(0, 0.12, n) + (np.pi / 2 if across else 0.0)
    press(planes, xy[keep], bank, pick_angle(rng, turn[keep], VARIANTS))


def _press_blood(rng: np.random.Generator, planes: Planes, vein: Blob, bank: Sequence[Stamp]) -> None:
    """Some veins hold blood, crowded towards one side."""
    fill = max(rng.uniform(-0.8, 0.9), 0.0)
    n = int(fill * vein.r**2 / 9)
    side = rng.uniform(0, 2 * np.pi)
    xy = np.array([vein.x, vein.y]) + rng.normal(0, 0.42 * vein.r, (n, 2))
    xy = xy + 0.35 * vein.r * np.array([np.cos(side), np.sin(side)])
    xy = xy[_distance(vein, xy) < -3.5]
    xy = xy[thin(xy, np.full(len(xy), 2.4))]
    press(planes, xy, bank, rng.integers(0, len(bank), len(xy)))


def _distance(blob: Blob, xy: F64) -> F64:
    return blob.distance(xy[:, 0].astype(np.float32), xy[:, 1].astype(np.float32)).astype(np.float64)
