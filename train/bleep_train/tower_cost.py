"""What the image tower at another precision costs: the same tiles through both, their neighbours and predictions.

Tiles are those of sections that were held out of training, where the run has any. Else they are the training
sections', each sought among the spots of the others: the towers knew them, but the difference between two
precisions of one tower hardly depends on that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from bleep_cli.encoder import OnnxEncoder, embed_views
from bleep_cli.impute import impute_blocks, weigh
from bleep_cli.precision import Cost
from bleep_cli.reference import Built
from bleep_cli.search import ExactIndex
from bleep_cli.types import F32, I64, U8, Progress, Section, no_progress
from bleep_train.measured import gene_columns, measured_log1p
from bleep_train.metrics import pearson, pick_gene_sets

OVERLAP_K = 50
CALIBRATION_TILES = 128
BATCH_TILES = 32


@dataclass(frozen=True)
class Probe:
    """Tiles u8[n, p, p, c] of one section, which of them are asked i64[q], what was measured there f32[q, 50] on
    the reference's HVG50, and the rows i64[m] of the reference they are compared with."""

    tiles: U8
    asked: I64
    measured: F32
    rows: I64


@dataclass(frozen=True)
class Probes:
    """What precisions are compared on: ``built`` the reference, ``genes`` i64[50] its HVG50, ``parts`` a probe per
    section, ``told`` the sections in words."""

    built: Built
    genes: I64
    parts: tuple[Probe, ...]
    told: str


def choose_probes(built: Built, sections: Sequence[Section], tiles: Sequence[U8], *, held_out: bool) -> Probes:
    """Probes of ``sections`` with their ``tiles``; not ``held_out``: they are those that ``built`` was built of,
    and the tiles that int8 is calibrated on are left out."""
    arrays, info = built.arrays, built.info
    everywhere = np.ones(len(arrays.symbols), bool)
    for section in sections:
        everywhere &= gene_columns(section, arrays.symbols, arrays.gene_ids) >= 0
    genes = pick_gene_sets(arrays.expression, arrays.symbols, everywhere).sets["hvg50"]
    used = [np.empty(0, np.int64)] * len(tiles) if held_out else calibration_rows([len(t) for t in tiles])
    parts = []
    for section, pixels, calibrated in zip(sections, tiles, used, strict=True):
        measured = measured_log1p(section, arrays.symbols, arrays.gene_ids, info.target_sum)[:, genes]
        others = np.flatnonzero(arrays.section != section.id)
        rows = others if len(others) and not held_out else np.arange(len(arrays.section))
        left = np.setdiff1d(np.arange(len(pixels)), calibrated)
        parts.append(Probe(pixels, left, measured[left], rows))
    names = ", ".join(s.id for s in sections)
    if held_out:
        return Probes(built, genes, tuple(parts), f"held-out sections {names}")
    against = "one against the others" if len(sections) > 1 else "against itself"
    return Probes(built, genes, tuple(parts), f"training sections {names}, {against}")


def calibration_rows(counts: Sequence[int]) -> list[I64]:
    """Rows of each section's tiles that int8 is calibrated on, ``CALIBRATION_TILES`` evenly, or half of fewer."""
    total = sum(counts)
    chosen = np.unique(np.linspace(0, total - 1, min(CALIBRATION_TILES, max(1, total // 2))).astype(np.int64))
    starts = np.cumsum([0, *counts])
    return [chosen[(chosen >= a) & (chosen < b)] - a for a, b in pairwise(starts)]


def embed_probes(model: bytes, probes: Probes, progress: Progress = no_progress) -> list[F32]:
    """Unit vectors f32[q, d] of each probe's tiles, in the views that a query uses."""
    encoder, views = OnnxEncoder(model, "cpu"), probes.built.info.recommended_views
    total, done, out = sum(len(p.asked) for p in probes.parts), 0, []
    for probe in probes.parts:
        vectors = []
        for start in range(0, len(probe.asked), BATCH_TILES):
            progress("tiles compared", done + start, total)
            rows = probe.asked[start : start + BATCH_TILES]
            vectors.append(embed_views(encoder, np.asarray(probe.tiles[rows]), views))
        out.append(np.concatenate(vectors))
        done += len(probe.asked)
    progress("tiles compared", total, total)
    return out


def cost_of(full: Sequence[F32], other: Sequence[F32], probes: Probes) -> Cost:
    """The cost of ``other`` vectors of the probes' tiles against ``full`` ones, both of :func:`embed_probes`."""
    cosine = np.concatenate([(a * b).sum(axis=1) for a, b in zip(full, other, strict=True)])
    shared, delta = [], []
    for probe, a, b in zip(probes.parts, full, other, strict=True):
        near, r = zip(*(_retrieved(v, probe, probes) for v in (a, b)), strict=True)
        shared += [len(np.intersect1d(x, y)) / len(x) for x, y in zip(*near, strict=True)]
        delta.append(r[1] - r[0])
    return Cost(
        cosine=round(float(cosine.mean()), 5),
        overlap50=round(float(np.mean(shared)), 4),
        delta_r_hvg50=round(float(np.mean(delta)), 5),
        measured_on=f"{probes.told} ({len(shared)} tiles)",
    )


def _retrieved(vectors: F32, probe: Probe, probes: Probes) -> tuple[Any, float]:
    """Neighbours i64[n, 50] of vectors, and the mean r over the HVG50 of what the bundle's K predict."""
    arrays, info = probes.built.arrays, probes.built.info
    keys = arrays.expression_embeddings if info.key == "expression" else arrays.image_embeddings
    index = ExactIndex(np.asarray(keys[:])[probe.rows])
    found = index.search(vectors, min(info.k, len(probe.rows)))
    expression = np.asarray(_dense(arrays.expression, probes.genes)[probe.rows], np.float32)
    blocks = impute_blocks(found, weigh(found, "average"), expression)
    predicted = np.concatenate([block for _, block in blocks])
    near = found if info.k == OVERLAP_K else index.search(vectors, min(OVERLAP_K, len(probe.rows)))
    return near.index, float(np.nanmean(pearson(predicted, probe.measured)))


def _dense(expression: Any, genes: I64) -> F32:
    columns = expression[:, genes]
    return np.asarray(columns.toarray() if hasattr(columns, "toarray") else columns, np.float32)
