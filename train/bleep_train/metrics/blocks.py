"""Blocks of neighbouring spots, resampled: intervals that allow for the likeness of neighbours, and differences
between methods on the same resamples.

Spots are drawn as whole squares of tissue (Lahiri, *Resampling Methods for Dependent Data*, 2003, chapter 12),
since neighbours resemble each other; folds are drawn too where there are at least three, since donors differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np

from bleep_cli.cohort.patches import parts_of
from bleep_cli.cohort.pitch import pitch
from bleep_cli.types import F32, F64, I64, Str

EDGE = 5.0  # spot pitches: about how far expression resembles its neighbours on a section
MIN_FOLDS = 3  # fewer are not resampled: two folds have three different draws
RESAMPLES = 1000


def spatial_blocks(xy: F64, section: Str, edge: float = EDGE) -> I64:
    """The block of each spot, i64[n] from 0: squares of ``edge`` pitches inside its section.

    ``xy`` f64[n, 2] in any unit, ``section`` str[n]. The squares of a section start at its first row and column.
    """
    block = np.zeros(len(xy), np.int64)
    known = 0
    for rows in parts_of(section):
        at = xy[rows]
        # half a pitch of margin, so that no row of spots lies on an edge and falls apart by rounding
        step = pitch(at)
        cell = np.floor((at - at.min(axis=0) + step / 2) / (edge * step)).astype(np.int64)
        _, found = np.unique(cell, axis=0, return_inverse=True)
        block[rows] = known + found.ravel()
        known = int(block[rows].max()) + 1
    return block


def block_pearson(predicted: F32, measured: F32, blocks: I64, fold: str, resamples: int = RESAMPLES) -> F64:
    """Pearson r per gene over each resample of blocks, f64[resamples, g]; NaN where a side is constant or missing.

    ``predicted``, ``measured`` f32[m, g], ``blocks`` i64[m]. The draw depends on the name of the fold alone, so
    that all methods of a fold meet the same resamples.
    """
    from scipy import sparse

    count = int(blocks.max()) + 1
    member = sparse.csr_matrix((np.ones(len(blocks)), (blocks, np.arange(len(blocks)))), (count, len(blocks)))
    p, m = (side - side.mean(axis=0, dtype=np.float64) for side in (predicted, measured))
    draws = np.random.default_rng(crc32(f"blocks {fold}".encode())).multinomial(
        count, np.full(count, 1 / count), resamples
    )
    spots = draws @ np.bincount(blocks, minlength=count)
    p1, m1, pp, mm, pm = ((draws @ (member @ side)) / spots[:, None] for side in (p, m, p * p, m * m, p * m))
    p_var, m_var = pp - p1 * p1, mm - m1 * m1
    varies = (p_var > 1e-12) & (m_var > 1e-12)  # as ``pearson`` in ``per_gene.py``; false for NaN
    return np.where(varies, (pm - p1 * m1) / np.sqrt(np.where(varies, p_var * m_var, 1.0)), np.nan)


def over_folds(samples: Sequence[F64], seed: int = 0) -> F64:
    """Resamples of the mean over folds, f64[resamples], from the resamples of every fold.

    From ``MIN_FOLDS`` folds on, each takes as many folds with replacement, and of a fold drawn twice two
    resamples.
    """
    stacked = np.stack(samples)
    folds, resamples = stacked.shape
    if folds < MIN_FOLDS:
        return np.asarray(stacked.mean(axis=0))
    rng = np.random.default_rng(seed)
    chosen = rng.integers(folds, size=(folds, resamples))
    which = np.stack([rng.permutation(resamples) for _ in range(folds)])
    return np.asarray(stacked[chosen, which].mean(axis=0))
