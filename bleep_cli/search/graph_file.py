"""A stored HNSW graph, looked at before hnswlib loads it: hnswlib follows whatever links a file holds.

The layout is that of hnswlib 0.6 to 0.8 (``HierarchicalNSW::saveIndex``), little-endian: a header; for every row
its links on the lowest level, its vector and its label; then for every row the links on the levels above, if any.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.rows import Rows
from bleep_cli.limits import MOST_LEVELS, MOST_LINKS
from bleep_cli.types import I64

HEADER = np.dtype(
    [
        ("level0", "<u8"),
        ("capacity", "<u8"),
        ("rows", "<u8"),
        ("row_bytes", "<u8"),
        ("label_at", "<u8"),
        ("vector_at", "<u8"),
        ("top", "<i4"),
        ("entry", "<u4"),
        ("most_links", "<u8"),
        ("most_links0", "<u8"),
        ("m", "<u8"),
        ("mult", "<f8"),
        ("ef_construction", "<u8"),
    ]
)
WORD = 4  # bytes of a link, and of a number of links
LABEL = 8
BLOCK = 16_384  # rows looked at a time


@dataclass(frozen=True)
class Head:
    """What a graph's header states, found to be possible."""

    rows: int
    m: int
    """Links of a row on a level above the lowest, at most; there are twice as many there."""
    row_bytes: int
    vector_at: int
    """Where in a row its vector begins; the links are before it."""
    label_at: int
    top: int
    """The highest level."""
    entry: int
    """The row that a search begins with."""


def check_graph(file: Path, rows: int, dim: int, embeddings: Rows | None = None) -> None:
    """``ValueError`` for a file that is not a whole graph of ``rows`` vectors f32 of ``dim`` dimensions.

    Every link is to a row that has the link's level, labels are 0 to ``rows`` - 1, each once, and the vectors are
    those of ``embeddings`` f32[rows, dim] where these are given.
    """
    if file.stat().st_size < HEADER.itemsize:
        raise ValueError("it has no header")
    data = np.memmap(file, np.uint8, mode="r")
    head = _head(data, rows, dim)
    upper = data[HEADER.itemsize + rows * head.row_bytes :]
    if len(upper) % WORD or len(upper) < WORD * rows:
        raise ValueError("it ends too early")
    _check_upper(upper.view("<u4"), head)
    _check_rows(data[HEADER.itemsize :][: rows * head.row_bytes].reshape(rows, head.row_bytes), head, embeddings)


def _head(data: NDArray[np.uint8], rows: int, dim: int) -> Head:
    header = data[: HEADER.itemsize].view(HEADER)[0]
    m = int(header["m"])
    links = WORD + 2 * m * WORD
    head = Head(rows, m, links + 4 * dim + LABEL, links, links + 4 * dim, int(header["top"]), int(header["entry"]))
    stated = tuple(int(header[name]) for name in ("level0", "rows", "row_bytes", "vector_at", "label_at"))
    if not 1 <= m <= MOST_LINKS or stated != (0, rows, head.row_bytes, head.vector_at, head.label_at):
        raise ValueError(f"not one of {rows} vectors of {dim} dimensions")
    if (int(header["most_links"]), int(header["most_links0"])) != (m, 2 * m) or not header["mult"] > 0:
        raise ValueError("its numbers of links contradict each other")
    if not (0 <= head.top < MOST_LEVELS and head.entry < rows and int(header["capacity"]) >= rows):
        raise ValueError("its search begins outside of it")
    if len(data) < HEADER.itemsize + rows * head.row_bytes:
        raise ValueError("it ends too early")
    return head


def _check_upper(words: NDArray[np.uint32], head: Head) -> None:
    """The levels above the lowest: for every row a number of bytes, and as many with a list for every level."""
    width = head.m + 1  # words of a list: how many links, and room for all
    level, start = _levels(words, head)
    if int(level.max()) != head.top or int(level[head.entry]) != head.top:
        raise ValueError("its levels contradict its header")
    for step in range(1, head.top + 1):
        rows = np.flatnonzero(level >= step)
        for first in range(0, len(rows), BLOCK):
            at = start[rows[first : first + BLOCK]] + (step - 1) * width
            lists = words[at[:, None] + np.arange(width)]
            _check_links(lists[:, 0], lists[:, 1:], level, step)


def _levels(words: NDArray[np.uint32], head: Head) -> tuple[I64, I64]:
    """The level of every row, and the word that its lists begin with."""
    width = head.m + 1
    level, start = np.zeros(head.rows, np.int64), np.zeros(head.rows, np.int64)
    read, end = words.data, len(words)
    at = 0
    for row in range(head.rows):
        if at >= end:
            raise ValueError("it ends too early")
        size = read[at]
        at += 1
        if size:
            steps, rest = divmod(size, WORD * width)
            if rest or steps > head.top:
                raise ValueError("its levels contradict its header")
            level[row], start[row] = steps, at
            at += steps * width
    if at != end:
        raise ValueError("it does not end where it should")
    return level, start


def _check_rows(table: NDArray[np.uint8], head: Head, embeddings: Rows | None) -> None:
    """The lowest level: links, vectors and labels, a block of rows at a time."""
    level, seen = np.zeros(head.rows, np.int64), np.zeros(head.rows, bool)
    for first in range(0, head.rows, BLOCK):
        block = np.ascontiguousarray(table[first : first + BLOCK])
        links = np.ascontiguousarray(block[:, : head.vector_at]).view("<u4")
        _check_links(links[:, 0], links[:, 1:], level, 0)
        labels = np.ascontiguousarray(block[:, head.label_at :]).view("<u8")[:, 0]
        if int(labels.max()) >= head.rows:
            raise ValueError("a label is of no row")
        seen[labels] = True
        if embeddings is not None:
            vectors = np.ascontiguousarray(block[:, head.vector_at : head.label_at]).view("<f4")
            _check_vectors(vectors, labels.astype(np.int64), embeddings)
    if not seen.all():
        raise ValueError("a row is missing")


def _check_links(counts: NDArray[np.uint32], links: NDArray[np.uint32], level: I64, step: int) -> None:
    """Lists of links, [b] and [b, most], of rows on the level ``step``; a deleted row's count is over 65,535."""
    if int(counts.max(initial=0)) > links.shape[1]:
        raise ValueError("a row has too many links, or is deleted")
    used = links[np.arange(links.shape[1]) < counts[:, None]]
    if int(used.max(initial=0)) >= len(level) or (level[used] < step).any():
        raise ValueError("a link leads out of it")


def _check_vectors(vectors: NDArray[np.float32], labels: I64, embeddings: Rows) -> None:
    first, last = int(labels.min()), int(labels.max()) + 1
    if last - first <= 4 * len(labels):  # rows of one thread are in order, of several nearly
        wanted = np.asarray(embeddings[first:last], np.float32)[labels - first]
    else:
        wanted = np.concatenate([np.asarray(embeddings[row : row + 1], np.float32) for row in labels.tolist()])
    if not np.array_equal(vectors, wanted):
        raise ValueError("its vectors are not the reference's")
