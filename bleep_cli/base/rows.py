"""Tables that are read some rows at a time, so that they need not fit into memory."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVarTuple, cast

import numpy as np
from numpy.typing import NDArray

from bleep_cli.types import F32, I64

if TYPE_CHECKING:
    from scipy import sparse

Block: TypeAlias = "NDArray[Any] | sparse.csr_matrix"
"""Some rows of a table."""

ROW_BLOCK = 16_384
Arrays = TypeVarTuple("Arrays")


class Rows(Protocol):
    """A table [n, ...] read by slices of rows: an array, a sparse matrix, a memory map, or one on disk."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...)."""

    def __getitem__(self, rows: slice, /) -> Block:
        """The rows of a slice without a step."""


def row_blocks(rows: Rows, step: int) -> Iterator[Block]:
    """Slices of ``step`` whole rows, in order; the last may be shorter."""
    for start in range(0, rows.shape[0], step):
        yield rows[start : start + step]


def regrouped(blocks: Iterable[tuple[*Arrays]], rows: int) -> Iterator[tuple[*Arrays]]:
    """The same rows in blocks of exactly ``rows``, the last one fewer, whatever their sizes were.

    A block is one or several arrays of as many rows each; type and width of each array are those of the first
    block's. What is yielded is a buffer, filled anew for every block: use it before asking for the next.
    """
    buffers: tuple[NDArray[Any], ...] = ()
    filled = 0
    for block in blocks:
        arrays = cast("tuple[NDArray[Any], ...]", block)
        buffers = buffers or tuple(np.empty((rows, *array.shape[1:]), array.dtype) for array in arrays)
        taken, length = 0, len(arrays[0])
        while taken < length:
            count = min(rows - filled, length - taken)
            for buffer, array in zip(buffers, arrays, strict=True):
                buffer[filled : filled + count] = array[taken : taken + count]
            filled, taken = filled + count, taken + count
            if filled == rows:
                yield cast("tuple[*Arrays]", buffers)
                filled = 0
    if filled:
        yield cast("tuple[*Arrays]", tuple(buffer[:filled] for buffer in buffers))


class StackedRows:
    """Tables of one width, one below the other, as one table; slices come out dense, f32."""

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = tuple(parts)
        self._ends = np.cumsum([part.shape[0] for part in parts])

    @property
    def shape(self) -> tuple[int, ...]:
        """(sum of the rows, width)."""
        return (int(self._ends[-1]), *self.parts[0].shape[1:])

    def __getitem__(self, rows: slice, /) -> F32:
        start, stop, _ = rows.indices(self.shape[0])
        taken = []
        for part, end in zip(self.parts, self._ends, strict=True):
            first = int(end) - part.shape[0]
            if start < end and stop > first:
                taken.append(dense_rows(part[max(start - first, 0) : stop - first]))
        return np.concatenate(taken) if taken else np.empty((0, *self.shape[1:]), np.float32)


class PickedRows:
    """Some rows of a table, ``picked`` i64[m] in their order, as a table; slices come out dense, f32."""

    def __init__(self, rows: Rows, picked: I64) -> None:
        self.rows, self.picked = rows, picked

    @property
    def shape(self) -> tuple[int, ...]:
        """(m, width)."""
        return (len(self.picked), *self.rows.shape[1:])

    def __getitem__(self, rows: slice, /) -> F32:
        wanted = self.picked[rows]
        runs = np.split(wanted, np.flatnonzero(np.diff(wanted) != 1) + 1) if len(wanted) else []
        taken = [dense_rows(self.rows[int(run[0]) : int(run[-1]) + 1]) for run in runs]
        return np.concatenate(taken) if taken else np.empty((0, *self.shape[1:]), np.float32)


class PickedColumns:
    """Some columns of a table, ``picked`` i64[p] in their order, as a table; slices come out dense, f32."""

    def __init__(self, rows: Rows, picked: I64) -> None:
        self._rows, self._picked = rows, picked

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, p)."""
        return (self._rows.shape[0], len(self._picked))

    def __getitem__(self, rows: slice, /) -> F32:
        return dense_rows(self._rows[rows][:, self._picked])


class SpooledRows:
    """A table f32[n, d] put once into a temporary file, from where it is read again without being unpacked."""

    def __init__(self, rows: Rows) -> None:
        self.shape = tuple(rows.shape)
        self._file = tempfile.TemporaryFile(prefix="bleep-")  # noqa: SIM115 - it lives as long as the table
        weakref.finalize(self, self._file.close)
        for block in row_blocks(rows, ROW_BLOCK):
            self._file.write(np.ascontiguousarray(block, np.float32).data)

    def __getitem__(self, rows: slice, /) -> F32:
        start, stop, _ = rows.indices(self.shape[0])
        width = int(np.prod(self.shape[1:]))
        self._file.seek(4 * start * width)
        values = np.frombuffer(self._file.read(4 * max(stop - start, 0) * width), np.float32)
        return values.reshape(-1, *self.shape[1:])


def dense_rows(block: Block) -> F32:
    """A slice of rows as a dense f32 array, whether it came sparse or not."""
    return np.asarray(block.toarray() if hasattr(block, "toarray") else block, np.float32)
