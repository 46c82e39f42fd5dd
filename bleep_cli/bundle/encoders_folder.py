"""Both towers as they pass from training to ``bleep build-reference``: a folder (``docs/bundle-format.md``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import replacing
from bleep_cli.base.files.json_file import write_json
from bleep_cli.base.files.regular import read_regular
from bleep_cli.base.reasons import reason
from bleep_cli.bundle.contents import BundleInfo, checked_field, target_sum_of, tile_of
from bleep_cli.errors import ReferenceError, option
from bleep_cli.genes.normalise import TARGET_SUM
from bleep_cli.limits import MOST_BUNDLE_JSON, MOST_MODEL_BYTES, MOST_NAME, MOST_REFERENCE_GENES
from bleep_cli.towers.precision import TOWERS, Chosen, Cost, OtherTower
from bleep_cli.types import TileSpec

MANIFEST = "encoders.json"


@dataclass(frozen=True)
class Encoders:
    """Both towers and what they were trained with; on disk a folder with ``image.onnx``, ``expression.onnx``
    and ``encoders.json`` (``docs/bundle-format.md``)."""

    image: bytes
    """The image tower, ONNX, float32."""
    expression: bytes
    """The expression tower, ONNX."""
    tile: TileSpec
    """What the image tower takes."""
    panel: tuple[str, ...]
    """p gene keys, Ensembl ids or symbols, in the expression tower's order."""
    target_sum: float = TARGET_SUM
    """Counts that a spot is scaled to before log1p."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of ``BundleInfo`` by name."""
    others: Mapping[Chosen, OtherTower] = field(default_factory=dict)
    """The image tower at further precisions."""

    def save(self, folder: Path) -> None:
        """Writes the folder, the manifest last: without it, it is none. Raises ``OutputError``."""
        towers = {"image": self.image, "expression": self.expression}
        towers |= {TOWERS[chosen]: other.model for chosen, other in self.others.items()}
        for name, model in towers.items():
            with replacing(folder / f"{name}.onnx") as temp:
                temp.write_bytes(model)
        manifest = {
            "tile": {"px": self.tile.px, "um": list(self.tile.um)},
            "panel": list(self.panel),
            "target_sum": self.target_sum,
            "info": dict(self.info),
            "precisions": {chosen: other.cost.attrs() for chosen, other in self.others.items()},
        }
        write_json(folder / MANIFEST, manifest)


def load_encoders(folder: Path) -> Encoders:
    """Reads what :meth:`Encoders.save` wrote. Raises ``ReferenceError`` for a folder that is none."""
    try:
        manifest = json.loads(read_regular(folder / MANIFEST, MOST_BUNDLE_JSON).decode("utf-8"))
        return Encoders(
            image=_model(folder, "image"),
            expression=_model(folder, "expression"),
            tile=tile_of(manifest["tile"]),
            panel=_panel(manifest["panel"]),
            target_sum=target_sum_of(manifest["target_sum"]),
            info=_known(dict(manifest.get("info", {}))),
            others=_others(folder, dict(manifest.get("precisions", {}))),
        )
    except Exception as error:
        raise ReferenceError(
            f"{option('encoders')} {folder.name}: image.onnx, expression.onnx and {MANIFEST} are needed "
            f"({reason(error)}); bleep-train export makes them"
        ) from error


def _known(info: dict[str, Any]) -> dict[str, Any]:
    own = {"tile", "sections", "target_sum", "tower_input", "parent_sha256", "findings"}
    unknown = set(info) - ({entry.name for entry in fields(BundleInfo)} - own)
    if unknown:
        raise ValueError(f"info holds {', '.join(sorted(unknown))}")
    return {name: checked_field(name, value) for name, value in info.items()}


def _model(folder: Path, name: str) -> bytes:
    return read_regular(folder / f"{name}.onnx", MOST_MODEL_BYTES)


def _panel(keys: Any) -> tuple[str, ...]:
    if not all(isinstance(key, str) and len(key) <= MOST_NAME for key in keys) or len(keys) > MOST_REFERENCE_GENES:
        raise ValueError("panel holds what is no gene's name")
    return tuple(keys)


def _others(folder: Path, costs: dict[str, Any]) -> dict[Chosen, OtherTower]:
    further: tuple[Chosen, ...] = ("int8", "fp16")
    unknown = set(costs) - set(further)
    if unknown:
        raise ValueError(f"precisions holds {', '.join(sorted(unknown))}")
    return {
        chosen: OtherTower(_model(folder, TOWERS[chosen]), Cost.of(dict(costs[chosen])))
        for chosen in further
        if chosen in costs
    }
