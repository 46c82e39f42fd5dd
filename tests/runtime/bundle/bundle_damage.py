"""How tests break a bundle: other arrays, other attributes, and a hash that fits again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr

from bleep_cli.bundle.storage.content_hash import content_sha256
from bleep_cli.bundle.storage.store import open_group


def values_of(path: Path, name: str) -> Any:
    return zarr.open_group(path, mode="r")[name][...]


def rewrite(path: Path, name: str, values: Any, **attrs: Any) -> None:
    """Puts another array in the place of one of a bundle's; its attributes stay but for ``attrs``."""
    root = zarr.open_group(path, mode="r+")
    old = root[name].attrs.asdict() if name in root else {}
    if name in root:
        del root[name]
    text = values.dtype.kind in "UO"
    every = {"write_empty_chunks": True}
    array = root.create_array(name, shape=values.shape, dtype=str if text else values.dtype, config=every)
    array[...] = values.astype(object) if text else values
    array.attrs.update(old | attrs)


def edit(path: Path, name: str, change: Callable[[Any], None]) -> None:
    values = values_of(path, name)
    change(values)
    rewrite(path, name, values)


def reattr(path: Path, **attrs: Any) -> None:
    root = zarr.open_group(path, mode="r+")
    root.attrs.put(root.attrs.asdict() | attrs)


def reattr_array(path: Path, name: str, only: dict[str, Any] | None = None, **attrs: Any) -> None:
    """Changes some attributes of an array, or leaves it ``only`` those."""
    array = zarr.open_group(path, mode="r+")[name]
    array.attrs.put((array.attrs.asdict() if only is None else only) | attrs)


def drop(path: Path, name: str) -> None:
    """Takes an array or a group out, as if it had never been written."""
    del zarr.open_group(path, mode="r+")[name]
    seal(path)


def seal(path: Path) -> None:
    """States the hash of what is there now, so that only the other checks can object."""
    root = zarr.open_group(path, mode="r+")
    root.attrs["content_sha256"] = content_sha256(open_group(path)[0], root.attrs.asdict())
