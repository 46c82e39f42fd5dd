"""Sections → what the towers are trained on: genes, panel, log1p expression, cached tiles and features."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bleep_cli.encoder import OnnxEncoder, views_of
from bleep_cli.errors import UsageError
from bleep_cli.expression import detected, log1p_normalise
from bleep_cli.genes import GeneTable, join_genes
from bleep_cli.reference import section_grid, section_slide
from bleep_cli.tiles import stream_tiles
from bleep_cli.types import F32, I64, U8, Progress, Section, Str, TileSpec, no_progress
from bleep_train.backbones import LOCAL, Normalised
from bleep_train.config import DataConfig
from bleep_train.harmonise import harmonise
from bleep_train.onnx_export import to_onnx

BATCH_TILES = 32
VIEWS = 8


@dataclass(frozen=True)
class TrainingSet:
    """``sections`` in order; ``panel_keys`` str[p]; ``panel`` f32[n, p] expression tower input (log1p, or
    harmonised log1p); ``log1p`` f32[n, p] the same before harmonising; ``section_of`` i64[n]; ``notes``.

    Protocol "paper" only: ``leaked`` held-out sections that the panel and Harmony were fitted with, and
    ``leaked_panel`` f32[m, p], what ``panel`` would hold of them. Training never sees it.
    """

    sections: tuple[Section, ...]
    panel_keys: Str
    panel: F32
    log1p: F32
    section_of: I64
    notes: tuple[str, ...]
    leaked: tuple[Section, ...] = ()
    leaked_panel: F32 | None = None

    @property
    def harmonised(self) -> F32 | None:
        """What the expression tower takes in place of log1p; None where that is what it takes."""
        return None if self.panel is self.log1p else self.panel


def prepare(
    sections: Sequence[Section], config: DataConfig, seed: int, leaked: Sequence[Section] = ()
) -> TrainingSet:
    """Joins the genes, picks the panel and normalises; no held-out section must be among ``sections``.

    ``leaked`` held-out sections that enter the panel and Harmony all the same, as in the published code. Raises
    ``UsageError`` for such sections under any protocol but "paper".
    """
    if leaked and config.protocol != "paper":
        raise UsageError(
            f"held-out sections {', '.join(s.id for s in leaked)} must not be prepared with the training "
            'sections; only data.protocol = "paper" does so'
        )
    joint, n = [*sections, *leaked], sum(len(s.barcodes) for s in sections)
    table = join_genes(joint)
    expression = [log1p_normalise(s.counts, config.target_sum)[:, table.columns[s.id]] for s in joint]
    columns = choose_panel(joint, table, expression, config)
    measured = np.concatenate([e[:, columns].toarray() for e in expression])
    section_of = np.repeat(np.arange(len(sections)), [len(s.barcodes) for s in sections])
    ids = [s.id for s in joint for _ in s.barcodes]
    towers_input = harmonise(measured, ids, seed) if config.harmony else measured
    log1p = measured[:n]
    notes = [*table.notes, *(f"{s.id}: {note}" for s in joint for note in s.notes)]
    if leaked:
        notes.append(_leak_note(leaked, config))
    return TrainingSet(
        sections=tuple(sections),
        panel_keys=table.keys[columns],
        panel=towers_input[:n] if config.harmony else log1p,
        log1p=log1p,
        section_of=section_of,
        notes=tuple(notes),
        leaked=tuple(leaked),
        leaked_panel=towers_input[n:] if leaked else None,
    )


def _leak_note(leaked: Sequence[Section], config: DataConfig) -> str:
    what = "the panel and the Harmony fit" if config.harmony else "the panel"
    return (
        f"protocol paper: held-out sections {', '.join(s.id for s in leaked)} entered {what}, as in the published "
        "code; results on them are flattered by that leak"
    )


def choose_panel(
    sections: Sequence[Section], table: GeneTable, expression: Sequence[Any], config: DataConfig
) -> I64:
    """Columns of the joined table that feed the expression tower, ascending."""
    spots = sum(len(s.barcodes) for s in sections)
    seen = sum(detected(s.counts)[table.columns[s.id]] for s in sections)
    enough = seen >= max(1, config.min_spots * spots)
    if config.panel == "hvg":
        chosen = np.zeros(len(enough), bool)
        for matrix in expression:
            chosen |= highly_variable(matrix, config.panel_genes)
        return np.flatnonzero(chosen & enough)
    variance = log1p_variance(expression) * enough
    best = np.argsort(-variance, kind="stable")[: config.panel_genes]
    return np.sort(best[variance[best] > 0])


def highly_variable(log1p: Any, n_genes: int) -> Any:
    """bool[g]: scanpy's highly variable genes of one section (paper section 4: 1,000 per section)."""
    import anndata
    import scanpy as sc

    adata = anndata.AnnData(log1p.copy())
    adata.uns["log1p"] = {"base": None}
    sc.pp.highly_variable_genes(adata, n_top_genes=min(n_genes, adata.n_vars))
    return adata.var["highly_variable"].to_numpy(bool)


def log1p_variance(expression: Sequence[Any]) -> Any:
    """f64[g]: variance of log1p over the spots of all sections."""
    n = sum(e.shape[0] for e in expression)
    mean = sum(np.asarray(e.sum(axis=0), np.float64).ravel() for e in expression) / n
    square = sum(np.asarray(e.multiply(e).sum(axis=0), np.float64).ravel() for e in expression) / n
    return np.maximum(square - mean**2, 0.0)


def cached_tiles(
    sections: Sequence[Section], spec: TileSpec, cache: Path, progress: Progress = no_progress
) -> list[U8]:
    """Memory-mapped ``u8[n, px, px, 3 * fields]`` per section, decoded once and kept under ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    out = []
    for i, section in enumerate(sections):
        progress("sections decoded", i, len(sections))
        file = cache / f"tiles-{cache_tag(section, spec)}.npy"
        if not file.exists():
            _decode(section, spec, file)
        out.append(np.load(file, mmap_mode="r"))
    progress("sections decoded", len(sections), len(sections))
    return out


def _decode(section: Section, spec: TileSpec, file: Path) -> None:
    shape = (len(section.barcodes), spec.px, spec.px, 3 * len(spec.um))
    partial = file.with_suffix(".partial")
    target = np.lib.format.open_memmap(partial, mode="w+", dtype=np.uint8, shape=shape)
    with section_slide(section) as slide:
        for start, tiles in stream_tiles(slide, section_grid(section, slide.mpp, spec), BATCH_TILES):
            target[start : start + len(tiles)] = tiles
    target.flush()
    partial.rename(file)


def cache_tag(section: Section, spec: TileSpec) -> str:
    """Name of what is cached of a section: its spots, its image's bytes, its scale and the tile."""
    digest = hashlib.sha256(f"{section.sha256} {section.mpp} {spec.px} {spec.um}".encode())
    with Path(section.image).open("rb") as file:
        digest.update(hashlib.file_digest(file, "sha256").digest())
    return f"{section.id}-{digest.hexdigest()[:16]}"


def cached_features(
    sections: Sequence[Section],
    backbone: Normalised,
    spec: TileSpec,
    cache: Path,
    device: torch.device,
    progress: Progress = no_progress,
) -> list[F32]:
    """Frozen features of the eight views, memory-mapped ``f32[n, 8, fields * dim]`` per section.

    Kept under ``cache`` by section, image, tile, the hash of the backbone's weights and its levels.
    """
    mark = f"{weights_hash(backbone)}-{'.'.join(map(str, backbone.levels))}{_own_code(backbone)}"
    extractor: FeatureExtractor | None = None  # made only when something is not cached
    out, done, total = [], 0, sum(len(s.barcodes) for s in sections)
    for section, tiles in zip(sections, cached_tiles(sections, spec, cache, progress), strict=True):
        file = cache / f"features-{mark}-{cache_tag(section, spec)}.npy"
        if not file.exists():
            extractor = extractor or FeatureExtractor(backbone, spec.px, device)
            parts = []
            for start in range(0, len(tiles), BATCH_TILES):
                progress("spots", done + start, total)
                parts.append(extractor.views(np.asarray(tiles[start : start + BATCH_TILES])))
            partial = file.with_suffix(".partial.npy")
            np.save(partial, np.concatenate(parts))
            partial.rename(file)
        done += len(tiles)
        out.append(np.load(file, mmap_mode="r"))
    progress("spots", total, total)
    return out


def _own_code(backbone: Normalised) -> str:
    """A mark of the user's own backbone: other code with the same weights gives other features."""
    if not backbone.name.startswith(LOCAL):
        return ""
    return "-" + hashlib.sha256(Path(backbone.name.removeprefix(LOCAL)).read_bytes()).hexdigest()[:8]


def weights_hash(module: torch.nn.Module) -> str:
    """Short hash of a module's state."""
    digest = hashlib.sha256(type(module).__name__.encode())
    for name, tensor in module.state_dict().items():
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


class FeatureGraph(torch.nn.Module):
    """A backbone as it is run for frozen features: one field, u8 NHWC → features."""

    def __init__(self, backbone: Normalised) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return torch.as_tensor(self.backbone(tiles.permute(0, 3, 1, 2).to(torch.float32) / 255))


class FeatureExtractor:
    """Frozen features of any number of tiles: torch on a GPU, ONNX Runtime on a CPU, where it is twice as fast."""

    def __init__(self, backbone: Normalised, px: int, device: torch.device) -> None:
        self._device = device
        self._graph = FeatureGraph(backbone).to(device).eval()
        self._session: OnnxEncoder | None = None
        if device.type == "cpu":
            example = torch.zeros(2, px, px, 3, dtype=torch.uint8)
            self._session = OnnxEncoder(to_onnx(self._graph, example, "tiles"), "cpu")

    def views(self, tiles: U8) -> F32:
        """``u8[b, p, p, 3 * fields]`` → ``f32[b, 8, fields * dim]``, views in the runtime's order."""
        out = []
        for view in views_of(tiles, VIEWS):
            fields = [np.array(view[..., c : c + 3]) for c in range(0, view.shape[3], 3)]
            out.append(np.concatenate([self._one(field) for field in fields], axis=1))
        return np.stack(out, axis=1)

    def _one(self, tiles: U8) -> F32:
        if self._session is not None:
            return self._session.embed(tiles)
        with torch.inference_mode():
            return self._graph(torch.from_numpy(tiles).to(self._device)).float().cpu().numpy()  # type: ignore[no-any-return]
