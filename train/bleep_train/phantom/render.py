"""Draws a `Tissue` as if it were stained with haematoxylin and eosin.

Two planes of optical density are built at `BASE_UM` (liver plates, sinusoids, tracts, vessels),
enlarged to the slide's resolution, stamped with nuclei and droplets, and turned into RGB by Beer and Lambert.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import fft, ndimage

from bleep_cli.types import F32, F64, U8, Progress, no_progress
from bleep_train.phantom.cells import press_cells
from bleep_train.phantom.portal import paint_vessels
from bleep_train.phantom.shapes import Blob, Raster, thin
from bleep_train.phantom.stamps import Planes
from bleep_train.phantom.tissue import Tissue

BASE_UM = 1.0
PLATE_UM = 2.0
BAND = 512
"""Rows that are turned into colour at a time."""
WAVE_UM = 27.0
"""Distance from one sinusoid to the next."""


@dataclass(frozen=True)
class Stain:
    """How one donor's slides look; colours as (R, G, B)."""

    haematoxylin: tuple[float, float, float]
    """Optical density per unit of stain."""
    eosin: tuple[float, float, float]
    """Optical density per unit of stain."""
    strength: tuple[float, float]
    """Of haematoxylin and of eosin."""
    glass: tuple[float, float, float]
    """The empty glass, 0..255."""


@dataclass(frozen=True)
class Plates:
    """Liver cell plates on a raster of ``PLATE_UM``."""

    raster: Raster
    """Where its pixels lie."""
    wave: F32
    """f32[h, w] in [-1, 1], 1 in the middle of a sinusoid and -1 in the middle of a plate"""
    angle: F32
    """f32[h, w] the direction they run in"""


def donor_stain(rng: np.random.Generator) -> Stain:
    """A donor's stain: both vectors turned a little, strengths × 0.8 to 1.3, the glass slightly tinted."""

    def turned(base: tuple[float, float, float], by: float) -> tuple[float, float, float]:
        vector = np.clip(np.asarray(base) + rng.normal(0, by, 3), 0.03, None)
        r, g, b = vector / np.linalg.norm(vector)
        return float(r), float(g), float(b)

    h, e = turned((0.60, 0.73, 0.33), 0.04), turned((0.20, 0.85, 0.49), 0.05)
    strength = np.exp(rng.uniform(np.log((0.88, 0.78)), np.log((1.35, 1.3))))
    glass = np.array([244.0, 242.0, 243.0]) + rng.uniform(-4, 4) + rng.uniform(-1.2, 1.2, 3)
    return Stain(
        h, e, (float(strength[0]), float(strength[1])), (float(glass[0]), float(glass[1]), float(glass[2]))
    )


def render(
    rng: np.random.Generator, tissue: Tissue, stain: Stain, mpp: float, progress: Progress = no_progress
) -> U8:
    """The section as RGB u8[h, w, 3] with pixels of ``mpp`` µm. Peak memory is about 25 bytes per pixel."""
    stages = 5
    progress("plates", 0, stages)
    plates = _plates(rng, tissue)
    progress("cytoplasm", 1, stages)
    seeds = _hepatocytes(rng, tissue, plates)
    base = _parenchyma(rng, tissue, plates, seeds)
    paint_vessels(rng, tissue, base)
    progress("cells", 2, stages)
    shape = Raster(tissue.raster.size_um, mpp).shape
    planes = Planes(_resize(base.h, shape), _resize(base.e, shape), mpp)
    del base
    _grain(rng, planes)
    press_cells(rng, tissue, planes, seeds, _sinusoid_points(rng, tissue, plates))
    progress("artefacts", 3, stages)
    _fold(tissue, planes)
    _cut_out(rng, tissue, planes)
    progress("stain", 4, stages)
    return _to_rgb(rng, planes, stain)


def _plates(rng: np.random.Generator, tissue: Tissue) -> Plates:
    """Stripes that run from portal to central and fork: band-passed noise of a locally turned direction."""
    raster = Raster(tissue.raster.size_um, PLATE_UM)
    z = ndimage.gaussian_filter(tissue.z, 30 / tissue.raster.step)
    gy, gx = np.gradient(z)
    drift = 0.45 * tissue.raster.smooth_noise(rng, 60) + 0.35 * tissue.raster.smooth_noise(rng, 16)
    angle = np.arctan2(gy, gx) + drift
    double = [_resize(np.asarray(f(2 * angle), np.float32), raster.shape) for f in (np.cos, np.sin)]
    angle = (np.arctan2(double[1], double[0]) / 2) % np.float32(np.pi)
    spectrum = fft.fft2(rng.standard_normal(raster.shape, dtype=np.float32))
    fy = fft.fftfreq(raster.shape[0], PLATE_UM).astype(np.float32)[:, None]
    fx = fft.fftfreq(raster.shape[1], PLATE_UM).astype(np.float32)[None, :]
    radial = np.exp(-(((np.hypot(fx, fy) * WAVE_UM - 1) / 0.32) ** 2))
    turn = np.arctan2(fy, fx)
    many = 8
    place = angle * np.float32(many / np.pi)
    field = np.zeros(raster.shape, np.complex64)
    for k in range(many):
        off = (turn - (np.pi * k / many + np.pi / 2) + np.pi) % (2 * np.pi) - np.pi
        band = fft.ifft2(spectrum * (radial * np.exp(-((off / 0.50) ** 2)))).astype(np.complex64)
        field += np.clip(1 - np.abs(place - k), 0, 1) * band
        if k == 0:
            field += np.clip(1 - np.abs(place - many), 0, 1) * band.conj()
    field *= np.exp(1j * 0.55 * raster.smooth_noise(rng, 5)).astype(np.complex64)
    wave = field.real / np.maximum(np.abs(field), np.float32(1e-12))
    return Plates(raster, ndimage.gaussian_filter(wave, 0.7), angle.astype(np.float32))


def _slide_to(plates: Plates, xy: F64, sign: float) -> F64:
    """Moves points f64[n, 2] to the nearest crest (``sign`` 1) or trough (-1) of the plates' wave."""
    slopes = [np.asarray(g, np.float32) for g in np.gradient(plates.wave)[::-1]]
    for _ in range(5):
        move = np.column_stack([plates.raster.sample(g, xy) for g in slopes])
        xy = xy + sign * 9.0 * move / PLATE_UM
    return xy


def _scatter(rng: np.random.Generator, size_um: tuple[float, float], pitch: float) -> F64:
    """One point per square of ``pitch`` µm, anywhere in it, in random order. f64[n, 2]."""
    cols, rows = (int(np.ceil(s / pitch)) for s in size_um)
    col, row = np.meshgrid(np.arange(cols), np.arange(rows))
    xy = (np.column_stack([col.ravel(), row.ravel()]) + rng.uniform(0, 1, (cols * rows, 2))) * pitch
    shuffled: F64 = rng.permutation(xy)
    return shuffled


def _hepatocytes(rng: np.random.Generator, tissue: Tissue, plates: Plates) -> F64:
    """Cell middles on the plates, closer together near the portal tracts. f64[n, 2]."""
    xy = _slide_to(plates, _scatter(rng, tissue.raster.size_um, 11.0), -1.0)
    radius = 7.4 + 3.0 * tissue.raster.sample(tissue.z, xy).astype(np.float64)
    return xy[thin(xy, radius * rng.uniform(0.9, 1.1, len(xy)))]


def _sinusoid_points(rng: np.random.Generator, tissue: Tissue, plates: Plates) -> tuple[F64, F64]:
    """Places for lining cells and blood: positions f64[n, 2] in the sinusoids and directions f64[n]."""
    xy = _slide_to(plates, _scatter(rng, tissue.raster.size_um, 15.0), 1.0)
    xy = xy[thin(xy, np.full(len(xy), 4.5))]
    xy = xy[tissue.raster.sample(tissue.area["hepatocyte"], xy) > 0.85]
    turn = plates.angle[tuple(np.clip((xy[:, ::-1] / PLATE_UM).astype(int), 0, np.array(plates.wave.shape) - 1).T)]
    return xy, turn.astype(np.float64)


def _parenchyma(rng: np.random.Generator, tissue: Tissue, plates: Plates, seeds: F64) -> Planes:
    """Cytoplasm, cell borders and sinusoids; eosin falls and gaps widen towards the central vein."""
    raster = Raster(tissue.raster.size_um, BASE_UM)
    z = _resize(tissue.z, raster.shape)
    wave = _resize(plates.wave, raster.shape)
    label = _nearest(raster, seeds)
    tone = rng.standard_normal((2, len(seeds))).astype(np.float32)
    grain = raster.smooth_noise(rng, 1.3)
    blotch = raster.smooth_noise(rng, 5)
    e = (0.73 - 0.27 * z) * (1 + 0.085 * tone[0][label] + 0.05 * grain + 0.06 * blotch)
    h = (0.165 - 0.060 * z) * (1 + 0.15 * tone[1][label] + 0.16 * grain - 0.12 * blotch)
    border = _borders(label)
    e += np.float32(0.27) * border
    broad = raster.smooth_noise(rng, 11)
    gap = 0.92 - 0.31 * z + 0.11 * broad
    open_border = np.clip(border * 2.2 - 1.1 + 0.55 * (broad - 0.9), 0, 1) * np.float32(0.7)
    sinusoid = np.maximum(np.clip((wave - gap) * 6 + 0.5, 0, 1), open_border)
    clear = np.float32(1) - sinusoid * (0.84 + 0.10 * np.tanh(blotch))
    return Planes((h * clear).astype(np.float32), (e * clear).astype(np.float32), BASE_UM)


def _borders(label: NDArray[np.int32]) -> F32:
    """Soft lines f32[h, w] where two cells meet, about 1 in their middle."""
    line = np.zeros(label.shape, np.float32)
    line[:, 1:] += label[:, 1:] != label[:, :-1]
    line[1:] += label[1:] != label[:-1]
    soft: F32 = ndimage.gaussian_filter(np.minimum(line, 1), 0.75)
    return soft


def _grain(rng: np.random.Generator, planes: Planes) -> None:
    """The fine mottling of cytoplasm, at the slide's own resolution."""
    period = 1024
    fine = ndimage.gaussian_filter(
        rng.standard_normal((period, period), np.float32), 0.55 / planes.mpp, mode="wrap"
    )
    fine /= fine.std()
    columns = np.arange(planes.h.shape[1]) % period
    for top in range(0, planes.h.shape[0], BAND):
        rows = slice(top, min(top + BAND, planes.h.shape[0]))
        mottle = fine[np.arange(rows.start, rows.stop) % period][:, columns]
        planes.e[rows] *= 1 + np.float32(0.12) * mottle
        planes.h[rows] *= 1 - np.float32(0.20) * mottle


def _nearest(raster: Raster, seeds: F64) -> NDArray[np.int32]:
    """The index of the seed nearest to each pixel, i32[h, w] (to the pixel that holds the seed)."""
    rows, cols = raster.shape
    at = np.clip((seeds[:, ::-1] / raster.step).astype(np.int64), 0, [rows - 1, cols - 1])
    number = np.full(raster.shape, -1, np.int32)
    number[at[:, 0], at[:, 1]] = np.arange(len(seeds), dtype=np.int32)
    where = ndimage.distance_transform_edt(number < 0, return_distances=False, return_indices=True)
    nearest: NDArray[np.int32] = number[where[0], where[1]]
    return nearest


def _resize(plane: F32, shape: tuple[int, int]) -> F32:
    """Bilinear resampling of a whole plane, f32[h, w] to ``shape``; edges stay aligned."""
    picture = Image.fromarray(np.ascontiguousarray(plane, np.float32))
    return np.array(picture.resize(shape[::-1], Image.Resampling.BILINEAR), np.float32)


def _fold(tissue: Tissue, planes: Planes) -> None:
    """Lays a shifted copy of the tissue over itself along the fold."""
    fold = tissue.fold
    if fold is None:
        return
    window = Raster(tissue.raster.size_um, planes.mpp).window(fold.x, fold.y, 1.1 * fold.length)
    strength = fold.strength(window.x, window.y)
    shift = round(31 / planes.mpp)
    for plane in (planes.h, planes.e):
        there = plane[window.at]
        there += strength * (0.25 * there + 0.95 * np.roll(there, (shift, shift // 2), (0, 1)))


def _cut_out(rng: np.random.Generator, tissue: Tissue, planes: Planes) -> None:
    """Removes what lies outside the outline, darkens the rim a little and drops some specks on the glass."""
    raster = Raster(tissue.raster.size_um, planes.mpp)
    outline = _resize(tissue.edge, raster.shape)
    for top in range(0, raster.shape[0], BAND):
        rows = slice(top, min(top + BAND, raster.shape[0]))
        edge = outline[rows]
        keep = np.clip(edge / 2 + 0.5, 0, 1)
        planes.h[rows] *= keep
        planes.e[rows] *= keep * (1 + 0.22 * np.exp(-np.clip(edge, 0, None) / 9))
    w, h = tissue.raster.size_um
    spots = rng.uniform(0, 1, (40, 2)) * (w, h)
    for x, y in spots[tissue.raster.sample(tissue.edge, spots) < -12][:7]:
        speck = Blob(
            x, y, rng.uniform(1.5, 4.5), rng.uniform(1, 2.5), rng.uniform(0, 3), ((0.15, 1.0), (0.2, 2.0))
        )
        at, xx, yy = raster.window(x, y, speck.reach + 2)
        cover = np.clip(0.5 - speck.distance(xx, yy) / 1.5, 0, 1)
        planes.h[at] += cover * np.float32(rng.uniform(0.2, 0.9))
        planes.e[at] += cover * np.float32(rng.uniform(0.1, 0.5))


def _to_rgb(rng: np.random.Generator, planes: Planes, stain: Stain) -> U8:
    """Beer-Lambert: glass · exp(-(h · haematoxylin + e · eosin)), plus a trace of sensor noise."""
    height, width = planes.h.shape
    rgb = np.empty((height, width, 3), np.uint8)
    period = 512
    noise = ndimage.gaussian_filter(rng.standard_normal((period, period)).astype(np.float32), 0.8, mode="wrap")
    noise *= np.float32(0.7) / noise.std()
    columns = np.arange(width) % period
    for top in range(0, height, BAND):
        rows = slice(top, min(top + BAND, height))
        h = planes.h[rows] * np.float32(stain.strength[0])
        e = planes.e[rows] * np.float32(stain.strength[1])
        speckle = noise[np.arange(rows.start, rows.stop) % period][:, columns]
        for channel in range(3):
            density = h * np.float32(stain.haematoxylin[channel]) + e * np.float32(stain.eosin[channel])
            light = np.float32(stain.glass[channel]) * np.exp(-density) + speckle
            rgb[rows, :, channel] = np.clip(light + np.float32(0.5), 0, 255)
    return rgb
