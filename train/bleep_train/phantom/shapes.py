"""Pixel grids in µm and the wavy ellipses that vessels, ducts and tracts are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, spatial

from bleep_cli.types import F32, F64


@dataclass(frozen=True)
class Raster:
    """A pixel grid over the section; pixel (row, col) is centred at ((col + ½)·step, (row + ½)·step) µm."""

    size_um: tuple[float, float]
    """(width, height) in µm."""
    step: float
    """µm from a pixel to the next."""

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return round(self.size_um[1] / self.step), round(self.size_um[0] / self.step)

    def axes(self) -> tuple[F32, F32]:
        """x f32[1, w] and y f32[h, 1] of the pixel centres, µm."""
        rows, cols = self.shape
        x = (np.arange(cols, dtype=np.float32)[None, :] + np.float32(0.5)) * np.float32(self.step)
        y = (np.arange(rows, dtype=np.float32)[:, None] + np.float32(0.5)) * np.float32(self.step)
        return x, y

    def window(self, x: float, y: float, reach: float) -> Window:
        """The part within ``reach`` µm of (x, y), possibly empty."""
        rows, cols = self.shape
        r0, r1 = (int(np.clip(np.floor((y + d) / self.step), 0, rows)) for d in (-reach, reach + self.step))
        c0, c1 = (int(np.clip(np.floor((x + d) / self.step), 0, cols)) for d in (-reach, reach + self.step))
        xx, yy = self.axes()
        return Window((slice(r0, r1), slice(c0, c1)), xx[:, c0:c1], yy[r0:r1])

    def sample(self, plane: F32, xy_um: F64) -> F32:
        """``plane`` at positions f64[n, 2] by bilinear interpolation, edge values beyond the border."""
        at = np.stack([xy_um[:, 1], xy_um[:, 0]]) / self.step - 0.5
        values: F32 = ndimage.map_coordinates(plane, at, output=np.float32, order=1, mode="nearest")
        return values

    def smooth_noise(self, rng: np.random.Generator, scale_um: float) -> F32:
        """Gaussian noise of unit variance and correlation length ``scale_um``, f32[h, w]."""
        white = rng.standard_normal(self.shape, dtype=np.float32)
        noise: F32 = ndimage.gaussian_filter(white, scale_um / self.step, mode="reflect")
        noise /= np.maximum(noise.std(), np.float32(1e-6))
        return noise


class Window(NamedTuple):
    """A rectangle of a raster: its slices and its axes, x f32[1, w] and y f32[h, 1] in µm."""

    at: tuple[slice, slice]
    x: F32
    y: F32


@dataclass(frozen=True)
class Blob:
    """An ellipse with a wavy border."""

    x: float
    """Its middle, in µm."""
    y: float
    """Its middle, in µm."""
    r: float
    """Mean radius in µm."""
    aspect: float = 1.0
    """Long over short axis."""
    angle: float = 0.0
    """Of the long axis, in radians."""
    wobble: tuple[tuple[float, float], ...] = ()
    """(amplitude, phase) of harmonic 2, 3, …"""

    @property
    def reach(self) -> float:
        """A radius that certainly holds the whole blob."""
        return self.r * float(np.sqrt(self.aspect)) * (1 + sum(a for a, _ in self.wobble)) + 4

    def distance(self, x: F32, y: F32) -> F32:
        """About the signed distance to the border in µm, negative inside; broadcasts x and y."""
        dx, dy = x - np.float32(self.x), y - np.float32(self.y)
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        root = np.float32(np.sqrt(self.aspect))
        u, v = (dx * cos + dy * sin) / root, (dy * cos - dx * sin) * root
        theta = np.arctan2(v, u)
        border = np.full(theta.shape, self.r, np.float32)
        for harmonic, (amplitude, phase) in enumerate(self.wobble, start=2):
            border += np.float32(self.r * amplitude) * np.cos(harmonic * theta + np.float32(phase))
        distance: F32 = (np.hypot(u, v) - border).astype(np.float32)
        return distance

    def border(self, n: int, inset_um: float = 0.0) -> tuple[F64, F64]:
        """``n`` points ``inset_um`` inside the border, f64[n, 2], and their tangent angles f64[n]."""
        t = np.linspace(0, 2 * np.pi, n, endpoint=False)
        r = self.r * (1 + sum(a * np.cos(k * t + p) for k, (a, p) in enumerate(self.wobble, start=2))) - inset_um
        root = np.sqrt(self.aspect)
        u, v = r * np.cos(t) * root, r * np.sin(t) / root
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        xy = np.stack([self.x + u * cos - v * sin, self.y + u * sin + v * cos], axis=1)
        step = np.roll(xy, -1, axis=0) - np.roll(xy, 1, axis=0)
        return xy, np.arctan2(step[:, 1], step[:, 0])


def thin(xy: F64, radius: F64) -> NDArray[np.bool_]:
    """Which of the points f64[n, 2] to keep so that no two are closer than the sum of their radii f64[n].

    The same answer as going through them in order and dropping each that is too close to one kept before.
    """
    pairs = spatial.cKDTree(xy).query_pairs(2 * float(radius.max(initial=0)), output_type="ndarray")
    gap = np.linalg.norm(xy[pairs[:, 0]] - xy[pairs[:, 1]], axis=1)
    pairs = np.sort(pairs[gap < radius[pairs[:, 0]] + radius[pairs[:, 1]]], axis=1)
    dropped = np.zeros(len(xy), bool)
    while len(pairs):
        waiting = np.zeros(len(xy), bool)
        waiting[pairs[:, 1]] = True
        dropped[pairs[~waiting[pairs[:, 0]], 1]] = True
        pairs = pairs[~dropped[pairs].any(axis=1) & waiting[pairs[:, 0]]]
    return ~dropped
