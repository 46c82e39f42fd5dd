"""An altered graph is refused before hnswlib loads it, which would follow its links out of memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.errors import ReferenceError
from bleep_cli.search.graph_file import HEADER, check_graph
from bleep_cli.search.hnsw import HnswIndex, load_graph
from bleep_cli.search.hnsw_build import GraphOptions, build_graph
from bleep_cli.types import F32

N, DIM, M = 600, 8, 4
LINKS = 4 + 2 * M * 4
ROW = LINKS + 4 * DIM + 8
BODY = HEADER.itemsize
UPPER = BODY + N * ROW


@pytest.fixture(scope="module")
def embeddings() -> F32:
    values = np.random.default_rng(0).normal(size=(N, DIM))
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def sound(embeddings: F32, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build_graph(embeddings, tmp_path_factory.mktemp("graph"), GraphOptions(m=M)).read_bytes()


def test_a_sound_graph_passes_and_answers(sound: bytes, embeddings: F32, tmp_path: Path) -> None:
    (tmp_path / "g").write_bytes(sound)
    assert sound[BODY:UPPER].count(0) > 0 and len(sound) > UPPER + 4 * N  # there are levels above the lowest
    found = HnswIndex(load_graph(tmp_path / "g", N, DIM, embeddings=embeddings)).search(embeddings[:5], 1)
    np.testing.assert_array_equal(found.index[:, 0], np.arange(5))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_graph_of_several_threads_is_sound_as_well(embeddings: F32, tmp_path: Path, threads: int) -> None:
    file = build_graph(embeddings, tmp_path, GraphOptions(m=M, threads=threads))
    check_graph(file, N, DIM, embeddings)


def header(name: str, value: Any) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        head = np.frombuffer(bytes(data[:BODY]), HEADER).copy()
        head[name] = value
        data[:BODY] = head.tobytes()

    return change


def word(at: int, value: int, size: int = 4) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        data[at : at + size] = value.to_bytes(size, "little")

    return change


def first_list(data: bytearray) -> int:
    """Where the first list of a level above the lowest begins."""
    at = UPPER
    while not any(data[at : at + 4]):
        at += 4
    return at + 4


def above(offset: int, value: int) -> Callable[[bytearray], None]:
    return lambda data: word(first_list(data) + offset, value)(data)


def levels(data: bytearray) -> list[int]:
    found, at = [], UPPER
    for _ in range(N):
        size = int.from_bytes(data[at : at + 4], "little")
        found.append(size // (4 * (M + 1)))
        at += 4 + size
    return found


def link_to_a_row_without_that_level(data: bytearray) -> None:
    above(0, 1)(data)
    above(4, levels(data).index(0))(data)


ALTERED: dict[str, tuple[str, Callable[[bytearray], None]]] = {
    "a link of the lowest level to nowhere": ("leads out", word(BODY + 4, 3_000_000_000)),
    "a link to the row after the last": ("leads out", word(BODY + 4, N)),
    "too many links": ("too many links", word(BODY, 2 * M + 1)),
    "a deleted row": ("or is deleted", word(BODY + 2, 1, 1)),
    "a label beyond the rows": ("of no row", word(BODY + LINKS + 4 * DIM, 10**6, 8)),
    "a label twice": ("not the reference's", word(BODY + LINKS + 4 * DIM, 1, 8)),
    "an entry beyond the rows": ("begins outside", header("entry", N)),
    "a level too high": ("contradict its header", header("top", 60)),
    "no level": ("begins outside", header("top", -1)),
    "a hundred levels": ("begins outside", header("top", 100)),
    "an entry of the lowest level": ("contradict its header", header("entry", 1)),
    "more rows than there are": ("not one of", header("rows", N + 1)),
    "rows of another size": ("not one of", header("row_bytes", 8)),
    "labels elsewhere": ("not one of", header("label_at", 2**60)),
    "vectors elsewhere": ("not one of", header("vector_at", 0)),
    "no links": ("not one of", header("m", 0)),
    "links without end": ("not one of", header("m", 2**40)),
    "more links than room": ("contradict each other", header("most_links", 1000)),
    "more links below than room": ("contradict each other", header("most_links0", 1000)),
    "no factor": ("contradict each other", header("mult", np.nan)),
    "less room than rows": ("begins outside", header("capacity", 3)),
    "a link above to nowhere": ("leads out", above(4, 3_000_000_000)),
    "too many links above": ("too many links", above(0, 60_000)),
    "lists of another size": ("contradict its header", above(-4, 4 * (M + 1) - 4)),
    "lists without end": ("contradict its header", above(-4, 4 * (M + 1) * 1000)),
    "another end": ("not end where it should", lambda data: data.extend(bytes(4))),
    "half a word more": ("too early", lambda data: data.extend(bytes(2))),
    "a link above to a row of below": ("leads out", link_to_a_row_without_that_level),
    "other vectors": ("not the reference's", word(BODY + LINKS, 0x3F000000)),
    "a vector that is no number": ("not the reference's", word(BODY + LINKS, 0x7FC00000)),
    "nothing": ("no header", lambda data: data.clear()),
}


@pytest.mark.parametrize("what", ALTERED)
def test_an_altered_graph_is_refused(sound: bytes, embeddings: F32, tmp_path: Path, what: str) -> None:
    why, change = ALTERED[what]
    data = bytearray(sound)
    change(data)
    (tmp_path / "g").write_bytes(bytes(data))
    with pytest.raises(ReferenceError, match=f"^the HNSW graph cannot be used: .*{why}"):
        load_graph(tmp_path / "g", N, DIM, embeddings=embeddings)


def test_rows_that_no_link_leads_to_are_told(sound: bytes, embeddings: F32, tmp_path: Path) -> None:
    data = bytearray(sound)
    for row in range(N):
        word(BODY + row * ROW, 0)(data)
    (tmp_path / "g").write_bytes(bytes(data))
    index = HnswIndex(load_graph(tmp_path / "g", N, DIM, embeddings=embeddings))
    with pytest.raises(ReferenceError, match="does not find 20 neighbours of every tile"):
        index.search(embeddings[:3], 20)


def test_flipped_bits_are_refused_or_harmless(sound: bytes, embeddings: F32, tmp_path: Path) -> None:
    """Whatever passes is searched: were a link to lead out of it, this process would be gone."""
    rng = np.random.default_rng(1)
    passed = 0
    for _ in range(150):
        data = bytearray(sound)
        for at in rng.integers(0, len(data), 3):
            data[at] ^= 1 << rng.integers(8)
        (tmp_path / "g").write_bytes(bytes(data))
        try:
            found = HnswIndex(load_graph(tmp_path / "g", N, DIM)).search(embeddings[:50], 10)
        except ReferenceError:
            continue
        passed += 1
        assert found.index.max() < N
    assert 0 < passed < 150
