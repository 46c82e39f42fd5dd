"""Exact search, lists, hnswlib, faiss and usearch side by side on clustered unit vectors.

    python benchmarks/search.py [--sizes 10000 100000 1000000] [--threads 1] [--json FILE]

Every engine builds its index in a process of its own (so that its peak memory is its own) and widens its search
until it finds 0.99 of the exact 50 nearest rows. Then all engines search in turns, so that other work on the
machine meets them alike; rates are medians over the turns, and the ratio is to exact search in the same run.
faiss-cpu and usearch are optional: without them their rows say so.

Vectors: 64 random centres ("kinds of tissue") and around each noise of the same length, whose i-th principal axis
has a standard deviation of i^-decay. With the default of 0.6 it has about 10 effective dimensions, as the
embeddings of measured sections do; --decay 0 is the hard case of noise without any structure. Queries have a
little noise more, as one side's embeddings have to the other's; they are not in the index.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import machine, table

from bleep_cli.bundle.index.measured import HELD_BYTES
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.hnsw import EFS, HnswIndex, load_graph
from bleep_cli.search.hnsw_build import GraphOptions, build_graph
from bleep_cli.search.lists import PROBES, ListIndex, make_lists
from bleep_cli.search.recall import RECALL_K, RECALL_TARGET, recall_at
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, I64

CENTRES, GAP, ADD = 64, 0.3, 10_000
NEEDS = {"exact": None, "lists": None, "hnswlib": "hnswlib", "usearch": "usearch"}
NEEDS |= {"faiss-hnsw": "faiss", "faiss-ivf": "faiss"}
COLUMNS = ("build_cpu_s", "effort", "recall", "queries_per_s", "times_exact", "peak_rss_mb", "index_mb")


@dataclass(frozen=True)
class Built:
    """``search(queries, effort)`` gives i64[m, 50]; ``efforts`` are tried until recall is reached."""

    search: Callable[[F32, int], I64]
    efforts: Sequence[int]
    index_bytes: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--engines", nargs="+", choices=NEEDS, default=list(NEEDS))
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--m", type=int, default=16)
    parser.add_argument("--ef-construction", type=int, default=200)
    parser.add_argument("--decay", type=float, default=0.6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=2, metavar=("ENGINE", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        serve(options.child[0], Path(options.child[1]), options)
        return
    rows = [row for size in options.sizes for row in compare(size, options)]
    if options.json:
        record = {name: getattr(options, name) for name in ("threads", "dim", "decay", "m", "ef_construction")}
        record |= {"machine": machine(), "k": RECALL_K, "rows": rows}
        options.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def compare(size: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One size: builds every engine after the other, then searches with them in turns."""
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        write_vectors(folder, size, options)
        children = {engine: start(engine, folder, options) for engine in options.engines if installed(engine)}
        try:
            rows = measure(children, options.turns)
        finally:
            for child in children.values():
                child.kill()
                child.communicate()
    found = [shown(size, engine, rows.get(engine)) for engine in options.engines]
    print(table(found), flush=True)
    return found


def shown(size: int, engine: str, row: Mapping[str, Any] | None) -> dict[str, Any]:
    """A row of the table; of an engine that is not installed only that."""
    if row is None:
        return {"rows": size, "engine": engine, "build_s": "not installed"} | dict.fromkeys(COLUMNS)
    return {"rows": size, "engine": engine, "build_s": round(row["build_s"], 1)} | {n: row.get(n) for n in COLUMNS}


def measure(children: Mapping[str, subprocess.Popen[str]], turns: int) -> dict[str, dict[str, Any]]:
    rows = {engine: ask(child, "build") for engine, child in children.items()}
    rates: dict[str, list[float]] = {engine: [] for engine in children}
    for _ in range(turns):
        for engine, child in children.items():
            rates[engine].append(ask(child, "search")["queries_per_s"])
    for engine, row in rows.items():
        row["queries_per_s"] = round(statistics.median(rates[engine]))
        row["peak_rss_mb"] = ask(children[engine], "memory")["peak_rss_mb"]
        if "exact" in rates:
            pairs = zip(rates[engine], rates["exact"], strict=True)
            row["times_exact"] = round(statistics.median(own / exact for own, exact in pairs), 2)
    return rows


def write_vectors(folder: Path, size: int, options: argparse.Namespace) -> None:
    """``base.npy`` f32[n, d], ``queries.npy`` f32[m, d] and the exact answer ``wanted.npy`` i64[m, 50]."""
    rng = np.random.default_rng(0)
    world = World(options.dim, options.decay, rng)
    base = np.lib.format.open_memmap(folder / "base.npy", "w+", "<f4", (size, options.dim))
    for first in range(0, size, ADD):
        base[first : first + ADD] = world.draw(min(ADD, size - first), rng)
    base.flush()
    queries = unit(world.draw(options.queries, rng) + GAP * _noise(options.queries, options.dim, rng))
    np.save(folder / "queries.npy", queries)
    np.save(folder / "wanted.npy", ExactIndex(base).search(queries, RECALL_K).index)


class World:
    """What vectors are drawn from, see above."""

    def __init__(self, dim: int, decay: float, rng: np.random.Generator) -> None:
        self._centres = unit(_noise(CENTRES, dim, rng))
        spread = np.arange(1, dim + 1) ** -decay
        axes = np.linalg.qr(rng.normal(size=(dim, dim)))[0]
        self._axes = (np.sqrt(dim) * spread / np.linalg.norm(spread))[:, None] * axes

    def draw(self, count: int, rng: np.random.Generator) -> F32:
        """Unit vectors f32[count, d]."""
        around = _noise(count, len(self._axes), rng) @ self._axes.astype(np.float32)
        return unit(self._centres[rng.integers(0, CENTRES, count)] + around)


def _noise(count: int, dim: int, rng: np.random.Generator) -> F32:
    """f32[count, d], of length 1 on average."""
    return rng.standard_normal((count, dim), np.float32) / np.float32(np.sqrt(dim))


def installed(engine: str) -> bool:
    needed = NEEDS[engine]
    return needed is None or importlib.util.find_spec(needed) is not None


# --- the process of one engine


def start(engine: str, folder: Path, options: argparse.Namespace) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--child", engine, str(folder), "--threads", str(options.threads)]
    command += ["--m", str(options.m), "--ef-construction", str(options.ef_construction)]
    threads = {f"{library}_NUM_THREADS": str(options.threads) for library in ("OMP", "OPENBLAS", "MKL")}
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | threads
    )


def ask(child: subprocess.Popen[str], what: str) -> dict[str, Any]:
    assert child.stdin is not None and child.stdout is not None
    child.stdin.write(what + "\n")
    child.stdin.flush()
    line = child.stdout.readline()
    if not line:
        raise SystemExit(f"an engine's process ended with {child.wait()} on {what}")
    return dict(json.loads(line))


def serve(engine: str, folder: Path, options: argparse.Namespace) -> None:
    """Answers the commands of :func:`measure` with a line of JSON each."""
    base = np.load(folder / "base.npy", mmap_mode="r", allow_pickle=False)
    queries = np.load(folder / "queries.npy", allow_pickle=False)
    wanted = np.load(folder / "wanted.npy", allow_pickle=False)
    work = folder / engine
    work.mkdir()
    built, effort, answer = None, 0, {}
    for command in sys.stdin:
        if command == "build\n":
            began, cpu = time.perf_counter(), time.process_time()
            built = BUILD[engine](base, work, options)
            answer = {"build_s": time.perf_counter() - began, "build_cpu_s": round(time.process_time() - cpu, 1)}
            answer |= {"index_mb": round(built.index_bytes / 1e6)}
            for effort in built.efforts:
                recall = float(recall_at(built.search(queries, effort), wanted).mean())
                if recall >= RECALL_TARGET:
                    break
            answer |= {"effort": effort, "recall": round(recall, 4)}
        elif command == "search\n":
            assert built is not None
            began = time.perf_counter()
            built.search(queries, effort)
            answer = {"queries_per_s": len(queries) / (time.perf_counter() - began)}
        else:
            answer = {"peak_rss_mb": peak_rss_mb()}
        print(json.dumps(answer), flush=True)


def peak_rss_mb() -> int:
    """Of this process alone; ``ru_maxrss`` would begin with that of the process that started it."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) >> 10
    raise SystemExit("no peak memory in /proc/self/status")


def build_exact(base: F32, _work: Path, _options: argparse.Namespace) -> Built:
    index = ExactIndex(np.array(base))
    return Built(lambda queries, _: index.search(queries, RECALL_K).index, (0,), base.nbytes)


def build_lists(base: F32, _work: Path, _options: argparse.Namespace) -> Built:
    lists = make_lists(base)
    index = ListIndex(base, lists, HELD_BYTES)
    size = lists.centres.nbytes + lists.member.nbytes
    return Built(lambda queries, probes: index.at(probes).search(queries, RECALL_K).index, PROBES, size)


def build_hnswlib(base: F32, work: Path, options: argparse.Namespace) -> Built:
    chosen = GraphOptions(options.m, options.ef_construction, threads=options.threads)
    file = build_graph(base, work, chosen)
    graph = load_graph(file, *base.shape)
    graph.set_num_threads(options.threads)
    return Built(
        lambda queries, ef: HnswIndex(graph, ef).search(queries, RECALL_K).index, EFS, file.stat().st_size
    )


def build_faiss_hnsw(base: F32, work: Path, options: argparse.Namespace) -> Built:
    import faiss

    index = faiss.IndexHNSWFlat(base.shape[1], options.m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = options.ef_construction
    for first in range(0, len(base), ADD):
        index.add(np.ascontiguousarray(base[first : first + ADD]))

    def search(queries: F32, ef: int) -> I64:
        index.hnsw.efSearch = ef
        return np.asarray(index.search(queries, RECALL_K)[1])

    faiss.write_index(index, str(work / "index"))
    return Built(search, EFS, (work / "index").stat().st_size)


def build_faiss_ivf(base: F32, work: Path, _options: argparse.Namespace) -> Built:
    """An inverted file: k-means with √n lists, then exact search in the nearest lists."""
    import faiss

    lists = int(np.sqrt(len(base)))
    quantiser = faiss.IndexFlatIP(base.shape[1])
    index = faiss.IndexIVFFlat(quantiser, base.shape[1], lists, faiss.METRIC_INNER_PRODUCT)
    some = np.sort(np.random.default_rng(0).permutation(len(base))[: 64 * lists])
    index.train(np.ascontiguousarray(base[some]))
    for first in range(0, len(base), ADD):
        index.add(np.ascontiguousarray(base[first : first + ADD]))

    def search(queries: F32, probes: int) -> I64:
        index.nprobe = min(probes, lists)
        return np.asarray(index.search(queries, RECALL_K)[1])

    faiss.write_index(index, str(work / "index"))
    return Built(search, PROBES, (work / "index").stat().st_size)


def build_usearch(base: F32, work: Path, options: argparse.Namespace) -> Built:
    from usearch.index import Index

    index = Index(
        ndim=base.shape[1],
        metric="ip",
        dtype="f32",
        connectivity=options.m,
        expansion_add=options.ef_construction,
    )
    for first in range(0, len(base), ADD):
        rows = np.ascontiguousarray(base[first : first + ADD])
        index.add(np.arange(first, first + len(rows)), rows, threads=options.threads)

    def search(queries: F32, ef: int) -> I64:
        index.expansion_search = ef
        return np.asarray(index.search(queries, RECALL_K, threads=options.threads).keys, np.int64)

    index.save(str(work / "index"))
    return Built(search, EFS, (work / "index").stat().st_size)


BUILD: dict[str, Callable[[F32, Path, argparse.Namespace], Built]] = {
    "exact": build_exact,
    "lists": build_lists,
    "hnswlib": build_hnswlib,
    "faiss-hnsw": build_faiss_hnsw,
    "faiss-ivf": build_faiss_ivf,
    "usearch": build_usearch,
}


if __name__ == "__main__":
    main()
