"""Paints the portal tracts and the vessels over the parenchyma's planes of optical density."""

from __future__ import annotations

import numpy as np

from bleep_cli.types import F32
from bleep_train.phantom.shapes import Blob, Raster, Window
from bleep_train.phantom.stamps import Planes
from bleep_train.phantom.tissue import Tissue, Triad, artery_wall_um, duct_wall_um


def paint_vessels(rng: np.random.Generator, tissue: Tissue, base: Planes) -> None:
    """Tracts with collagen, vein, artery and ducts, and the central veins; changes ``base`` in place."""
    raster = Raster(tissue.raster.size_um, base.mpp)
    ragged = 3.0 * raster.smooth_noise(rng, 6)
    for triad in tissue.triads:
        _tract(rng, raster, base, triad, ragged)
        _vein(raster, base, triad.vein, ragged, rng.uniform(4, 7))
        _artery(raster, base, triad.artery)
        for duct in triad.ducts:
            _duct(raster, base, duct)
    for central in tissue.centrals:
        _vein(raster, base, central, ragged, rng.uniform(3, 6))


def _put(base: Planes, window: Window, cover: F32, h: F32 | float, e: F32 | float) -> None:
    """Replaces what is below by ``h`` and ``e`` with opacity ``cover``."""
    for plane, ink in ((base.h, h), (base.e, e)):
        there = plane[window.at]
        there += cover * (ink - there)


def _inside(distance: F32, soft_um: float = 1.2) -> F32:
    """1 where the signed distance is negative, 0 where positive, a soft step between."""
    step: F32 = np.clip(np.float32(0.5) - distance / np.float32(soft_um), 0, 1)
    return step


def _ring(distance: F32, from_um: float, to_um: float) -> F32:
    return _inside(distance - np.float32(to_um)) * _inside(np.float32(from_um) - distance)


def _tract(rng: np.random.Generator, raster: Raster, base: Planes, triad: Triad, ragged: F32) -> None:
    """Wavy collagen bundles that bend around the tubes."""
    tract = triad.tract
    window = raster.window(tract.x, tract.y, tract.reach + 12)
    if 0 in base.h[window.at].shape:
        return
    distance = tract.distance(window.x, window.y) + 1.6 * ragged[window.at]
    around = [b.distance(window.x, window.y) for b in (triad.vein, triad.artery, *triad.ducts)]
    nearest = np.minimum.reduce(around)
    turn = tract.angle + rng.uniform(-0.5, 0.5)
    along = np.float32(np.cos(turn)) * window.x + np.float32(np.sin(turn)) * window.y
    across = np.float32(np.cos(turn)) * window.y - np.float32(np.sin(turn)) * window.x
    warp = 4 * np.sin(along / 21) + 3 * np.sin(along / 9 + across / 17) + 1.3 * ragged[window.at]
    phase = 0.75 * across + 0.9 * nearest * np.exp(-nearest / 25) + warp
    coarse = np.sin(phase / 1.5) * (0.6 + 0.4 * np.sin(along / 13 + phase / 11))
    patchy = 0.5 + 0.5 * np.sin(along / 8 - phase / 5)
    fine = patchy * np.sin(phase * 1.55 + 2 * np.sin(along / 6) + 0.7 * ragged[window.at])
    cleft = np.clip(coarse - 0.55 + 0.2 * fine, 0, 1)
    e = 0.55 + 0.10 * coarse + 0.055 * fine - 0.75 * cleft + 0.022 * ragged[window.at]
    h = np.float32(0.125) + np.float32(0.02) * coarse - np.float32(0.15) * cleft
    _put(base, window, _inside(distance, 3.0), h.astype(np.float32), e.astype(np.float32))


def _vein(raster: Raster, base: Planes, vein: Blob, ragged: F32, wall_um: float) -> None:
    """A thin-walled vessel: the lumen is the blob, the wall around it."""
    window = raster.window(vein.x, vein.y, vein.reach + 12)
    distance = vein.distance(window.x, window.y) + 0.35 * ragged[window.at]
    uneven = np.float32(wall_um) * (1 + ragged[window.at] / 12)
    wall = _inside(np.asarray(distance - uneven, np.float32)) * _inside(-distance)
    _put(base, window, wall, 0.12, 0.60)
    _put(base, window, _inside(distance), 0.004, 0.012)


def _artery(raster: Raster, base: Planes, artery: Blob) -> None:
    """A ring of smooth muscle around a small lumen."""
    window = raster.window(artery.x, artery.y, artery.reach + 6)
    distance = artery.distance(window.x, window.y)
    _put(base, window, _inside(distance), 0.17, 0.80 + 0.06 * np.sin(distance * np.float32(2.6)))
    _put(base, window, _ring(distance, 0.3, 2.2), 0.08, 0.24)
    _put(base, window, _inside(distance + np.float32(artery_wall_um(artery))), 0.004, 0.02)


def _duct(raster: Raster, base: Planes, duct: Blob) -> None:
    """Cuboidal epithelium between a basement membrane and the lumen."""
    window = raster.window(duct.x, duct.y, duct.reach + 8)
    distance = duct.distance(window.x, window.y)
    high = duct_wall_um(duct)
    _put(base, window, _ring(distance, 0.0, 3.0), 0.12, 0.70)
    _put(base, window, _ring(distance, -high, 0.0), 0.20, 0.33)
    _put(base, window, _ring(distance, -high, -high + 1.2), 0.22, 0.50)
    _put(base, window, _inside(distance + np.float32(high)), 0.006, 0.02)
