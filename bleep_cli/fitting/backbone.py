"""The frozen image network that towers are fitted on: the one that is shipped, or somebody's own ONNX model."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bleep_cli.base.assets import BACKBONE, asset
from bleep_cli.base.hashing import file_sha256
from bleep_cli.errors import UsageError
from bleep_cli.fitting.onnx_features import features_model, settle_input, shapes_of
from bleep_cli.fitting.onnx_file import read_cut
from bleep_cli.fitting.onnx_settings import FIELDS_UM, OnnxSettings, read_settings
from bleep_cli.towers.levels import LEVEL_DIMS

TILE_PX = 224
ASKED = re.compile(r"(.+?\.onnx)(?::(.*))?", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Backbone:
    """A frozen network whose features towers are fitted on."""

    model: bytes
    """ONNX, u8[batch, px, px, 3] → f32[batch, sum of ``dims``]."""
    dims: tuple[int, ...]
    """Features of every block, in their order: a stage, or a tensor. Blocks weigh alike, whatever their widths."""
    px: int
    """Edge of its tiles."""
    fields_um: tuple[float, ...] = FIELDS_UM
    """Edges of the fields of view that a fit chooses among, in µm, ascending."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """What a bundle's ``training`` says of it."""
    licence: str = ""
    """What a bundle that holds its weights says of their licence; empty for those that are shipped."""
    shipped: bool = False
    """Whether it is the shipped one."""


def built_in_backbone() -> Backbone:
    """The shipped one. Raises ``UsageError`` where this installation lacks it."""
    model = asset(BACKBONE).read_bytes()
    record = {"backbone": BACKBONE, "backbone_sha256": hashlib.sha256(model).hexdigest()}
    return Backbone(model, LEVEL_DIMS, TILE_PX, record=record, shipped=True)


def load_backbone(asked: Path | str, settings: Path | str | None = None) -> Backbone:
    """``FILE.onnx`` or ``FILE.onnx:tensor,tensor``: a model cut at those tensors, by default its one output.

    Every tensor is a block: features [b, d] as they are, of tokens [b, t, d] the class token and the mean of the
    patches, of maps [b, c, h, w] the mean. ``settings`` is a TOML file (``onnx_settings.py``), by default the one
    beside the model, ``FILE.toml``, where there is one. Raises ``UsageError`` for what is not there or does not
    go together, ``ReferenceError`` for a model that is broken or gives no features, ``DeviceError`` without the
    package onnx.
    """
    path, tensors = _parts(str(asked))
    beside = path.with_suffix(".toml")
    if settings is not None:
        stated = read_settings(Path(settings))
    else:
        stated = read_settings(beside) if beside.is_file() else OnnxSettings()
    model = read_cut(path, tensors)
    given = settle_input(model, stated, path.name)
    shapes = shapes_of(model, given, path.name)
    names = [value.name for value in model.graph.output]
    wrapped, dims = features_model(model, given, shapes, stated, path.name)
    named = f" ({stated.licence})" if stated.licence else ""
    return Backbone(
        model=wrapped,
        dims=dims,
        px=given.px,
        fields_um=stated.fields_um,
        record={
            "backbone": path.name,
            "backbone_sha256": file_sha256(path),
            "backbone_tensors": names,
            "backbone_graph_sha256": hashlib.sha256(wrapped).hexdigest(),
            "backbone_settings": stated.record(given.record()),
        },
        licence=f"holds the weights of {path.name}{named}: their licence governs whom this bundle may be given to",
    )


def _parts(asked: str) -> tuple[Path, tuple[str, ...]]:
    """The file, and the tensors named behind it; a file's own name may hold a colon."""
    found = ASKED.fullmatch(asked)
    if Path(asked).is_file() or not found:
        path, tensors = Path(asked), ""
    else:
        path, tensors = Path(found.group(1)), found.group(2) or ""
    names = tuple(name.strip() for name in tensors.split(",") if name.strip())
    if not path.is_file():
        raise UsageError(f"{path.name}: no such file; FILE.onnx or FILE.onnx:tensor,tensor names a backbone")
    if len(set(names)) < len(names):
        raise UsageError(f"{path.name}: a tensor is named twice")
    return path, names
