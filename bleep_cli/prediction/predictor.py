"""The pipeline: slide → tiles → embeddings → neighbours → expression, with what it took as provenance."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np

from bleep_cli import __version__
from bleep_cli.base.machine import versions
from bleep_cli.bundle.open import Bundle
from bleep_cli.embedding.embedder import embed_grid, open_tower
from bleep_cli.embedding.lanes import regrouped
from bleep_cli.prediction.impute import DENSE_BYTES, impute_blocks, weigh
from bleep_cli.prediction.options import PredictOptions, recorded_options, resolved
from bleep_cli.prediction.plan import Plan
from bleep_cli.slide.open import read_overview, slide_id
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_cli.types import F32, U8, Index, Neighbours, Prediction, Progress, Slide, TileGrid, no_progress

SEARCH_TILES = 512  # searched together, while the next ones are embedded
HIRES_PX = 2000  # long edge of the overview kept in the output


class Predictor:
    """A bundle made ready once, for any number of slides: tower, index and expression are loaded here."""

    def __init__(self, bundle: Bundle, options: PredictOptions) -> None:
        self.bundle, self.options = bundle, options
        self.k, self.key, self.views = resolved(bundle, options)
        self._recorded = recorded_options(bundle, options)
        self._columns = bundle.gene_rows(options.genes)
        self.tower = open_tower(bundle, options.device, options.precision)
        self._index: Index = bundle.index(self.key)
        self._expression = bundle.expression_to_average(self._columns, DENSE_BYTES)

    @property
    def encoder(self) -> OnnxEncoder:
        """What embeds the tiles."""
        return self.tower.encoder

    @property
    def n_genes(self) -> int:
        """Number of genes that will come out."""
        return len(self._columns)

    def predict(self, ready: Plan, progress: Progress = no_progress) -> Prediction:
        """Predicts one planned slide; expression itself is computed when the blocks are read."""
        found = self.neighbours(ready.slide, ready.grid, progress)
        weights = weigh(found, self.options.aggregation, self.options.temperature)
        hires, scalef = hires_overview(ready.slide)
        return Prediction(
            slide_id=slide_id(ready.slide.name),
            grid=ready.grid,
            in_tissue=ready.in_tissue,
            symbols=self.bundle.symbols[self._columns],
            gene_ids=self.bundle.gene_ids[self._columns],
            neighbours=found,
            obs={"similarity": found.similarity.mean(axis=1, dtype=np.float32)},
            blocks=lambda: impute_blocks(found, weights, self._expression),
            hires=hires,
            hires_scalef=scalef,
            provenance=self._provenance(ready),
        )

    def embed(self, slide: Slide, grid: TileGrid, progress: Progress = no_progress) -> F32:
        """Unit vectors f32[n, d] of the grid's tiles."""
        return embed_grid(self.tower, slide, grid, self.views, progress)

    def neighbours(self, slide: Slide, grid: TileGrid, progress: Progress = no_progress) -> Neighbours:
        """The K nearest reference spots of every tile, searched while further tiles are embedded.

        Vectors are not kept: what is held of a tile are its neighbours.
        """
        index = np.empty((len(grid), self.k), np.int64)
        similarity = np.empty((len(grid), self.k), np.float32)
        with closing(self.tower.stream(slide, grid, self.views, progress)) as stream:
            for rows, vectors in regrouped(stream, SEARCH_TILES):
                found = self._index.search(vectors, self.k)
                index[rows], similarity[rows] = found.index, found.similarity
        return Neighbours(index, similarity)

    def _provenance(self, ready: Plan) -> dict[str, Any]:
        info, slide = self.bundle.info, ready.slide
        used = {"device": self.encoder.device, "precision": self.tower.precision}
        return {
            "bleep_version": __version__,
            "expression_units": f"log1p of counts per {info.target_sum:,.0f}",
            "intended_use": info.intended_use,
            "slide": {
                "name": slide.name,
                "sha256": slide.sha256,
                "mpp": slide.mpp,
                "width_px": slide.size_l0[0],
                "height_px": slide.size_l0[1],
                "bounds_l0": list(slide.bounds_l0),
            },
            "tile": {"px": info.tile.px, "um": list(info.tile.um), "pitch_um": ready.grid.pitch_um},
            "reference": {
                "name": self.bundle.name,
                "content_sha256": self.bundle.content_sha256,
                "image_tower_sha256": self.tower.sha256,
                "sections": [section.id for section in info.sections],
                "spots": self.bundle.n_spots,
            },
            "options": self._recorded | used,
            "precision_cost": self.tower.cost.attrs() if self.tower.cost else {},
            "warnings": list(ready.warnings),
            "versions": versions(("numpy", "onnxruntime", "onnxruntime-gpu", "zarr", "anndata")),
        }


def hires_overview(slide: Slide) -> tuple[U8, float]:
    """The slide within ``HIRES_PX``, and its pixels per level-0 pixel."""
    mpp = slide.mpp * max(1.0, max(slide.size_l0) / HIRES_PX)
    overview, exact_mpp = read_overview(slide, mpp)
    return overview, slide.mpp / exact_mpp
