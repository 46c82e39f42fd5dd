"""The features that a frozen backbone gives of the tiles around spots: read and computed overlapped, on disk."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bleep_cli.base.files.on_disk import array_on_disk
from bleep_cli.base.machine import usable_cores
from bleep_cli.bundle.learned.looks import STAIN
from bleep_cli.choices import Device
from bleep_cli.embedding.lanes import lanes_for, overlapped
from bleep_cli.fitting.looks import stain_of
from bleep_cli.tiles.read import reading_order
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.tiles.shared_fields import FieldReader
from bleep_cli.towers.encoder import OnnxEncoder, views_of
from bleep_cli.towers.session import choose_device
from bleep_cli.types import F32, I64, U8, Progress, Section, TileSpec, no_progress


class SpotFeatures:
    """Features f32[n, views, fields, d] of all spots in order, in a temporary file of the system's own, and in
    memory the stain f32[n, 6] of their tiles (:func:`bleep_cli.fitting.looks.stain_of`)."""

    def __init__(self, n: int, views: int, fields: int, dim: int) -> None:
        self.stain = np.empty((n, STAIN), np.float32)
        self.rows = array_on_disk((n, views, fields, dim))

    @cached_property
    def means(self) -> F32:
        """f32[n, fields * d]: the mean over the views of every field, side by side; on disk, too."""
        out = array_on_disk((len(self.rows), int(np.prod(self.rows.shape[2:]))))
        for i, spot in enumerate(self.rows):
            out[i] = spot.mean(axis=0, dtype=np.float64).ravel()
        return out

    @cached_property
    def unturned(self) -> F32:
        """f32[n, d]: the first field in the first view, the tile as it is; on disk, too."""
        out = array_on_disk((len(self.rows), self.rows.shape[3]))
        out[:] = self.rows[:, 0, 0]
        return out

    def mean(self, fields: int) -> F32:
        """f32[n, fields * d]: the mean over the views of the first ``fields`` fields, side by side."""
        return np.array(self.means[:, : fields * self.rows.shape[3]])

    def scaled(self, fields: int, scale: F32) -> ScaledMeans:
        """The same, each field times ``scale`` f32[d], read when it is asked for."""
        return ScaledMeans(self.means, np.tile(scale, fields))


@dataclass(frozen=True)
class ScaledMeans:
    """The leading columns of a table f32[n, d], each times its scale."""

    table: F32
    scale: F32
    """f32[k], k at most d."""

    @property
    def shape(self) -> tuple[int, int]:
        """(n, k)."""
        return len(self.table), len(self.scale)

    def __getitem__(self, rows: Any, /) -> F32:
        """f32[m, k] rows of a slice, or by their numbers."""
        return np.asarray(self.table[rows, : len(self.scale)] * self.scale)


def section_features(
    sections: Sequence[Section],
    backbone: bytes,
    spec: TileSpec,
    views: int,
    device: Device = "auto",
    progress: Progress = no_progress,
) -> SpotFeatures:
    """Every spot's tiles in every view and field through a backbone ``u8[b, px, px, 3]`` → ``f32[b, d]``.

    Raises ``ReferenceError`` for an image that cannot be used, or a backbone that cannot.
    """
    runs_on = choose_device(device)
    lanes = lanes_for(runs_on, usable_cores())
    encoder = OnnxEncoder(backbone, device, threads=lanes.threads_each)
    total, done = sum(len(s.barcodes) for s in sections), 0
    features = SpotFeatures(total, views, len(spec.um), encoder.dim)

    def embed(tiles: U8) -> tuple[F32, F32]:
        by_view = np.stack([_by_field(encoder, view) for view in views_of(tiles, views)], axis=1)
        return by_view, stain_of(tiles)

    for section in sections:
        with section_slide(section) as slide:
            grid = section_grid(section, slide.mpp, spec)
            reader, order = FieldReader(slide, grid), reading_order(grid)
            first = done

            def read(rows: I64, reader: FieldReader = reader) -> U8:
                tiles = np.empty((len(rows), spec.px, spec.px, 3 * len(spec.um)), np.uint8)
                reader.read(rows, tiles)
                return tiles

            batches = (order[start : start + encoder.batch] for start in range(0, len(order), encoder.batch))
            with closing(overlapped(batches, read, embed, lanes)) as stream:
                for rows, (found, stain) in stream:
                    features.rows[first + rows], features.stain[first + rows] = found, stain
                    done += len(rows)
                    progress("spots", done, total)
    return features


def _by_field(encoder: OnnxEncoder, tiles: U8) -> F32:
    """``u8[b, px, px, 3 * fields]`` → ``f32[b, fields, d]``."""
    b, px, _, channels = tiles.shape
    alone = np.ascontiguousarray(tiles).reshape(b, px, px, channels // 3, 3).transpose(0, 3, 1, 2, 4)
    found = encoder.embed(np.ascontiguousarray(alone).reshape(-1, px, px, 3))
    return found.reshape(b, channels // 3, -1)
