"""The pipeline: slide → tiles → embeddings → neighbours → expression, with what it took as provenance."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli import __version__
from bleep_cli.bundle import Bundle, BundleInfo, Key
from bleep_cli.encoder import OnnxEncoder
from bleep_cli.errors import UsageError
from bleep_cli.impute import DENSE_BYTES, WEIGHTED_TEMPERATURE, Aggregation, impute_blocks, weigh
from bleep_cli.pipeline import regrouped
from bleep_cli.positions import read_positions
from bleep_cli.precision import Precision
from bleep_cli.session import Device
from bleep_cli.slide import open_slide, read_overview
from bleep_cli.tiles import grid_at, grid_over_tissue
from bleep_cli.tissue import find_tissue, require_tissue
from bleep_cli.tower import embed_grid, open_tower
from bleep_cli.types import F32, U8, Index, Neighbours, Prediction, Progress, Slide, TileGrid, no_progress

SEARCH_TILES = 512  # searched together, while the next ones are embedded
HIRES_PX = 2000  # long edge of the overview kept in the output
COARSE = 2.0  # a slide this much coarser than the reference's tiles is worth a warning


@dataclass(frozen=True)
class PredictOptions:
    """What a user can choose; None takes the bundle's own value.

    ``mpp`` overrides the slide's µm per level-0 pixel; ``stride_um`` is the distance between tiles (None: the
    smallest field's edge); ``min_tissue`` a fraction; ``at`` a file of positions in place of the grid;
    ``mask`` a GeoJSON or PNG file in place of the found tissue.
    """

    mpp: float | None = None
    stride_um: float | None = None
    min_tissue: float = 0.5
    at: Path | None = None
    mask: Path | None = None
    genes: tuple[str, ...] | None = None
    k: int | None = None
    aggregation: Aggregation = "average"
    temperature: float = WEIGHTED_TEMPERATURE
    key: Key | None = None
    views: int | None = None
    device: Device = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise UsageError(f"-k {self.k}: at least one neighbour is needed")
        if self.stride_um is not None and not 1.0 <= self.stride_um <= 10_000.0:
            raise UsageError(f"--stride-um {self.stride_um}: give 1 to 10000 µm")
        if not 0.0 <= self.min_tissue <= 1.0:
            raise UsageError(f"--min-tissue {self.min_tissue}: give a fraction from 0 to 1")
        if not self.temperature > 0:
            raise UsageError(f"--temperature {self.temperature}: give a positive number")


@dataclass(frozen=True)
class Plan:
    """An open slide and the tiles to predict on it."""

    slide: Slide
    grid: TileGrid
    in_tissue: Any  # bool[n]
    warnings: tuple[str, ...]


def plan(path: Path, info: BundleInfo, options: PredictOptions) -> Plan:
    """Opens a slide and lays its tiles; all that ``--dry-run`` needs.

    Raises ``SlideError`` or ``UsageError``; the slide is closed then.
    """
    slide = open_slide(path, options.mpp)
    try:
        return _plan(slide, info, options)
    except BaseException:
        slide.close()
        raise


def _plan(slide: Slide, info: BundleInfo, options: PredictOptions) -> Plan:
    stride_um = options.stride_um or info.tile.um[0]
    if options.at is not None:
        positions = read_positions(options.at)
        grid = grid_at(slide, positions, info.tile, stride_um)
        in_tissue = positions.in_tissue
    else:
        mask = find_tissue(slide, options.mask)
        require_tissue(mask, slide.name)
        grid = grid_over_tissue(slide, mask, info.tile, stride_um, options.min_tissue)
        in_tissue = np.ones(len(grid), bool)
    warnings = []
    if slide.mpp > COARSE * info.tile.mpp():
        warnings.append(
            f"{slide.name} has {slide.mpp:.3g} µm/px, the reference's tiles {info.tile.mpp():.3g}: "
            "detail that the encoder was trained on is missing"
        )
    return Plan(slide, grid, in_tissue, tuple(warnings))


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


def resolved(bundle: Bundle, options: PredictOptions) -> tuple[int, Key, int]:
    """K, key and views: what was asked for, else the bundle's own."""
    k = 1 if options.aggregation == "simple" else min(options.k or bundle.info.k, bundle.n_spots)
    return k, options.key or bundle.info.key, options.views or bundle.info.recommended_views


def recorded_options(bundle: Bundle, options: PredictOptions) -> dict[str, Any]:
    """The options as every result states them: nothing left open, files by name and hash. Not by path: a path can
    carry patient data."""
    k, key, views = resolved(bundle, options)
    files = {name: _named(name, path) for name, path in (("at", options.at), ("mask", options.mask))}
    return asdict(options) | {"k": k, "key": key, "views": views, "genes": list(options.genes or [])} | files


def _named(option: str, path: Path | None) -> dict[str, str] | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return {"name": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise UsageError(f"--{option} {path.name}: {error.strerror}") from error


def slide_id(name: str) -> str:
    """The file name without its endings: ``a.ome.tif`` → ``a``."""
    stem = Path(name)
    while stem.suffix.lower() in (
        ".tif",
        ".tiff",
        ".ome",
        ".svs",
        ".ndpi",
        ".jpg",
        ".jpeg",
        ".png",
        ".dcm",
        ".mrxs",
    ):
        stem = stem.with_suffix("")
    return stem.name or name


def hires_overview(slide: Slide) -> tuple[U8, float]:
    """The slide within ``HIRES_PX``, and its pixels per level-0 pixel."""
    mpp = slide.mpp * max(1.0, max(slide.size_l0) / HIRES_PX)
    overview, exact_mpp = read_overview(slide, mpp)
    return overview, slide.mpp / exact_mpp


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Installed versions of those of the packages that are installed."""
    from importlib.metadata import PackageNotFoundError, version

    out = {}
    for package in packages:
        try:
            out[package] = version(package)
        except PackageNotFoundError:
            continue
    return out
