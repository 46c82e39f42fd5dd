"""Building a graph: the same bytes on one thread, interrupted or not; several threads; damaged checkpoints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bleep_cli.base.rows import SpooledRows
from bleep_cli.errors import DeviceError
from bleep_cli.search import hnsw_build
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw import HnswIndex, load_graph
from bleep_cli.search.hnsw_build import SERIAL_UP_TO, GraphOptions, build_graph, options_for
from bleep_cli.search.recall import recall_at
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32

N = 1000
OPTIONS = GraphOptions(save_every=300)  # checkpoints at 300, 600, 900 and the end


def directions(n: int = N, d: int = 16, seed: int = 0) -> F32:
    return unit(np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32))


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hnsw_build, "ADD_ROWS", 100)


class Steps:
    """Notes where a build starts to add rows, and interrupts it at one of these places."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.seen: list[int] = []
        self.stop_at = stop_at

    def __call__(self, stage: str, done: int, total: int) -> None:
        assert (stage, total) == ("index", N)
        if done == self.stop_at:
            raise KeyboardInterrupt
        self.seen.append(done)


def interrupted(folder: Path, stop_at: int, embeddings: Any = None, options: GraphOptions = OPTIONS) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_graph(directions() if embeddings is None else embeddings, folder, options, Steps(stop_at))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return build_graph(directions(), tmp_path_factory.mktemp("whole"), OPTIONS).read_bytes()


def test_bytes_depend_on_the_embeddings_alone(tmp_path: Path, whole: bytes) -> None:
    assert build_graph(SpooledRows(directions()), tmp_path / "a", OPTIONS).read_bytes() == whole
    other = directions()
    other[17] = -other[17]
    assert build_graph(other, tmp_path / "b", OPTIONS).read_bytes() != whole


@pytest.mark.parametrize(("stop_at", "resumed_at"), [(200, 0), (300, 300), (500, 300), (900, 900), (N, N)])
def test_an_interrupted_build_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, whole: bytes, stop_at: int, resumed_at: int
) -> None:
    interrupted(tmp_path, stop_at)
    steps = Steps()
    file = build_graph(directions(), tmp_path, OPTIONS, steps)
    assert steps.seen[0] == resumed_at
    assert file.read_bytes() == whole


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from bleep_cli.search import hnsw_build
hnsw_build.ADD_ROWS = 100
def kill(stage, done, total):
    if done == 700:
        os.kill(os.getpid(), signal.SIGKILL)
hnsw_build.build_graph(np.load(sys.argv[1]), Path(sys.argv[2]), hnsw_build.GraphOptions(save_every=300), kill)
"""


def test_a_killed_process_leaves_a_checkpoint_to_go_on_from(tmp_path: Path, whole: bytes) -> None:
    np.save(tmp_path / "e.npy", directions())
    command = [sys.executable, "-c", KILLED, str(tmp_path / "e.npy"), str(tmp_path / "work")]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    steps = Steps()
    assert build_graph(directions(), tmp_path / "work", OPTIONS, steps).read_bytes() == whole
    assert steps.seen[0] == 600


def test_a_build_can_be_interrupted_again_and_again(tmp_path: Path, whole: bytes) -> None:
    for stop_at in (400, 400, 700, 950):
        with pytest.raises(KeyboardInterrupt):
            build_graph(directions(), tmp_path, OPTIONS, Steps(stop_at if stop_at < 950 else N))
    assert build_graph(directions(), tmp_path, OPTIONS).read_bytes() == whole


def test_only_the_last_checkpoint_is_kept(tmp_path: Path) -> None:
    interrupted(tmp_path, 700)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.json", "graph-600.hnsw"]


@pytest.mark.parametrize(
    "change",
    [
        {"embeddings": directions(seed=1)},
        {"embeddings": directions(N, 8)},
        {"options": GraphOptions(save_every=300, m=8)},
        {"options": GraphOptions(save_every=300, seed=1)},
        {"options": GraphOptions(save_every=300, ef_construction=100)},
        {"options": GraphOptions(save_every=600)},
    ],
    ids=["embeddings", "dimensions", "M", "seed", "ef_construction", "save_every"],
)
def test_a_checkpoint_of_something_else_is_not_gone_on_from(tmp_path: Path, change: dict[str, Any]) -> None:
    interrupted(tmp_path, 700)
    arguments = {"embeddings": directions(), "options": OPTIONS} | change
    steps = Steps()
    build_graph(arguments["embeddings"], tmp_path, arguments["options"], steps)
    assert steps.seen[0] == 0


@pytest.mark.parametrize("damage", ["graph", "short graph", "no graph", "manifest", "no manifest", "count"])
def test_a_damaged_checkpoint_is_not_gone_on_from(tmp_path: Path, whole: bytes, damage: str) -> None:
    interrupted(tmp_path, 700)
    graph, manifest = tmp_path / "graph-600.hnsw", tmp_path / "checkpoint.json"
    data = graph.read_bytes()
    if damage == "graph":
        graph.write_bytes(data[:5000] + bytes([data[5000] ^ 1]) + data[5001:])
    elif damage == "short graph":
        graph.write_bytes(data[:-1])
    elif damage == "no graph":
        graph.unlink()
    elif damage == "manifest":
        manifest.write_text("{")
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"done": 500}))
    steps = Steps()
    assert build_graph(directions(), tmp_path, OPTIONS, steps).read_bytes() == whole
    assert steps.seen[0] == 0


def test_several_threads_build_a_graph_as_good_and_say_so(tmp_path: Path) -> None:
    embeddings, queries = directions(), directions(50, seed=1)
    options = GraphOptions(save_every=300, threads=2)
    interrupted(tmp_path, 700, options=options)
    steps = Steps()
    graph = load_graph(build_graph(embeddings, tmp_path, options, steps), *embeddings.shape)
    assert steps.seen[0] == 600
    found = HnswIndex(graph).search(queries, 50).index
    assert recall_at(found, ExactIndex(embeddings).search(queries, 50).index).mean() > 0.99
    assert not options.reproducible and OPTIONS.reproducible


def test_small_references_are_built_on_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hnsw_build, "usable_cores", lambda: 6)
    assert [options_for(n).threads for n in (10, SERIAL_UP_TO, SERIAL_UP_TO + 1)] == [1, 1, 6]


def test_without_hnswlib_building_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hnsw_build, "hnsw_available", lambda: False)
    with pytest.raises(DeviceError, match=r'pip install "\.\[hnsw\]"'):
        build_graph(directions(), tmp_path, OPTIONS)
