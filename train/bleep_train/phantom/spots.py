"""Where the spots lie, what is under them, and the counts drawn there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from bleep_cli.types import F32, F64, I64, Str
from bleep_train.phantom.genes import TARGET_SUM, expected_cp10k, genes
from bleep_train.phantom.shapes import Raster
from bleep_train.phantom.tissue import Tissue


@dataclass(frozen=True)
class GroundTruth:
    """What lies under a spot, for every place: means over the spot's disc."""

    raster: Raster
    """Where the pixels of the fields lie."""
    cover: F32
    """f32[h, w] fraction of the disc that is tissue"""
    z: F32
    """f32[h, w] the hepatocytes' mean zonation coordinate"""
    area: dict[str, F32]
    """f32[h, w] by compartment: its fraction of the tissue"""
    factors: F64
    """f64[genes] the donor's"""

    def expected(self, xy_um: F64) -> F64:
        """Noise-free counts per 10,000 of every gene at positions f64[n, 2]: f64[n, genes]."""
        area = {name: self.raster.sample(plane, xy_um) for name, plane in self.area.items()}
        return expected_cp10k(self.raster.sample(self.z, xy_um), area, self.factors)

    def expected_log1p(self, xy_um: F64) -> F32:
        """log1p of `expected` for the informative genes: f32[n, g]."""
        told = np.array([g.informative for g in genes()])
        return np.log1p(self.expected(xy_um)[:, told]).astype(np.float32)


@dataclass(frozen=True)
class Spots:
    """The capture grid: n spots."""

    barcodes: Str
    """str[n]"""
    array_row: I64
    """i64[n]"""
    array_col: I64
    """i64[n]"""
    xy_um: F64
    """f64[n, 2] centres (x, y) in µm"""
    in_tissue: NDArray[np.bool_]
    """bool[n]"""


def disc_truth(tissue: Tissue, diameter_um: float, factors: F64) -> GroundTruth:
    """Averages the fields of ``tissue`` over a disc of ``diameter_um``."""
    step = tissue.raster.step
    half = int(np.ceil(diameter_um / 2 / step))
    offset = np.arange(-half, half + 1) * step
    disc = np.clip(0.5 + (diameter_um / 2 - np.hypot(offset[:, None], offset)) / step, 0, 1)
    disc = (disc / disc.sum()).astype(np.float32)

    def mean(plane: F32) -> F32:
        smooth: F32 = np.clip(signal.fftconvolve(plane, disc, mode="same"), 0, 1).astype(np.float32)
        return smooth

    area = {name: mean(plane) for name, plane in tissue.area.items()}
    cover = np.sum(list(area.values()), axis=0, dtype=np.float32)
    cells = area["hepatocyte"]
    of_cells = mean(tissue.z * tissue.area["hepatocyte"]) / np.maximum(cells, np.float32(1e-3))
    z = np.where(cells > 0.01, of_cells, mean(tissue.z))
    share = {name: np.where(cover > 0.01, a / np.maximum(cover, np.float32(1e-3)), 0) for name, a in area.items()}
    return GroundTruth(tissue.raster, np.minimum(cover, 1), np.clip(z, 0, 1), share, factors)


def spot_grid(rng: np.random.Generator, truth: GroundTruth, pitch_um: float) -> Spots:
    """Visium's staggered grid over the section: even columns on even rows, odd on odd, ``pitch_um`` apart.

    A spot is in tissue where at least half of its disc is.
    """
    width, height = truth.raster.size_um
    rise = pitch_um * np.sqrt(0.75)
    rows, cols = int((height - pitch_um) / rise) + 1, int((width - pitch_um) / (pitch_um / 2)) + 1
    row, col = (a.ravel() for a in np.mgrid[0 : min(rows, 78), 0 : min(cols, 128)])
    staggered = (row + col) % 2 == 0
    row, col = row[staggered], col[staggered]
    xy = np.column_stack([pitch_um / 2 + col * pitch_um / 2, pitch_um / 2 + row * rise])
    inside = truth.raster.sample(truth.cover, xy) >= 0.5
    return Spots(_barcodes(rng, len(xy)), row.astype(np.int64), col.astype(np.int64), xy, inside)


def _barcodes(rng: np.random.Generator, n: int) -> Str:
    """Different 16-letter barcodes with 10x's suffix, in random order."""
    letters = np.array(list("ACGT"))
    made: dict[str, None] = {}
    while len(made) < n:
        made["".join(letters[rng.integers(0, 4, 16)]) + "-1"] = None
    return np.array(list(made))


def draw_counts(rng: np.random.Generator, truth: GroundTruth, xy_um: F64, umi_per_spot: float) -> I64:
    """Counts i64[n, genes]: negative binomial around the expectation times a lognormal library size."""
    spread = 0.3
    library = umi_per_spot * rng.lognormal(-(spread**2) / 2, spread, len(xy_um))
    library *= truth.raster.sample(truth.cover, xy_um)
    library *= 1 - 0.7 * truth.raster.sample(truth.area["lumen"], xy_um)
    mean = truth.expected(xy_um) * (library / TARGET_SUM)[:, None]
    dispersion = np.array([g.dispersion for g in genes()])
    counts: I64 = rng.poisson(rng.gamma(dispersion, mean / dispersion)).astype(np.int64)
    return counts
