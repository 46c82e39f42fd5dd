"""Building an HNSW graph: in parallel where it is large, and from the last checkpoint where it was interrupted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.files.json_file import write_json
from bleep_cli.base.hashing import file_sha256, sha256_of
from bleep_cli.base.machine import usable_cores
from bleep_cli.base.rows import Rows
from bleep_cli.errors import DeviceError
from bleep_cli.search.hnsw import hnsw_available, load_graph
from bleep_cli.types import Progress, no_progress

if TYPE_CHECKING:
    import hnswlib

SERIAL_UP_TO = 100_000  # rows built on one thread, which gives the same bytes every time
SAVE_EVERY = 100_000  # rows between checkpoints
ADD_ROWS = 4096  # rows added between two reports of progress
MANIFEST = "checkpoint.json"


@dataclass(frozen=True)
class GraphOptions:
    """How a graph is built."""

    m: int = 16
    """Links of each row to others, on every level above the lowest, which has twice as many."""
    ef_construction: int = 200
    """Width of the search for a new row's neighbours."""
    seed: int = 0
    """Of the rows' levels."""
    threads: int = 1
    """More than one build faster, but other bytes every time."""
    save_every: int = SAVE_EVERY
    """Rows between checkpoints."""

    @property
    def reproducible(self) -> bool:
        """Whether the same embeddings give the same bytes (of one build of hnswlib)."""
        return self.threads == 1


def options_for(rows: int) -> GraphOptions:
    """What suits a reference of that many rows."""
    return GraphOptions(threads=1 if rows <= SERIAL_UP_TO else usable_cores())


def build_graph(embeddings: Rows, work: Path, options: GraphOptions, progress: Progress = no_progress) -> Path:
    """Builds the graph of ``embeddings`` f32[n, d] in the folder ``work`` and returns its file there.

    Every ``save_every`` rows the graph so far is saved in ``work`` and loaded again: a build that finds a
    checkpoint of the same embeddings and options goes on from it, and on one thread ends with the same bytes
    as one that was never interrupted. The folder is the caller's to delete. Raises ``DeviceError`` where
    hnswlib is not installed.
    """
    if not hnsw_available():
        raise DeviceError('hnswlib is not installed; install BLEEP with its extra hnsw: pip install ".[hnsw]"')
    n, dim = embeddings.shape
    work.mkdir(parents=True, exist_ok=True)
    identity = _identity(embeddings, options)
    file, done = _resume(work, identity)
    while done < n:
        graph = _empty(n, dim, options) if file is None else load_graph(file, done, dim, capacity=n)
        stop = min(done + options.save_every, n)
        for start in range(done, stop, ADD_ROWS):
            progress("index", start, n)
            rows = np.asarray(embeddings[start : min(start + ADD_ROWS, stop)], np.float32)
            labels = np.arange(start, start + len(rows))
            graph.add_items(rows, labels, num_threads=options.threads)
        file, done = _save(graph, work, identity, stop), stop
        del graph  # before the next is loaded, so that memory holds one
    progress("index", n, n)
    assert file is not None
    return file


def library_version() -> str:
    """The installed hnswlib's version."""
    from importlib.metadata import version

    return version("hnswlib")


def _empty(capacity: int, dim: int, options: GraphOptions) -> hnswlib.Index:
    import hnswlib

    graph = hnswlib.Index(space="ip", dim=dim)
    graph.init_index(capacity, M=options.m, ef_construction=options.ef_construction, random_seed=options.seed)
    return graph


def _identity(embeddings: Rows, options: GraphOptions) -> dict[str, Any]:
    """What a checkpoint must agree in to be gone on from."""
    kept = {name: value for name, value in asdict(options).items() if name != "threads"}
    return kept | {
        "embeddings_sha256": sha256_of(embeddings),
        "shape": list(embeddings.shape),
        "library_version": library_version(),
    }


def _resume(work: Path, identity: dict[str, Any]) -> tuple[Path | None, int]:
    """The file of a sound checkpoint and its number of rows, or (None, 0)."""
    try:
        stated = json.loads((work / MANIFEST).read_text(encoding="utf-8"))
        file, done = work / _name(int(stated["done"])), int(stated["done"])
        if stated["identity"] == identity and stated["file_sha256"] == file_sha256(file):
            return file, done
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0
    return None, 0


def _save(graph: hnswlib.Index, work: Path, identity: dict[str, Any], done: int) -> Path:
    """Saves a checkpoint; the one before it stays until this one is whole."""
    file = work / _name(done)
    graph.save_index(str(file))
    stated = {"identity": identity, "done": done, "file_sha256": file_sha256(file)}
    write_json(work / MANIFEST, stated)
    for other in work.glob(_name("*")):
        if other != file:
            other.unlink()
    return file


def _name(done: int | str) -> str:
    return f"graph-{done}.hnsw"
