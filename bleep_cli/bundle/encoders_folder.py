"""Both towers as they pass from training to ``bleep build-reference``: a folder (``docs/bundle-format.md``)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

from bleep_cli.base.files.atomic import replacing
from bleep_cli.base.files.json_file import write_json
from bleep_cli.base.reasons import reason
from bleep_cli.bundle.contents import BundleInfo
from bleep_cli.bundle.stored import DTYPES
from bleep_cli.choices import Aggregation
from bleep_cli.errors import ReferenceError, option
from bleep_cli.genes.normalise import TARGET_SUM
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
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return Encoders(
            image=(folder / "image.onnx").read_bytes(),
            expression=(folder / "expression.onnx").read_bytes(),
            tile=TileSpec(int(manifest["tile"]["px"]), tuple(float(um) for um in manifest["tile"]["um"])),
            panel=tuple(map(str, manifest["panel"])),
            target_sum=float(manifest["target_sum"]),
            info=_known(dict(manifest.get("info", {}))),
            others=_others(folder, dict(manifest.get("precisions", {}))),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReferenceError(
            f"{option('encoders')} {folder.name}: image.onnx, expression.onnx and {MANIFEST} are needed "
            f"({reason(error)}); bleep-train export makes them"
        ) from error


def _known(info: dict[str, Any]) -> dict[str, Any]:
    own = {"tile", "sections", "target_sum", "tower_input", "parent_sha256"}
    unknown = set(info) - ({entry.name for entry in fields(BundleInfo)} - own)
    if unknown:
        raise ValueError(f"info holds {', '.join(sorted(unknown))}")
    if info.get("expression_precision", "f16") not in DTYPES:
        raise ValueError(f"expression_precision {info['expression_precision']!r} is none of {', '.join(DTYPES)}")
    if info.get("aggregation", "average") not in get_args(Aggregation):
        raise ValueError(f"aggregation {info['aggregation']!r} is none of {', '.join(get_args(Aggregation))}")
    return info


def _others(folder: Path, costs: dict[str, Any]) -> dict[Chosen, OtherTower]:
    further: tuple[Chosen, ...] = ("int8", "fp16")
    unknown = set(costs) - set(further)
    if unknown:
        raise ValueError(f"precisions holds {', '.join(sorted(unknown))}")
    return {
        chosen: OtherTower((folder / f"{TOWERS[chosen]}.onnx").read_bytes(), Cost.of(dict(costs[chosen])))
        for chosen in further
        if chosen in costs
    }
