"""Walks through all of an HDF5 file, in a process of its own: what its structure does to libhdf5, it does here.

:func:`bleep_cli.base.files.hdf5.open_hdf5` starts it as ``main(path, seconds)``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import product
from typing import Any

import h5py
import numpy as np

from bleep_cli.base.files.hdf5 import UNSOUND
from bleep_cli.base.files.stored_arrays import SPARSE, UnsoundError, check_group, is_sparse
from bleep_cli.limits import (
    LARGE_BYTES,
    MOST_ARRAYS_RATIO,
    MOST_HDF5_CHUNK,
    MOST_HDF5_MEMORY,
    MOST_HDF5_RATIO,
    MOST_NODES,
    RATIO_FREE_ARRAY,
    RATIO_FREE_TEXT,
    over,
)

AT_ONCE = 16 << 20  # bytes of an array that are read together


def main(path: str, seconds: int) -> None:
    """Looks at the file and ends the process: with 0 for a sound one; with ``UNSOUND`` for another, of which
    standard output then says why, in UTF-8."""
    _limit(seconds)
    try:
        with h5py.File(path, "r") as file:
            walk(file)
        told = ""
    except UnsoundError as error:
        told = str(error)
    except MemoryError:
        told = over("the memory that looking at its structure takes", "MOST_HDF5_MEMORY")
    except Exception:  # what cannot be opened at all is told by who opens it next
        told = ""
    sys.stdout.buffer.write(told.encode("utf-8", "backslashreplace"))
    sys.stdout.flush()
    sys.exit(UNSOUND if told else 0)


def _limit(seconds: int) -> None:
    """Memory, and the processor's time. Windows has neither limit; there the parent's clock has to do."""
    with suppress(ImportError):
        import resource

        wanted = {
            resource.RLIMIT_CORE: (0, 0),
            resource.RLIMIT_CPU: (seconds, seconds + 1),  # SIGXCPU, then SIGKILL
            resource.RLIMIT_AS: (MOST_HDF5_MEMORY, MOST_HDF5_MEMORY),
        }
        for limit, most in wanted.items():
            with suppress(ValueError, OSError):  # it is lower already
                resource.setrlimit(limit, most)


def walk(file: h5py.File) -> None:
    """Opens every group and array, reads every attribute, and every array of which HDF5 keeps an index or a heap.

    Raises ``UnsoundError`` for what belongs to other files, declares more than it stores, is no sound matrix or
    cannot be opened. Values that cannot be read (a filter that is not there) are left to who needs them.
    """
    seen: set[int] = set()
    size, declared = int(file.id.get_filesize()), 0
    waiting: list[tuple[str, h5py.Group]] = [("", file)]
    _attributes(file)
    while waiting:
        path, group = waiting.pop()
        for name, node in _members(path, group):
            whole = f"{path}{name}"
            if (place := h5py.h5o.get_info(node.id).addr) in seen:
                continue
            seen.add(place)
            if len(seen) > MOST_NODES:
                raise UnsoundError(over("the number of its arrays and groups", "MOST_NODES"))
            _attributes(node)
            if isinstance(node, h5py.Dataset):
                declared += _declared(whole, node)
                if declared > max(LARGE_BYTES, MOST_ARRAYS_RATIO * size):
                    told = f"a file of {size:,} bytes whose arrays declare over {declared:,}"
                    raise UnsoundError(over(told, "MOST_ARRAYS_RATIO"))
                if not (name in SPARSE[1:] and is_sparse(group)):  # they are read below
                    _read(whole, node, size)
            elif isinstance(node, h5py.Group):
                waiting.append((f"{whole}/", node))
        check_group(path, group)


def _members(path: str, group: h5py.Group) -> Iterator[tuple[str, Any]]:
    """All that a group holds, but for links that lead nowhere."""
    try:
        names = list(group)
    except (OSError, RuntimeError, ValueError) as error:
        raise UnsoundError(f"{path.strip('/') or 'the file'} cannot be listed") from error
    for name in names:
        try:
            external = isinstance(group.get(name, getlink=True), h5py.ExternalLink)
            node = None if external else group.get(name)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise UnsoundError(f"{path}{name} cannot be opened") from error
        if external:
            raise UnsoundError(f"{path}{name} is in another file, which is not read")
        if node is not None:
            yield name, node


def _attributes(node: Any) -> None:
    for name in node.attrs:
        with _left_alone():
            node.attrs[name]


def _declared(name: str, stored: h5py.Dataset) -> int:
    """Bytes that an array has once it is unpacked."""
    if stored.external is not None or stored.is_virtual:
        raise UnsoundError(f"{name} is stored in another file, which is not read")
    declared, held = int(stored.nbytes or 0), int(stored.id.get_storage_size())
    if declared > max(RATIO_FREE_ARRAY, MOST_HDF5_RATIO * held):
        raise UnsoundError(over(f"{name}, of which {held:,} bytes declare {declared:,},", "MOST_HDF5_RATIO"))
    chunk = math.prod(stored.chunks or ()) * int(stored.dtype.itemsize)
    if chunk > MOST_HDF5_CHUNK:
        raise UnsoundError(over(f"a chunk of {chunk:,} bytes of {name}", "MOST_HDF5_CHUNK"))
    return declared


def _read(name: str, stored: h5py.Dataset, file_bytes: int) -> None:
    """Values that lie one after the other need no structure, and are not read.

    Texts lie in the file as they are, each once: one that many places refer to would fill the memory.
    """
    texts = bool(stored.dtype.hasobject)
    if not texts and stored.id.get_create_plist().get_layout() == h5py.h5d.CONTIGUOUS:
        return
    left = file_bytes + RATIO_FREE_TEXT
    with _left_alone():
        for part in _parts(stored):
            values = np.asarray(stored[part])
            left -= sum(map(_size, values.ravel())) if texts else 0
            if left < 0:
                raise UnsoundError(f"the texts of {name} are larger than the file")


@contextmanager
def _left_alone() -> Iterator[None]:
    """Values that cannot be read are left to who needs them, but not those that no memory is left for."""
    try:
        yield
    except UnsoundError:
        raise
    except (OSError, RuntimeError, ValueError, TypeError, KeyError) as error:
        if "alloc" in str(error):  # libhdf5's word for it
            raise MemoryError from error


def _size(value: Any) -> int:
    return len(value) if isinstance(value, bytes | str) else int(getattr(value, "nbytes", 0))


def _parts(stored: h5py.Dataset) -> Iterator[Any]:
    """What together is all of an array: whole chunks, as many together as ``AT_ONCE`` holds."""
    shape = stored.shape
    if shape is None or 0 in shape:
        return
    edges = list(stored.chunks or (1,) * len(shape))
    size = math.prod(edges) * max(1, int(stored.dtype.itemsize))
    for axis in reversed(range(len(shape))):
        more = max(1, min(-(-shape[axis] // edges[axis]), AT_ONCE // size))
        edges[axis], size = edges[axis] * more, size * more
    starts = (range(0, length, edge) for length, edge in zip(shape, edges, strict=True))
    for corner in product(*starts):
        yield tuple(slice(first, first + edge) for first, edge in zip(corner, edges, strict=True))
