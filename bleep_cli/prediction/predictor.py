"""The pipeline: slide → tiles → embeddings → neighbours → expression, with what it took as provenance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.beside import beside
from bleep_cli.base.machine import versions
from bleep_cli.base.progress import reporting
from bleep_cli.base.rows import regrouped
from bleep_cli.base.version import __version__
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.choices import PLACED
from bleep_cli.embedding.embedder import embed_grid, open_embedder
from bleep_cli.findings import Finding
from bleep_cli.limits import HASHED_UNASKED
from bleep_cli.prediction.excluded import along_without, index_without, level_sections, spots_without
from bleep_cli.prediction.expression.correct import offsets
from bleep_cli.prediction.expression.impute import DENSE_BYTES, weigh
from bleep_cli.prediction.expression.place import Along
from bleep_cli.prediction.genes_kept import genes_kept
from bleep_cli.prediction.layers import Found, Layers
from bleep_cli.prediction.level.shift import LEVEL_SHIFT, level_shift, told_of_level
from bleep_cli.prediction.measured import measured_range
from bleep_cli.prediction.options import PredictOptions, recorded_options, resolved
from bleep_cli.prediction.plan import Plan, plan
from bleep_cli.prediction.provenance import (
    Provenance,
    ReferenceRecord,
    SlideRecord,
    TileRecord,
    created,
    reliability_of,
)
from bleep_cli.prediction.tile_checks import TileChecks, told_of_strange
from bleep_cli.slide.open import read_overview
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_cli.types import F32, U8, Bool, Index, Neighbours, Prediction, Progress, Slide, TileGrid, no_progress

SEARCH_TILES = 512  # searched together, while the next ones are embedded
PARTS_HELD = 4  # of the reference, made ready: all of it, and without some sections each
HIRES_PX = 2000  # long edge of the overview kept in the output


@dataclass(frozen=True)
class Part:
    """A reference, or what is left of it without some sections."""

    index: Index
    k: int
    """Neighbours to average."""
    along: Along
    """What corrects predictions."""
    checks: TileChecks
    shift: F32 | None = None
    """f32[g], where predictions are moved to the level of some of its sections."""


class Predictor:
    """A reference made ready once, for any number of slides: tower, index and expression are loaded here.

    ``ref`` is a bundle's path, or an open bundle; ``options`` hold for every slide, but for what :meth:`predict`
    is given for one. Raises ``ReferenceError``, ``UsageError`` and ``DeviceError``.
    """

    def __init__(self, ref: Bundle | Path | str, options: PredictOptions | None = None) -> None:
        self.bundle = ref if isinstance(ref, Bundle) else open_bundle(ref)
        if self.bundle.nbytes <= HASHED_UNASKED:
            self.bundle.check_content()
        self.options = options or PredictOptions()
        self.k, self.key, self.views, self.aggregation = resolved(self.bundle, self.options)
        self._recorded = recorded_options(self.bundle, self.options)
        self._columns, self._genes_said = genes_kept(self.bundle, self.options)
        self.embedder = open_embedder(self.bundle, self.options.device, self.options.precision)
        self._images = self.bundle.embeddings("image") if self.aggregation in PLACED else None
        self._index = self.bundle.index(self.key)
        searched = self._index if self.key == "expression" else None
        self._checks = TileChecks(self.bundle, self.encoder.looks, self.options.ood_rate, searched)
        self._expression = self.bundle.expression_to_average(self._columns, DENSE_BYTES)
        self._without = lru_cache(PARTS_HELD)(self._part)
        self._without(())
        self._layers = Layers(self.bundle, self._columns, self.options, self.aggregation)

    def _part(self, sections: tuple[str, ...]) -> Part:
        """The reference without those sections; all of it for none."""
        bundle, kept = self.bundle, spots_without(self.bundle, sections)
        along = along_without(bundle, self._columns, self.aggregation, kept)
        if not sections:
            found = Part(self._index, self.k, along, self._checks)
        else:
            k, checks = min(self.k, int(kept.sum())), self._checks.of_spots(np.flatnonzero(kept))
            found = Part(index_without(bundle, self.key, kept), k, along, checks)
        level = level_sections(bundle.info, self.options.level_of, sections, bundle.name)
        return replace(found, shift=self._shift(level, kept, along)) if level else found

    def _shift(self, level: tuple[str, ...], kept: Bool, along: Along) -> F32:
        """f32[g] by which the spots ``kept`` bool[n] predict those of the sections ``level`` too low."""
        return level_shift(
            self.bundle,
            level,
            kept,
            self._expression,
            k=self.k,
            key=self.key,
            aggregation=self.aggregation,
            temperature=self.options.temperature,
            along=along,
        )

    @property
    def encoder(self) -> OnnxEncoder:
        """What embeds the tiles."""
        return self.embedder.encoder

    @cached_property
    def _var(self) -> dict[str, F32 | Bool]:
        """What every prediction says of its genes."""
        return {**measured_range(self._expression), **self._genes_said}

    @property
    def n_genes(self) -> int:
        """Number of genes that will come out."""
        return len(self._columns)

    @property
    def layers(self) -> int:
        """Number of layers that will stand beside the expression."""
        return self._layers.count

    def predict(
        self,
        slide: Path | str,
        *,
        at: Path | str | None = None,
        mask: Path | str | None = None,
        mpp: float | None = None,
        scene: int | str | None = None,
        progress: Progress | bool | None = None,
    ) -> Prediction:
        """Predicts one slide: opened, tiled, embedded, compared; expression itself is computed as it is read.

        ``at``, ``mask``, ``mpp`` (µm per level-0 pixel) and ``scene`` (which picture of the file) are
        of this slide, and go before the predictor's own.
        ``progress`` is a callback, or whether to draw bars; by default they are drawn at a prompt and in a
        notebook. Raises ``SlideError`` and ``UsageError``.
        """
        options = replace(
            self.options,
            at=self.options.at if at is None else Path(at),
            mask=self.options.mask if mask is None else Path(mask),
            mpp=self.options.mpp if mpp is None else mpp,
            scene=self.options.scene if scene is None else scene,
        )
        with reporting(progress, Path(slide).name) as report:
            ready = plan(Path(slide), self.bundle.info, options, signature=self.bundle.signature())
            try:
                return self.predict_plan(ready, report)
            finally:
                ready.slide.close()

    def predict_plan(self, ready: Plan, progress: Progress = no_progress, *, command: str = "") -> Prediction:
        """The same for a slide that is open and tiled already; it may be closed afterwards. The result states
        ``command`` as the command line that made it."""
        ready.slide.hash_ahead()
        part = self._without(ready.left_out)
        with beside(lambda stopped: hires_overview(ready.slide, stopped)) as overview:
            found, columns = self._found(ready.slide, ready.grid, part, progress)
        judged = part.checks.judged(columns, ready.grid, ready.in_tissue)
        findings = (
            *ready.findings,
            *told_of_strange(judged, ready.in_tissue, ready.slide.name),
            *self._layers.told(judged, ready.in_tissue, ready.slide.name),
            *told_of_level(self.options.level_of, ready.left_out, found.shift, ready.slide.name),
        )
        tiles = part.checks.said(judged, ready.in_tissue)
        similarity = found.neighbours.similarity
        hires, scalef = overview.result()
        return Prediction(
            slide_id=ready.name,
            grid=ready.grid,
            in_tissue=ready.in_tissue,
            symbols=self.bundle.symbols[self._columns],
            gene_ids=self.bundle.gene_ids[self._columns],
            neighbours=found.neighbours,
            obs={"similarity": similarity.mean(axis=1, dtype=np.float32), **judged, **ready.obs},
            blocks=found.blocks,
            hires=hires,
            hires_scalef=scalef,
            provenance=self._provenance(ready, command, findings, tiles).plain(),
            findings=findings,
            obsm={} if self._images is None else {"offset": found.offset},
            var=self._var if found.shift is None else {**self._var, LEVEL_SHIFT: found.shift},
            layers=self._layers.of(found, ready.grid),
        )

    def embed(self, slide: Slide, grid: TileGrid, progress: Progress = no_progress) -> F32:
        """Unit vectors f32[n, d] of the grid's tiles."""
        return embed_grid(self.embedder, slide, grid, self.views, progress)

    def neighbours(self, slide: Slide, grid: TileGrid, progress: Progress = no_progress) -> Neighbours:
        """The K nearest reference spots of every tile."""
        return self._found(slide, grid, self._without(()), progress)[0].neighbours

    def correction_bytes(self, tiles: int) -> int:
        """What correcting that many tiles takes of memory."""
        along = self._without(()).along
        if self._images is None or along is None:
            return 0
        return int(self._images.nbytes + along.nbytes + 4 * tiles * self._images.shape[1])

    def _found(self, slide: Slide, grid: TileGrid, part: Part, progress: Progress) -> tuple[Found, dict[str, F32]]:
        """The K nearest spots of every tile in that part of the reference, searched and judged while further tiles
        are embedded, and by name f32[n] what :class:`TileChecks` says of each.

        Vectors and looks are not kept: what is held of a tile are its neighbours, and some numbers.
        """
        n, d = len(grid), 0 if self._images is None else self._images.shape[1]
        index, similarity = np.empty((n, part.k), np.int64), np.empty((n, part.k), np.float32)
        weights, offset = np.empty((n, part.k), np.float32), np.empty((n, d), np.float32)
        columns: dict[str, F32] = {}
        with closing(self.embedder.stream(slide, grid, self.views, progress)) as stream:
            for rows, vectors, looks in regrouped(stream, SEARCH_TILES):
                found = part.index.search(vectors, part.k)
                index[rows], similarity[rows] = found.index, found.similarity
                weights[rows] = near = weigh(found, self.aggregation, self.options.temperature)
                for name, values in part.checks.of(looks, found, near).items():
                    columns.setdefault(name, np.empty(n, np.float32))[rows] = values
                if self._images is not None:
                    offset[rows] = offsets(vectors, found, near, self._images)
        neighbours = Neighbours(index, similarity)
        made_of = Found(neighbours, weights, offset, part.along, self._expression, part.shift)
        return made_of, columns

    def _provenance(
        self, ready: Plan, command: str, findings: Sequence[Finding], tiles: Mapping[str, Any] | str
    ) -> Provenance:
        info, slide = self.bundle.info, ready.slide
        recorded = (
            self._recorded if ready.options == self.options else recorded_options(self.bundle, ready.options)
        )
        return Provenance(
            bleep_version=__version__,
            created=created(),
            command=command,
            expression_units=f"log1p of counts per {info.target_sum:,.0f}",
            intended_use=info.intended_use,
            slide=SlideRecord(
                name=slide.name,
                sha256=slide.sha256,
                mpp=slide.mpp,
                mpp_source=slide.mpp_source,
                width_px=slide.size_l0[0],
                height_px=slide.size_l0[1],
                bounds_l0=list(slide.bounds_l0),
                scene=slide.scene,
            ),
            tile=TileRecord(info.tile.px, list(info.tile.um), ready.grid.pitch_um),
            reference=ReferenceRecord(
                name=self.bundle.name,
                content_sha256=self.bundle.content_sha256,
                content_verified=self.bundle.verified,
                image_tower_sha256=self.embedder.sha256,
                sections=[section.id for section in info.sections],
                left_out=list(ready.left_out),
                spots=self.bundle.n_spots,
                donors=len({section.donor for section in info.sections}),
                species=info.species,
                licence=info.licence,
                citation=info.citation,
            ),
            options=recorded | {"device": self.encoder.device, "precision": self.embedder.precision},
            precision_cost=self.embedder.cost.attrs() if self.embedder.cost else {},
            findings=[finding.plain() for finding in findings],
            scale_check=ready.scale.plain(),
            reliability=reliability_of(info, tiles),
            versions=versions(("numpy", "onnxruntime", "onnxruntime-gpu", "zarr", "anndata")),
        )


def hires_overview(slide: Slide, stopped: Callable[[], bool]) -> tuple[U8, float]:
    """The slide within ``HIRES_PX``, and its pixels per level-0 pixel."""
    mpp = slide.mpp * max(1.0, max(slide.size_l0) / HIRES_PX)
    overview, exact_mpp = read_overview(slide, mpp, stopped=stopped)
    return overview, slide.mpp / exact_mpp
