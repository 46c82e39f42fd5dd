"""How tiles become the input of somebody's ONNX model, and its tensors features: what a small TOML file states.

Every key may be absent; so may the file::

    px = 224                          # edge of a tile; the graph's own size, else 224
    layout = "nchw"                   # or "nhwc"; told by the graph where one axis holds three channels
    channels = "rgb"                  # or "bgr"
    range = [0.0, 1.0]                # what 0 and 255 become ...
    mean = [0.485, 0.456, 0.406]      # ... before the mean is taken off, R, G, B ...
    std = [0.229, 0.224, 0.225]       # ... and it is divided by the deviation
    tokens = "cls+mean"               # or "cls", "mean": what is taken of tokens [b, t, d]
    prefix = 1                        # tokens that are no patches: the class token first, then registers
    fields_um = [155.0, 310.0, 620.0] # fields of view that the fit chooses among
    licence = "CC-BY-NC-ND-4.0"       # of the weights, for the bundle that will hold them
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bleep_cli.base.files.toml_file import read_toml
from bleep_cli.base.reasons import did_you_mean, reason
from bleep_cli.errors import UsageError

Rgb = tuple[float, float, float]
Layout = Literal["nchw", "nhwc"]
Channels = Literal["rgb", "bgr"]
Tokens = Literal["cls", "mean", "cls+mean"]

FIELDS_UM = (155.0, 310.0, 620.0)
SCALING = {"range", "mean", "std"}  # what a model that takes bytes does itself


@dataclass(frozen=True)
class OnnxSettings:
    """The keys of the file; None where the model's graph says it."""

    px: int | None = None
    """Edge of a tile in pixels."""
    layout: Layout | None = None
    """Order of the input's axes."""
    channels: Channels = "rgb"
    """Order of the input's channels."""
    range: tuple[float, float] = (0.0, 1.0)
    """What 0 and 255 become, before ``mean`` and ``std``."""
    mean: Rgb = (0.485, 0.456, 0.406)
    """Taken off, in the order R, G, B; default ImageNet's."""
    std: Rgb = (0.229, 0.224, 0.225)
    """Divided by, in the order R, G, B; default ImageNet's."""
    tokens: Tokens = "cls+mean"
    """What becomes of tokens [b, t, d]: the class token, the mean of the patches, or both side by side."""
    prefix: int = 1
    """Tokens before those of the patches; the first of them is the class token."""
    fields_um: tuple[float, ...] = FIELDS_UM
    """Edges of the fields of view in µm, ascending."""
    licence: str = ""
    """Of the model's weights."""
    stated: frozenset[str] = frozenset()
    """The keys that a file gave."""

    def record(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """What was used, for a bundle: the keys, with what was ``given`` by the model in their place."""
        return {key: given.get(key, value) for key, value in asdict(self).items() if key != "stated"}


def read_settings(path: Path) -> OnnxSettings:
    """The settings in a TOML file. Raises ``UsageError`` for what is no TOML, unknown, or of the wrong kind."""
    try:
        table = read_toml(path)
    except OSError as error:
        raise UsageError(f"{path.name} cannot be read ({reason(error)})") from error
    except ValueError as error:
        raise UsageError(f"{path.name}: not valid TOML ({error})") from error
    known = list(CHECKS)
    for key in table:
        if key not in known:
            hint = did_you_mean(key, known) or f"; known are {', '.join(known)}"
            raise UsageError(f"{path.name}: unknown key {key}{hint}")
    values = {key: _checked(key, value, path.name) for key, value in table.items()}
    settings = OnnxSettings(**values, stated=frozenset(values))
    if settings.prefix == 0 and settings.tokens != "mean":
        raise UsageError(f'{path.name}: prefix = 0 leaves no class token; set tokens = "mean"')
    return settings


def _checked(key: str, value: Any, where: str) -> Any:
    """The value as its field keeps it."""
    holds, needed = CHECKS[key]
    if not holds(value):
        raise UsageError(f"{where}: {key} = {value!r}; {needed}")
    return tuple(map(float, value)) if isinstance(value, list) else value


def _whole(least: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and value >= least


def _one_of(*names: str) -> tuple[Callable[[Any], bool], str]:
    return lambda value: value in names, f"choose one of {', '.join(names)}"


def _numbers(value: Any, count: int | None = None, *, positive: bool = False) -> bool:
    if not isinstance(value, list) or not value or len(value) != (count or len(value)):
        return False
    if not all(type(v) in (int, float) and math.isfinite(v) for v in value):
        return False
    return not positive or min(value) > 0


CHECKS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "px": (_whole(1), "a whole number from 1 is needed"),
    "layout": _one_of("nchw", "nhwc"),
    "channels": _one_of("rgb", "bgr"),
    "range": (lambda v: _numbers(v, 2) and v[0] < v[1], "two numbers are needed, the smaller first"),
    "mean": (lambda v: _numbers(v, 3), "three numbers are needed, for R, G and B"),
    "std": (lambda v: _numbers(v, 3, positive=True), "three positive numbers are needed, for R, G and B"),
    "tokens": _one_of("cls", "mean", "cls+mean"),
    "prefix": (_whole(0), "a whole number from 0 is needed"),
    "fields_um": (
        lambda v: _numbers(v, positive=True) and v == sorted(set(v)),
        "different positive numbers are needed, the smallest first",
    ),
    "licence": (lambda v: isinstance(v, str), "text in quotes is needed"),
}
