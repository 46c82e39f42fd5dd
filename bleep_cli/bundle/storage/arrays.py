"""The arrays of a bundle as they are read: checksum, size and form of every chunk checked before it is used.

Zarr writes bundles, and tests hold that this reads what Zarr does. Reading is done here because a bundle may come
from anywhere: of all that Zarr can read a bundle needs a small part, and no more than that is let in.
"""

from __future__ import annotations

import math
import re
import struct
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product
from types import EllipsisType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.reasons import told
from bleep_cli.bundle.storage.container import Container
from bleep_cli.bundle.storage.layout import Layout, attributes, check_backed, layout_of, parse_json
from bleep_cli.limits import MOST_BUNDLE_ARRAYS, MOST_BUNDLE_JSON, MOST_CHUNK_BYTES

META = "zarr.json"
CHECKSUM_BYTES = 4
SPARE_BYTES = 1 << 16  # by which packed values may be longer than plain ones
ROOM_OF_TEXTS = 1 << 20  # bytes that the texts of a chunk are unpacked into first
_CHUNK = re.compile(r"(.+)/(c(?:[/.][0-9]+)*)")

Part = slice | EllipsisType
"""What an array is asked for along an axis; slices without a step."""


class StoredArray:
    """An array of a bundle, read by slices. ``ValueError`` and ``OSError`` for a chunk that is damaged."""

    def __init__(self, files: Container, path: str, layout: Layout, attrs: Mapping[str, Any]) -> None:
        self.attrs = attrs
        self.shape, self.chunks, self.dtype = layout.shape, layout.chunks, layout.dtype
        self.ndim, self.nbytes = len(layout.shape), layout.bytes
        self._files, self._path, self._layout = files, path, layout

    def __getitem__(self, parts: Part | tuple[Part, ...]) -> NDArray[Any]:
        """The values of the slices, in memory of their own."""
        given = parts if isinstance(parts, tuple) else (parts,)
        asked = tuple(slice(None) if isinstance(part, EllipsisType) else part for part in given)
        asked = (*asked, *(slice(None),) * self.ndim)[: self.ndim]
        bounds = [part.indices(size)[:2] for part, size in zip(asked, self.shape, strict=True)]
        bounds = [(start, max(start, stop)) for start, stop in bounds]
        out = np.empty([stop - start for start, stop in bounds], self.dtype.newbyteorder("="))
        spans = (
            range(a // c, -(-b // c) if b > a else a // c) for (a, b), c in zip(bounds, self.chunks, strict=True)
        )
        for place in product(*spans):
            into, of = [], []
            for (a, b), at, step in zip(bounds, place, self.chunks, strict=True):
                first, last = max(a, at * step), min(b, (at + 1) * step)
                into.append(slice(first - a, last - a))
                of.append(slice(first - at * step, last - at * step))
            out[tuple(into)] = self._chunk(place)[tuple(of)]
        return out

    def _chunk(self, place: tuple[int, ...]) -> NDArray[Any]:
        layout, name = self._layout, f"{self._path}/{self._layout.name_of(place)}"
        if name not in self._files.sizes:
            if not layout.fills:
                raise ValueError(f"{name} is missing")
            return np.full(layout.chunks, "" if layout.text else 0, layout.dtype)
        size = MOST_CHUNK_BYTES if layout.text else layout.chunk_values * layout.dtype.itemsize
        data = self._files.read(name, size + size // 64 + SPARE_BYTES)
        try:
            values = _unpacked(data, layout, size)
        except Exception as error:  # imagecodecs and NumPy have their own
            raise ValueError(f"{name}: {told(error)}") from error
        return values.reshape(layout.chunks)


class Group:
    """Arrays and groups below a path of a bundle, by their names."""

    def __init__(self, members: Mapping[str, StoredArray | Mapping[str, Any]], path: str = "") -> None:
        self._members, self._path = members, path
        found = members[path]
        self.attrs: Mapping[str, Any] = found.attrs if isinstance(found, StoredArray) else found

    def __contains__(self, name: str) -> bool:
        return self._full(name) in self._members

    def __getitem__(self, name: str) -> StoredArray | Group:
        """``KeyError`` for a name that is not there."""
        found = self._members[self._full(name)]
        return found if isinstance(found, StoredArray) else Group(self._members, self._full(name))

    def get(self, name: str) -> StoredArray | Group | None:
        """None for a name that is not there."""
        return self[name] if self._full(name) in self._members else None

    def arrays(self) -> dict[str, StoredArray]:
        """All arrays below it, at whatever depth, by their paths from here, in their order."""
        start = self._full("")
        below = {
            path.removeprefix(start): found for path, found in self._members.items() if path.startswith(start)
        }
        return {path: found for path, found in sorted(below.items()) if isinstance(found, StoredArray)}

    def _full(self, name: str) -> str:
        return f"{self._path}/{name}" if self._path else name


def read_tree(files: Container) -> tuple[Group, int]:
    """The root group of a bundle's files, and how many chunks its arrays lack.

    ``KeyError``, ``TypeError``, ``ValueError`` and what a container raises for files that are no bundle's, or for
    arrays that cannot be what they claim. A chunk that is not there is zeros to whoever reads on: older versions
    stored none for zeros.
    """
    chunks: dict[str, list[str]] = defaultdict(list)
    for name in files.sizes:
        if found := _CHUNK.fullmatch(name):
            chunks[found[1]].append(found[2])
    metas = [name for name in files.sizes if name == META or name.endswith(f"/{META}")]
    if len(metas) > MOST_BUNDLE_ARRAYS:
        raise ValueError(f"more than {MOST_BUNDLE_ARRAYS} arrays")
    members: dict[str, StoredArray | Mapping[str, Any]] = {}
    lacking = 0
    for name in metas:
        path = name.removesuffix(META).rstrip("/")
        try:
            meta = parse_json(files.read(name, MOST_BUNDLE_JSON))
            if meta["node_type"] != "array":
                members[path] = attributes(meta)
                continue
            layout = layout_of(meta)
            there = [chunk for chunk in chunks[path] if layout.holds(chunk)]
            check_backed(layout, sum(files.sizes[f"{path}/{chunk}"] for chunk in there))
        except Exception as error:
            raise ValueError(f"{path or 'its root'}: {told(error)}") from error
        lacking += math.prod(layout.grid) - len(there)
        members[path] = StoredArray(files, path, layout, attributes(meta))
    if not isinstance(members.get(""), Mapping):
        raise ValueError("no group of Zarr version 3")
    return Group(members), lacking


def array_blocks(array: StoredArray) -> Iterator[NDArray[Any]]:
    """The values of an array, a chunk's rows at a time; a lone value as one row."""
    if not array.ndim:
        yield array[...].reshape(1)
        return
    step = array.chunks[0]
    for start in range(0, array.shape[0], step):
        yield array[start : start + step]


def _unpacked(data: bytes | bytearray, layout: Layout, size: int) -> NDArray[Any]:
    """The values of a chunk of at most ``size`` bytes."""
    if layout.checked:
        import google_crc32c

        data, stated = data[:-CHECKSUM_BYTES], data[-CHECKSUM_BYTES:]
        if google_crc32c.value(data) != int.from_bytes(stated, "little"):
            raise ValueError("its checksum does not match")
    if layout.packed:
        data = _texts_unpacked(data, layout.chunk_values, size) if layout.text else _decoded(data, size)
    if layout.text:
        return _texts(data, layout.chunk_values)
    if len(data) != size:
        raise ValueError(f"{len(data)} bytes, not {size}")
    return np.frombuffer(data, layout.dtype)


def _decoded(data: bytes | bytearray, size: int) -> bytes:
    """What zstd packed, in no more room than ``size``."""
    from imagecodecs import zstd_decode

    return bytes(zstd_decode(data, out=size))


def _texts_unpacked(data: bytes | bytearray, count: int, most: int) -> bytes:
    """The same of texts, whose size nothing states: more room is tried until they fit, since all that there may be
    is more memory than a small bundle should take."""
    room = min(most, max(ROOM_OF_TEXTS, 32 * count))
    while room < most:
        try:
            return _decoded(data, room)
        except RuntimeError:  # also of what is broken: told when it is tried with all room
            room = min(most, 8 * room)
    return _decoded(data, most)


def _texts(data: bytes | bytearray, count: int) -> NDArray[Any]:
    """The texts of a chunk: their number, then each with its length before it."""
    (stated,) = struct.unpack_from("<I", data)
    if stated != count or len(data) < 4 + 4 * count:
        raise ValueError(f"{stated} texts, not {count}")
    texts = []
    at, text, stored = 4, "", data[:0]
    for _ in range(count):
        if not stored or data[at : at + len(stored)] != stored:  # names of donors come a million times on end
            start = at + 4
            (length,) = struct.unpack_from("<I", data, at)
            if start + length > len(data):
                raise ValueError("a text goes on beyond its end")
            text, stored = data[start : start + length].decode("utf-8"), data[at : start + length]
        at += len(stored)
        texts.append(text)
    if at != len(data):
        raise ValueError("more than its texts")
    out = np.empty(count, object)
    out[:] = texts
    return out
