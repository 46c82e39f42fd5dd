"""Features of a frozen backbone, computed once and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bleep_cli.base.hashing import file_sha256
from bleep_cli.towers.encoder import ALL_VIEWS, OnnxEncoder, views_of
from bleep_cli.types import F32, U8, Progress, Section, TileSpec, no_progress
from bleep_train.backbones.build import LOCAL, Normalised
from bleep_train.backbones.onnx import OnnxNet
from bleep_train.data.tile_cache import BATCH_TILES, cache_tag, cached_tiles, kept_array
from bleep_train.export.graph import to_onnx


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
    out: list[F32] = []
    done, total = 0, sum(len(s.barcodes) for s in sections)

    def features(tiles: U8) -> F32:
        nonlocal extractor
        extractor = extractor or FeatureExtractor(backbone, spec.px, device)
        parts = []
        for start in range(0, len(tiles), BATCH_TILES):
            progress("spots", done + start, total)
            parts.append(extractor.views(np.asarray(tiles[start : start + BATCH_TILES])))
        return np.concatenate(parts)

    for section, tiles in zip(sections, cached_tiles(sections, spec, cache, progress), strict=True):
        file = cache / f"features-{mark}-{cache_tag(section, spec)}.npy"
        out.append(kept_array(file, partial(features, tiles)))
        done += len(tiles)
    progress("spots", total, total)
    return out


def _own_code(backbone: Normalised) -> str:
    """A mark of the user's own backbone: other code with the same weights gives other features."""
    if not backbone.name.startswith(LOCAL):
        return ""
    return "-" + file_sha256(Path(backbone.name.removeprefix(LOCAL)))[:8]


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
        self._session: OnnxEncoder | None = None
        if isinstance(backbone.net, OnnxNet):
            self._session = backbone.net.encoder(px, "cpu" if device.type == "cpu" else "auto")
            return
        self._graph = FeatureGraph(backbone).to(device).eval()
        if device.type == "cpu":
            example = torch.zeros(2, px, px, 3, dtype=torch.uint8)
            self._session = OnnxEncoder(to_onnx(self._graph, example, "tiles"), "cpu")

    def views(self, tiles: U8) -> F32:
        """``u8[b, p, p, 3 * fields]`` → ``f32[b, 8, fields * dim]``, views in the runtime's order."""
        out = []
        for view in views_of(tiles, ALL_VIEWS):
            fields = [np.array(view[..., c : c + 3]) for c in range(0, view.shape[3], 3)]
            out.append(np.concatenate([self._one(field) for field in fields], axis=1))
        return np.stack(out, axis=1)

    def _one(self, tiles: U8) -> F32:
        if self._session is not None:
            return self._session.embed(tiles)
        with torch.inference_mode():
            return self._graph(torch.from_numpy(tiles).to(self._device)).float().cpu().numpy()  # type: ignore[no-any-return]
