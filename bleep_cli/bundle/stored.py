"""Arrays of a bundle read in part: some rows, or some genes, and never more chunks than these lie in."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.reasons import told
from bleep_cli.base.rows import Rows
from bleep_cli.bundle.storage.arrays import Group, StoredArray
from bleep_cli.errors import BleepError, ReferenceError
from bleep_cli.towers.encoder import are_unit
from bleep_cli.types import F32, I64

if TYPE_CHECKING:
    from scipy import sparse

Found = TypeVar("Found")
ExpressionPrecision = Literal["f16", "f32"]
DTYPES: dict[ExpressionPrecision, str] = {"f16": "<f2", "f32": "<f4"}
SLOPE = "slope"
"""Path of the array f32[d, g] that corrected predictions take."""


@contextmanager
def reading(bundle: str, array: str) -> Iterator[None]:
    """The door of what a bundle stores: any error inside, whoever raises it, is a ``ReferenceError`` of one line
    that names the array."""
    try:
        yield
    except BleepError:
        raise
    except Exception as error:
        raise ReferenceError(f"{bundle}: {array} is damaged ({told(error)})") from error


def read_group(
    root: Group,
    bundle: str,
    group: str,
    dtypes: Mapping[str, str],
    read: Callable[[str], NDArray[Any]],
    make: Callable[[Mapping[str, NDArray[Any]], Mapping[str, Any]], Found | None],
) -> Found | None:
    """What ``make`` makes of a group of arrays that a bundle may hold; None where it holds none.

    ``dtypes`` names its arrays; ``read`` gives one by its path. ``make`` is given them by name, of these dtypes,
    and the attributes of the first; None, or an error, is a ``ReferenceError``: they do not fit together.
    """
    if group not in root:
        return None
    stored = {part: read(f"{group}/{part}") for part in dtypes}
    first = root[f"{group}/{next(iter(dtypes))}"]
    try:
        values = {part: np.asarray(values, dtypes[part].lstrip("<")) for part, values in stored.items()}
        found = make(values, first.attrs)
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError):
        found = None
    if found is None:
        raise ReferenceError(f"{bundle}: the arrays of its {group} do not fit together")
    return found


def stated_number(attrs: Mapping[str, Any], name: str, default: float, array: str) -> float:
    """A number among the attributes of an ``array``; ``ReferenceError`` for anything else of that name."""
    value = attrs.get(name, default)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ReferenceError(f"{array}: {name} is {value!r:.100} and no number")
    return float(value)


class StoredRows:
    """An array of a bundle [n, ...], read by slices of rows. Raises ``ReferenceError`` for a damaged chunk."""

    def __init__(self, array: StoredArray, bundle: str, name: str) -> None:
        self._array, self._bundle, self._name = array, bundle, name

    @property
    def shape(self) -> tuple[int, ...]:
        """(n, ...)."""
        return tuple(self._array.shape)

    def __getitem__(self, rows: slice, /) -> NDArray[Any]:
        with reading(self._bundle, self._name):
            return self._array[rows]


class UnitRows(StoredRows):
    """Embeddings f32[n, d]; rows that are not of length 1 are a ``ReferenceError`` when they are read."""

    def __getitem__(self, rows: slice, /) -> F32:
        values = np.asarray(super().__getitem__(rows), np.float32)
        if not are_unit(values):
            raise ReferenceError(f"{self._bundle}: {self._name} are no unit vectors")
        return values


class StoredExpression:
    """Some genes' expression on disk, [n, g] in the order of ``columns`` i64[g] of the array [n, all genes].

    Nothing is read before it is asked for; only the chunks of the asked spots and genes are.
    """

    def __init__(self, array: StoredArray, bundle: str, columns: I64) -> None:
        self._array, self._bundle = array, bundle
        self._order = np.argsort(columns, kind="stable")  # positions of the genes as they lie on disk
        self._sorted = columns[self._order]

    @property
    def shape(self) -> tuple[int, int]:
        """(n spots, g genes)."""
        return int(self._array.shape[0]), len(self._order)

    def of_genes(self, genes: slice) -> StoredExpression:
        """The same of some of its genes, consecutive in its own order."""
        columns = np.empty_like(self._sorted)
        columns[self._order] = self._sorted
        return StoredExpression(self._array, self._bundle, columns[genes])

    def __getitem__(self, rows: slice, /) -> F32:
        """f32[b, g] of consecutive spots."""
        return self.read(np.arange(*rows.indices(self.shape[0])))

    def read(self, rows: I64) -> F32:
        """f32[b, g] of the spots ``rows``, ascending."""
        out = np.empty((len(rows), len(self._order)), np.float32)
        self._fill(out, rows, self._order, self._sorted)
        return out

    def gene_blocks(self, rows: I64, max_bytes: int) -> Iterator[tuple[I64, F32]]:
        """Yields ``(positions of the genes, f32[b, w])`` of the spots ``rows``, ascending, until all genes came.

        A block is the genes of one chunk, or fewer of them where they would take more than ``max_bytes``.
        """
        width = int(self._array.chunks[1])
        most = max(1, max_bytes // (4 * max(1, len(rows))))
        for chunk in np.unique(self._sorted // width):
            first, last = np.searchsorted(self._sorted, (chunk * width, (chunk + 1) * width))
            for start in range(first, last, most):
                genes = slice(start, min(start + most, last))
                block = np.empty((len(rows), genes.stop - genes.start), np.float32)
                self._fill(block, rows, np.arange(block.shape[1]), self._sorted[genes])
                yield self._order[genes], block

    def _fill(self, out: F32, rows: I64, positions: I64, columns: I64) -> None:
        """Reads ``rows`` × ``columns``, both ascending, into the columns ``positions`` of ``out``."""
        height, width = self._array.chunks
        for down in np.unique(rows // height):
            a, b = np.searchsorted(rows, (down * height, (down + 1) * height))
            inside = rows[a:b] - down * height
            for across in np.unique(columns // width):
                c, d = np.searchsorted(columns, (across * width, (across + 1) * width))
                with reading(self._bundle, "expression"):
                    chunk = self._array[_part(down, height), _part(across, width)]
                    check_expression(chunk)
                taken = chunk[:, columns[c:d] - across * width]
                out[a:b, positions[c:d]] = taken if len(inside) == len(chunk) else taken[inside]


def _part(number: int, size: int) -> slice:
    return slice(number * size, (number + 1) * size)


def check_expression(values: NDArray[Any]) -> None:
    """``ValueError`` for log1p expression that is NaN, infinite or negative."""
    if not (np.isfinite(values).all() and (values >= 0).all()):
        raise ValueError("it holds NaN, infinity or negative values")


def sample_rows(rows: Rows, count: int, seed: int) -> NDArray[Any]:
    """``count`` rows (all, where there are fewer) drawn without replacement, in their order."""
    n = rows.shape[0]
    chosen = np.sort(np.random.default_rng(seed).permutation(n)[:count])
    return np.concatenate([rows[int(row) : int(row) + 1] for row in chosen])


def rounded(expression: sparse.csr_matrix, precision: ExpressionPrecision) -> sparse.csr_matrix:
    """CSR f32 expression with the values that it will have when it is read back, still as f32."""
    if precision == "f32":
        return expression
    out = expression.copy()
    out.data = out.data.astype(DTYPES[precision]).astype(np.float32)
    return out
