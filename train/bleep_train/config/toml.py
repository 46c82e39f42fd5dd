"""Configurations from presets, TOML files and overrides; an unknown key is an error."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from bleep_cli.base.files.toml_file import read_toml
from bleep_cli.errors import UsageError, option
from bleep_train.config.schema import PUBLISHED, Config


def load_config(
    name_or_path: str, overrides: Sequence[str] = (), base: Config | None = None, *, student: bool = False
) -> Config:
    """A preset by name or a TOML file, with ``section.key=value`` overrides (TOML values), on top of ``base``, by
    default the defaults. A ``student``'s heads learn from its teacher and are not fitted to features that stay.

    Raises ``UsageError`` for what is unknown or has the wrong type.
    """
    path = preset_path(name_or_path)
    try:
        table = read_toml(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{option('config')} {name_or_path}: {error}") from error
    for override in overrides:
        _override(table, override)
    config = config_from(table, name_or_path, base)
    if config.model.fits and config.model.trainable != "frozen" and not student:
        raise UsageError(
            f"{name_or_path}: a head in closed form needs features that stay: "
            'set model.trainable = "frozen", or model.closed_form = false and model.start = "random"'
        )
    return config


def config_from(table: Mapping[str, Any], where: str, base: Config | None = None) -> Config:
    """A nested table → ``Config``; what it does not say is as in ``base``."""
    config: Config = _fill(base or Config(), table, where)
    _check_ranges(config, where)
    return closed_form_alone(config) if config.loss.name == "cca" else config


def closed_form_alone(config: Config) -> Config:
    """The configuration with the objective "cca": heads in closed form and no others."""
    model = replace(config.model, closed_form=True, heads=0)
    return replace(config, loss=replace(config.loss, name="cca"), model=model)


def _check_ranges(config: Config, where: str) -> None:
    """Raises ``UsageError`` for values of the right type that mean nothing."""
    model, optim, sigma, validation = config.model, config.optim, config.augment.stain_jitter, config.validation
    wrong = {
        f"model.heads = {model.heads}; 1 or more": model.heads < 1 and config.loss.name != "cca",
        f"model.components = {model.components}; 1 or more": model.components < 1,
        f"model.penalty = {model.penalty}; 0 (chosen) or more": not 0 <= model.penalty < math.inf,
        f'loss.name = "{config.loss.name}" is of the published heads alone: '
        'set model.closed_form = false and model.start = "random"': (model.fits and config.loss.name in PUBLISHED),
        f"optim.epochs = {optim.epochs}; 1 or more": optim.epochs < 1,
        f"optim.micro_batch = {optim.micro_batch}; 0 (off) or more": optim.micro_batch < 0,
        f"augment.stain_jitter = {sigma}; 0 (off) to below 1": not 0 <= sigma < 1,
        "augment.stain_jitter needs tiles, and a frozen backbone is fed cached features; "
        'set model.trainable = "last" or "all"': sigma > 0 and model.trainable == "frozen",
        f"validation.every = {validation.every}; 1 or more": validation.every < 1,
        f"validation.fraction = {validation.fraction}; between 0 and 1": not 0 < validation.fraction < 1,
        'validation.ids needs validation.by = "section" or "donor"': bool(validation.ids)
        and validation.by not in ("section", "donor"),
    }
    for told, is_wrong in wrong.items():
        if is_wrong:
            raise UsageError(f"{where}: {told}")


def preset_path(name_or_path: str) -> Path:
    """The TOML file of a preset (shipped beside the package) or the given file."""
    for folder in _folders():
        if (folder / f"{name_or_path}.toml").is_file():
            return folder / f"{name_or_path}.toml"
    path = Path(name_or_path)
    if not path.is_file():
        raise UsageError(
            f"{option('config')} {name_or_path}: neither a preset nor a file; presets: {', '.join(presets())}"
        )
    return path


def presets() -> list[str]:
    """Names of the shipped presets."""
    return sorted({file.stem for folder in _folders() for file in folder.glob("*.toml")})


def _folders() -> tuple[Path, Path]:
    """Where presets lie: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parents[1]
    return package / "configs", package.parent / "configs"


def _override(table: dict[str, Any], override: str) -> None:
    key, sign, value = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not sign or not dot:
        raise UsageError(f"{option('set')} {override}: write section.key=value, such as optim.seed=1")
    try:
        parsed = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()  # a bare word is a string
    table.setdefault(section, {})[name] = parsed


def _fill(default: Any, table: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in fields(default)}
    unknown = set(table) - known
    if unknown:
        raise UsageError(
            f"{where}: unknown key {', '.join(sorted(unknown))}; known are {', '.join(sorted(known))}"
        )
    hints = get_type_hints(type(default))
    values = {}
    for name, value in table.items():
        old, spot = getattr(default, name), f"{where}: {name}"
        if is_dataclass(old):
            if not isinstance(value, Mapping):
                raise UsageError(f"{spot} is a table")
            values[name] = _fill(old, value, spot)
        else:
            values[name] = _checked(value, old, hints[name], spot)
    return replace(default, **values)


def _checked(value: Any, old: Any, hint: Any, spot: str) -> Any:
    choices = get_args(hint) if getattr(hint, "__origin__", None) is Literal else ()
    if choices:
        if not any(type(value) is type(choice) and value == choice for choice in choices):  # true is not 1
            raise UsageError(f"{spot} = {value!r}; choose one of {', '.join(map(str, choices))}")
        return value
    if hint == tuple[str, ...]:
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UsageError(f"{spot} = {value!r}; give a list of names")
        return tuple(name.strip() for name in names if name.strip())
    if hint == tuple[int, ...]:
        value = value if isinstance(value, list) else [value]
        if not value or not all(type(v) is int and v >= 0 for v in value) or len(set(value)) < len(value):
            raise UsageError(f"{spot} = {value!r}; give different whole numbers from 0")
        return tuple(sorted(value))
    if isinstance(old, tuple):
        value = value if isinstance(value, list) else [value]
        if not value or not all(type(v) in (int, float) and v > 0 for v in value):
            raise UsageError(f"{spot} = {value!r}; give positive numbers")
        return tuple(sorted(float(v) for v in value))
    if isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is not type(old):
        raise UsageError(f"{spot} = {value!r}; a {type(old).__name__} is needed")
    return value


def dump_toml(config: Config) -> str:
    """The resolved configuration as TOML that ``load_config`` reads back to the same value."""
    lines = []
    for section, values in config.as_dict().items():
        lines.append(f"[{section}]")
        lines += [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        lines.append("")
    return "\n".join(lines)
