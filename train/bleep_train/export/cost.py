"""What another image tower costs: the same tiles through both, their neighbours and what these predict.

Where something is decided by the cost (may ``auto`` take a lower precision?) the tiles are the training sections',
each sought among the spots of the others, without the tiles that int8 is calibrated on: sections held out for
testing stay unasked. The towers knew these tiles, but the difference between two precisions of one tower hardly
depends on that. Where the cost is only told (a student beside its teacher) held-out sections may be taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bleep_cli.base.rows import dense_rows, row_blocks
from bleep_cli.genes.columns import measured_log1p
from bleep_cli.genes.names import plain_names
from bleep_cli.prediction.expression.impute import impute_blocks, weigh
from bleep_cli.reference.parts import Built
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import OnnxEncoder, embed_views
from bleep_cli.towers.precision import Cost
from bleep_cli.types import F32, I64, U8, Progress, Section, no_progress
from bleep_train.metrics.gene_sets import pick_gene_sets
from bleep_train.metrics.per_gene import pearson

OVERLAP_K = 50
BATCH_TILES = 32
ROW_BLOCK = 4096
CALIBRATION_TILES = 128


@dataclass(frozen=True)
class Probe:
    """Spots of one section that towers are compared on."""

    asked: I64
    """i64[q] which of its spots"""
    measured: F32
    """f32[q, 50] what was measured there, log1p, of the reference's HVG50"""
    rows: I64
    """i64[m] rows of the reference that they are compared with"""


@dataclass(frozen=True)
class Probes:
    """What towers are compared on: spots of several sections among one reference."""

    keys: F32
    """f32[n, d] unit vectors of the reference that queries are compared with"""
    expression: F32
    """f32[n, 50] its HVG50, log1p"""
    k: int
    """Its neighbours averaged."""
    parts: tuple[Probe, ...]
    """One per section."""
    told: str
    """Which sections these are, in words."""


def choose_probes(built: Built, sections: Sequence[Section], *, held_out: bool) -> Probes:
    """Probes of ``sections``; not ``held_out``: they are those that ``built`` was built of, and the spots whose
    tiles int8 is calibrated on are left out."""
    arrays, info = built.arrays, built.info
    once = plain_names(arrays.symbols, arrays.gene_ids)
    genes = pick_gene_sets(arrays.expression, arrays.symbols, once).sets["hvg50"]
    counts = [len(s.barcodes) for s in sections]
    used = [np.empty(0, np.int64)] * len(sections) if held_out else calibration_rows(counts)
    parts = []
    for section, count, calibrated in zip(sections, counts, used, strict=True):
        measured = measured_log1p(section, arrays.symbols, arrays.gene_ids, info.target_sum)[:, genes]
        others = np.flatnonzero(arrays.section != section.id)
        rows = others if len(others) and not held_out else np.arange(len(arrays.section))
        asked = np.setdiff1d(np.arange(count), calibrated)
        parts.append(Probe(asked, measured[asked], rows))
    blocks = row_blocks(arrays.expression, ROW_BLOCK)
    expression = np.concatenate([dense_rows(block)[:, genes] for block in blocks])
    return Probes(keys_of(built), expression, info.k, tuple(parts), _told(sections, held_out))


def keys_of(built: Built) -> F32:
    """f32[n, d] of a reference: what queries are compared with."""
    arrays = built.arrays
    return arrays.expression_embeddings if built.info.key == "expression" else arrays.image_embeddings


def _told(sections: Sequence[Section], held_out: bool) -> str:
    names = ", ".join(s.id for s in sections)
    if held_out:
        return f"held-out sections {names}"
    return f"training sections {names}, {'one against the others' if len(sections) > 1 else 'against itself'}"


def calibration_rows(counts: Sequence[int]) -> list[I64]:
    """Rows of each section's tiles that int8 is calibrated on, ``CALIBRATION_TILES`` evenly, or half of fewer."""
    total = sum(counts)
    chosen = np.unique(np.linspace(0, total - 1, min(CALIBRATION_TILES, max(1, total // 2))).astype(np.int64))
    starts = np.cumsum([0, *counts])
    return [chosen[(chosen >= a) & (chosen < b)] - a for a, b in pairwise(starts)]


def embed_probes(
    model: bytes, tiles: Sequence[U8], views: int, probes: Probes, progress: Progress = no_progress
) -> list[F32]:
    """Unit vectors f32[q, d] of what each probe asks of its section's ``tiles`` u8[n, p, p, c]."""
    encoder = OnnxEncoder(model, "cpu")
    total, done, out = sum(len(p.asked) for p in probes.parts), 0, []
    for probe, pixels in zip(probes.parts, tiles, strict=True):
        vectors = []
        for start in range(0, len(probe.asked), BATCH_TILES):
            progress("tiles compared", done + start, total)
            rows = probe.asked[start : start + BATCH_TILES]
            vectors.append(embed_views(encoder, np.asarray(pixels[rows]), views))
        out.append(np.concatenate(vectors))
        done += len(probe.asked)
    progress("tiles compared", total, total)
    return out


def cost_of(full: Sequence[F32], other: Sequence[F32], probes: Probes) -> Cost:
    """The cost of ``other`` vectors of the probes' tiles against ``full`` ones, both of :func:`embed_probes`."""
    cosine = np.concatenate([(a * b).sum(axis=1) for a, b in zip(full, other, strict=True)])
    shared: list[float] = []
    for probe, a, b in zip(probes.parts, full, other, strict=True):
        index = ExactIndex(probes.keys[probe.rows])
        near = [index.search(v, _nearest(OVERLAP_K, probe)).index for v in (a, b)]
        shared += [len(np.intersect1d(x, y)) / len(x) for x, y in zip(*near, strict=True)]
    return Cost(
        cosine=round(float(cosine.mean()), 5),
        overlap50=round(float(np.mean(shared)), 4),
        delta_r_hvg50=round(retrieved_r(other, probes) - retrieved_r(full, probes), 5),
        measured_on=f"{probes.told} ({len(shared)} tiles)",
    )


def _nearest(wanted: int, probe: Probe) -> int:
    """How many neighbours are sought: of few spots at most half, since all are the same for every tower."""
    return min(wanted, max(1, len(probe.rows) // 2))


def retrieved_r(vectors: Sequence[F32], probes: Probes) -> float:
    """Mean Pearson r over HVG50 and sections of what the reference's K neighbours of the vectors predict."""
    found = []
    for probe, asked in zip(probes.parts, vectors, strict=True):
        near = ExactIndex(probes.keys[probe.rows]).search(asked, _nearest(probes.k, probe))
        blocks = impute_blocks(near, weigh(near, "average"), probes.expression[probe.rows])
        predicted = np.concatenate([block for _, block in blocks])
        found.append(float(np.nanmean(pearson(predicted, probe.measured))))
    return float(np.mean(found))
