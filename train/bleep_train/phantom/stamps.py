"""Small precomputed pictures of nuclei, blood cells and droplets, and how they are pressed into the planes.

A stamp is an opacity mask with the optical density of haematoxylin and eosin below it. Banks are made once
per section at the section's resolution; pressing tens of thousands of them costs about a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from bleep_cli.types import F32, F64, I64


@dataclass
class Planes:
    """Optical density of the two stains; changed in place."""

    h: F32
    """f32[h, w] haematoxylin"""
    e: F32
    """f32[h, w] eosin"""
    mpp: float
    """µm per pixel."""


@dataclass(frozen=True)
class Stamp:
    """One cell's picture, put in place of what was there."""

    opacity: F32
    """f32[p, p] in [0, 1]"""
    h: F32
    """f32[p, p] haematoxylin"""
    e: F32
    """f32[p, p] eosin"""


ANGLES = 24
"""Directions in a bank of elongated stamps, over half a turn."""


def nucleus(
    rng: np.random.Generator,
    mpp: float,
    radii_um: tuple[float, float],
    angle: float = 0.0,
    *,
    density: float = 1.0,
    rim: float = 0.3,
    nucleolus: float = 0.0,
    grain: float = 0.2,
) -> Stamp:
    """An elliptic nucleus: chromatin with a darker ``rim``, ``grain`` and perhaps a ``nucleolus``."""
    half = int(np.ceil(max(radii_um) / mpp)) + 3
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) * np.float32(mpp)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    theta = np.arctan2(v, u)
    wavy = 1 + 0.05 * np.cos(2 * theta + rng.uniform(0, 6)) + 0.04 * np.cos(3 * theta + rng.uniform(0, 6))
    rho = np.hypot(u / radii_um[0], v / radii_um[1]) / wavy
    soft = 0.75 * max(mpp, 0.5) / min(radii_um)
    opacity = np.clip((1 - rho) / soft + 0.5, 0, 1)
    clumps = ndimage.gaussian_filter(rng.standard_normal(x.shape), 0.8 / mpp)
    chromatin = 1 - rim + rim * np.clip(rho, 0, 1) ** 4 + grain * clumps / (clumps.std() + 1e-6)
    for _ in range(int(rng.poisson(nucleolus))):
        far, at = 0.5 * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        cx, cy = far * radii_um[0] * np.cos(at), far * radii_um[1] * np.sin(at)
        chromatin += 0.9 * np.exp(-((u - cx) ** 2 + (v - cy) ** 2) / (2 * 0.62**2))
    h = density * np.clip(chromatin, 0.15, 1.7)
    return Stamp(*(np.asarray(a, np.float32) for a in (opacity, h, np.full_like(x, 0.24))))


def droplet(mpp: float, radius_um: float) -> Stamp:
    """A fat vacuole: empty, with a crisp border."""
    half = int(np.ceil(radius_um / mpp)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) * np.float32(mpp)
    rho = np.hypot(x, y)
    opacity = np.clip((np.float32(radius_um) - rho) / np.float32(mpp) + np.float32(0.5), 0, 1)
    rim = np.clip(1 - (np.float32(radius_um) - rho) / np.float32(0.9), 0, 1)
    return Stamp(opacity, 0.008 + np.float32(0.05) * rim, 0.015 + np.float32(0.75) * rim)


def blood_cell(rng: np.random.Generator, mpp: float) -> Stamp:
    """An erythrocyte: an orange-pink disc of about 6 µm, paler in its middle."""
    radii = rng.uniform(2.5, 3.2), rng.uniform(2.2, 3.2)
    half = int(np.ceil(max(radii) / mpp)) + 2
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(np.float32) * np.float32(mpp)
    rho = np.hypot(x / radii[0], y / radii[1])
    opacity = np.clip((1 - rho) * 4 + 0.5, 0, 1) * 0.9
    e = rng.uniform(0.85, 1.15) * (0.8 + 0.25 * rho**2)
    return Stamp(*(np.asarray(a, np.float32) for a in (opacity, np.full_like(x, 0.03), e)))


def bank_of_angles(rng: np.random.Generator, mpp: float, variants: int, **look: float) -> list[Stamp]:
    """Elongated nuclei, ``variants`` in each of `ANGLES` directions; ``look``: long, short, density."""
    return [
        nucleus(
            rng,
            mpp,
            (look["long"] * rng.uniform(0.75, 1.25), look["short"] * rng.uniform(0.8, 1.2)),
            np.pi * (i // variants) / ANGLES,
            density=look["density"] * rng.uniform(0.85, 1.15),
            rim=0.1,
        )
        for i in range(variants * ANGLES)
    ]


def pick_angle(rng: np.random.Generator, angles: F64, variants: int) -> I64:
    """The stamp of a `bank_of_angles` for each direction f64[n] (radians), its variant by chance."""
    turn = np.round(angles / np.pi * ANGLES).astype(np.int64) % ANGLES
    chosen: I64 = turn * variants + rng.integers(0, variants, len(angles))
    return chosen


def press(planes: Planes, xy_um: F64, bank: Sequence[Stamp], which: I64) -> None:
    """Presses ``bank[which[i]]`` at each of the positions f64[n, 2] (µm); what falls outside is cut off."""
    height, width = planes.h.shape
    centres = np.floor(xy_um / planes.mpp).astype(np.int64)
    for (cx, cy), index in zip(centres.tolist(), which.tolist(), strict=True):
        stamp = bank[index]
        half = stamp.opacity.shape[0] // 2
        top, left = cy - half, cx - half
        r0, r1 = max(top, 0), min(cy + half + 1, height)
        c0, c1 = max(left, 0), min(cx + half + 1, width)
        if r0 >= r1 or c0 >= c1:
            continue
        cut = (slice(r0 - top, r1 - top), slice(c0 - left, c1 - left))
        opacity = stamp.opacity[cut]
        for plane, ink in ((planes.h, stamp.h), (planes.e, stamp.e)):
            there = plane[r0:r1, c0:c1]
            there += opacity * (ink[cut] - there)
