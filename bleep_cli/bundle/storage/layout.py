"""What the ``zarr.json`` of an array says, as far as a bundle may: the rest is refused, and nothing unpacked."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from bleep_cli.limits import MOST_ARRAY_RATIO, MOST_CHUNK_BYTES, RATIO_FREE_ARRAY

NUMBERS = (
    "float16",
    "float32",
    "float64",
    "uint8",
    "int8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
)
TEXT = "string"
TEXT_BYTES = 4  # the least that a text takes
PACKED, CHECKED = "zstd", "crc32c"


@dataclass(frozen=True)
class Layout:
    """An array as it lies in its files: chunks in a regular grid, the last ones filled up to full size."""

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    """Of the same length as ``shape``."""
    dtype: np.dtype[Any]
    """Of the numbers as they are stored; ``object`` for text."""
    separator: str
    """Between the numbers of a chunk's name."""
    packed: bool
    """Whether chunks are compressed by zstd."""
    checked: bool
    """Whether a chunk ends in its CRC-32C."""
    fills: bool
    """Whether a chunk that is not there is zeros, or empty texts."""

    @property
    def text(self) -> bool:
        """Whether it holds text."""
        return self.dtype == np.dtype(object)

    @property
    def chunk_values(self) -> int:
        """Values of a chunk."""
        return math.prod(self.chunks)

    @property
    def bytes(self) -> int:
        """What its values take; of text the least that they can take."""
        return math.prod(self.shape) * (TEXT_BYTES if self.text else self.dtype.itemsize)

    @property
    def grid(self) -> tuple[int, ...]:
        """How many chunks there are along every axis."""
        return tuple(-(-size // step) for size, step in zip(self.shape, self.chunks, strict=True))

    def name_of(self, place: tuple[int, ...]) -> str:
        """The file of the chunk at that place of the grid, below the array's own folder."""
        return self.separator.join(("c", *map(str, place)))

    def holds(self, name: str) -> bool:
        """Whether a file below the array's folder is one of its chunks."""
        place = name.split(self.separator)[1:]
        whole = all(part.isdecimal() and len(part) < 19 for part in place) and len(place) == len(self.grid)
        found = tuple(map(int, place)) if whole else None
        return (
            found is not None
            and self.name_of(found) == name
            and all(part < size for part, size in zip(found, self.grid, strict=True))
        )


def parse_json(data: bytes) -> dict[str, Any]:
    """A ``zarr.json`` of version 3; ``ValueError`` for anything else."""
    found = json.loads(data.decode("utf-8"))
    if not isinstance(found, dict) or found.get("zarr_format") != 3 or not isinstance(attributes(found), dict):
        raise ValueError("not of Zarr version 3")
    return found


def attributes(meta: Mapping[str, Any]) -> Any:
    """The attributes of a group or array."""
    return meta.get("attributes", {})


def layout_of(meta: Mapping[str, Any]) -> Layout:
    """The layout that a ``zarr.json`` states; ``ValueError`` for one that no bundle has."""
    shape, chunks = _sizes(meta["shape"], 0), _sizes(meta["chunk_grid"]["configuration"]["chunk_shape"], 1)
    dtype, kind = str(meta["data_type"]), str(meta["chunk_grid"]["name"])
    if kind != "regular" or len(shape) != len(chunks):
        raise ValueError(f"chunks {kind} {list(chunks)} of shape {list(shape)}")
    if dtype != TEXT and dtype not in NUMBERS:
        raise ValueError(f"data_type {dtype}")
    if dtype == TEXT and len(shape) > 1:
        raise ValueError(f"text of {len(shape)} axes")
    keys, transformers = meta["chunk_key_encoding"], meta.get("storage_transformers", [])
    separator = (keys.get("configuration") or {}).get("separator", "/")
    if keys["name"] != "default" or separator not in ("/", ".") or transformers:
        raise ValueError("chunks of other names than Zarr's own")
    endian, packed, checked = _codecs(meta["codecs"], dtype)
    layout = Layout(
        shape=shape,
        chunks=chunks,
        dtype=np.dtype(object) if dtype == TEXT else np.dtype(dtype).newbyteorder(endian),
        separator=separator,
        packed=packed,
        checked=checked,
        fills=meta["fill_value"] in (0, ""),
    )
    size = layout.chunk_values * (TEXT_BYTES if layout.text else layout.dtype.itemsize)
    if size > MOST_CHUNK_BYTES:
        raise ValueError(f"chunks of {size} bytes, at most {MOST_CHUNK_BYTES} are read")
    return layout


def check_backed(layout: Layout, stored: int) -> None:
    """``ValueError`` where ``stored`` bytes of chunks cannot be what an array claims to hold: a bomb, or a lie."""
    most = RATIO_FREE_ARRAY + MOST_ARRAY_RATIO * stored
    if layout.bytes > most:
        raise ValueError(f"{stored} bytes claim to hold {layout.bytes}")


def _sizes(values: Any, least: int) -> tuple[int, ...]:
    if not isinstance(values, list) or len(values) > 8:
        raise ValueError("no shape")
    if not all(type(value) is int and least <= value < 2**53 for value in values):
        raise ValueError(f"sizes {values!r:.100}")
    return tuple(values)


def _codecs(codecs: Any, dtype: str) -> tuple[Literal["<", ">"], bool, bool]:
    """Byte order, whether zstd packs, whether a checksum ends a chunk: values, then one of each at most."""
    names = [str(codec["name"]) for codec in codecs]
    first = "vlen-utf8" if dtype == TEXT else "bytes"
    if names not in ([first], [first, PACKED], [first, CHECKED], [first, PACKED, CHECKED]):
        raise ValueError(f"codecs {', '.join(names):.100}, not {first}, {PACKED}, {CHECKED}")
    endian = (codecs[0].get("configuration") or {}).get("endian", "little")
    if endian not in ("little", "big"):
        raise ValueError(f"byte order {endian!r:.20}")
    return "<" if endian == "little" else ">", PACKED in names, CHECKED in names
