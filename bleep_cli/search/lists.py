"""Approximate search for large references: rows in lists of what lies together, of which the nearest are searched.

An inverted file (Jégou, Douze & Schmid 2011, IEEE TPAMI 33), in NumPy: k-means of a sample gives the lists'
centres, every row belongs to the nearest, and a query is compared exactly with the rows of the lists whose centres
are nearest to it. Queries are taken many at a time, list by list, so that each list is one matrix product.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from bleep_cli.base.hashing import buffer_of
from bleep_cli.base.rows import ROW_BLOCK, Rows, row_blocks
from bleep_cli.search.exact import check_found
from bleep_cli.search.recall import RECALL_K
from bleep_cli.types import F32, I32, I64, Neighbours

PROBES = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512)  # lists that are looked into, in this order
TRAINED_BY = 64  # rows for each list, of the sample that its centre comes from
ROUNDS = 10  # of k-means
FOUND_BYTES = 64 << 20  # of candidates that are held at a time


@dataclass(frozen=True)
class Lists:
    """Which of l lists each of n rows is in."""

    centres: F32
    """f32[l, d], unit vectors."""
    member: I32
    """i32[n], 0 to l - 1."""
    probes: int
    """How many lists are looked into for up to ``RECALL_K`` neighbours."""


def make_lists(embeddings: Rows, seed: int = 0) -> Lists:
    """√n lists of the unit vectors f32[n, d]; one is looked into, until that is tuned."""
    n = embeddings.shape[0]
    count = max(1, math.isqrt(n))
    rng = np.random.default_rng(seed)
    taken = np.sort(rng.permutation(n)[: TRAINED_BY * count])
    centres = _centres(_picked(embeddings, taken), count, rng)
    member = np.concatenate([_nearest(np.asarray(block), centres) for block in row_blocks(embeddings, ROW_BLOCK)])
    return Lists(centres, member.astype(np.int32), 1)


class ListIndex:
    """Search of ``embeddings`` f32[n, d] by ``lists``; the same answers as exact search up to its recall.

    The rows are copied list by list, to memory or, if they are more than ``held_bytes``, to a temporary file.
    """

    def __init__(self, embeddings: Rows, lists: Lists, held_bytes: int) -> None:
        self.lists = lists
        self._order = np.argsort(lists.member, kind="stable")
        self._start = np.searchsorted(lists.member[self._order], np.arange(len(lists.centres) + 1))
        self._rows = _Packed(embeddings, self._order, held_bytes)

    @property
    def embeddings_sha256(self) -> str:
        """Hash of the embeddings, as ``sha256_of`` makes it."""
        return self._rows.sha256

    def vectors(self, rows: I64) -> F32:
        """f32[..., d]: the embeddings of ``rows`` i64[...]."""
        return self._rows.at(rows)

    def at(self, probes: int) -> ListIndex:
        """The same looking into so many lists."""
        other = object.__new__(ListIndex)
        other.__dict__.update(self.__dict__ | {"lists": replace(self.lists, probes=probes)})
        return other

    def search(self, queries: F32, k: int) -> Neighbours:
        """``f32[m, d]`` → the ``min(k, n)`` nearest rows found, equal similarities ordered by index."""
        n = len(self._order)
        k = min(k, n)
        index, similarity = np.empty((len(queries), k), np.int64), np.empty((len(queries), k), np.float32)
        probes = math.ceil(self.lists.probes * max(1.0, k / RECALL_K))
        probes = min(len(self.lists.centres), max(probes, self._fewest(k)))
        step = max(1, FOUND_BYTES // (12 * probes * k))
        for first in range(0, len(queries), step):
            some = slice(first, first + step)
            index[some], similarity[some] = self._search(queries[some], k, probes)
        check_found(index, similarity, n)
        return Neighbours(index, similarity)

    def _fewest(self, k: int) -> int:
        """So many lists hold k rows, whichever they are."""
        held = np.cumsum(np.sort(np.diff(self._start)))
        return int(np.searchsorted(held, k)) + 1

    def _search(self, queries: F32, k: int, probes: int) -> tuple[I64, F32]:
        near = queries @ self.lists.centres.T
        chosen = np.argpartition(-near, probes - 1, axis=1)[:, :probes]
        query, found = np.divmod(np.argsort(chosen, axis=None, kind="stable"), probes)
        listed = chosen[query, found]
        bounds = np.searchsorted(listed, np.arange(len(self._start)))
        best = np.full((len(queries), probes * k), -np.inf, np.float32)
        place = np.zeros(best.shape, np.int64)
        filled = np.zeros(len(queries), np.int64)
        for number in np.unique(listed):
            first, last = self._start[number : number + 2]
            asked = query[bounds[number] : bounds[number + 1]]
            if first == last:
                continue
            alike = queries[asked] @ self._rows.read(first, last).T
            columns = np.broadcast_to(np.arange(alike.shape[1]), alike.shape)
            if alike.shape[1] > k:
                columns = np.argpartition(alike, alike.shape[1] - k, axis=1)[:, -k:]
                alike = np.take_along_axis(alike, columns, axis=1)
            slots = filled[asked, None] + np.arange(alike.shape[1])
            best[asked[:, None], slots], place[asked[:, None], slots] = alike, first + columns
            filled[asked] += alike.shape[1]
        kept = np.argpartition(best, best.shape[1] - k, axis=1)[:, -k:]
        similarity = np.take_along_axis(best, kept, axis=1)
        index = self._order[np.take_along_axis(place, kept, axis=1)]
        order = np.lexsort((index, -similarity), axis=1)
        return np.take_along_axis(index, order, axis=1), np.take_along_axis(similarity, order, axis=1)


class _Packed:
    """Rows f32[n, d] in another order, in memory or in a temporary file."""

    def __init__(self, rows: Rows, order: I64, held_bytes: int) -> None:
        n, self._width = rows.shape
        self._place = np.empty(n, np.int64)
        self._place[order] = np.arange(n)
        self._held = np.empty((n, self._width), np.float32) if 4 * n * self._width <= held_bytes else None
        if self._held is None:
            self._file = tempfile.TemporaryFile(prefix="bleep-")  # noqa: SIM115 - it lives as long as the rows
            weakref.finalize(self, self._file.close)
        digest, done = hashlib.sha256(), 0
        with ThreadPoolExecutor(1, "bleep-hash") as pool:  # beside reading the next block, and in their order
            for block in row_blocks(rows, ROW_BLOCK):
                values = np.ascontiguousarray(block, np.float32)
                pool.submit(digest.update, buffer_of(values))
                self._put(self._place[done : done + len(values)], values)
                done += len(values)
        if self._held is None:
            self._file.flush()
        self.sha256 = digest.hexdigest()

    def read(self, first: int, last: int) -> F32:
        """f32[last - first, d] in the order they lie in."""
        if self._held is not None:
            return self._held[first:last]
        self._file.seek(4 * first * self._width)
        values = np.frombuffer(self._file.read(4 * (last - first) * self._width), np.float32)
        return values.reshape(-1, self._width)

    def at(self, rows: I64) -> F32:
        """f32[..., d] of ``rows`` i64[...] as they were numbered before."""
        if self._held is not None:
            return self._held[self._place[rows]]
        # mapped while it is looked at, so that what is read does not stay as memory that is held
        mapped = np.memmap(self._file, np.float32, "r", shape=(len(self._place), self._width))
        return np.asarray(mapped[self._place[rows]], np.float32)

    def _put(self, place: I64, values: F32) -> None:
        if self._held is not None:
            self._held[place] = values
            return
        order = np.argsort(place)
        place, values = place[order], values[order]  # those of a list one after the other
        ends = np.flatnonzero(np.diff(place) != 1) + 1
        for first, last in zip([0, *ends], [*ends, len(place)], strict=True):
            self._file.seek(4 * int(place[first]) * self._width)
            self._file.write(values[first:last].data)


def _picked(embeddings: Rows, rows: I64) -> F32:
    """f32[m, d] of ascending rows i64[m], read in order."""
    found = []
    for number, block in enumerate(row_blocks(embeddings, ROW_BLOCK)):
        first = number * ROW_BLOCK
        inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + ROW_BLOCK)]
        found.append(np.asarray(block, np.float32)[inside - first])
    return np.concatenate(found)


def _centres(sample: F32, count: int, rng: np.random.Generator) -> F32:
    """f32[count, d] by k-means on the sphere."""
    from scipy import sparse

    centres = sample[np.sort(rng.permutation(len(sample))[:count])]
    for _ in range(ROUNDS):
        member = np.concatenate(
            [_nearest(sample[first : first + ROW_BLOCK], centres) for first in range(0, len(sample), ROW_BLOCK)]
        )
        one = np.ones(len(sample), np.float32)
        total = sparse.csr_matrix((one, (member, np.arange(len(sample)))), (count, len(sample))) @ sample
        length = np.linalg.norm(total, axis=1, keepdims=True)
        centres = np.where(length > 0, total / np.where(length > 0, length, 1), centres).astype(np.float32)
    return centres


def _nearest(rows: F32, centres: F32) -> I64:
    return np.asarray((rows @ centres.T).argmax(axis=1))
