"""A made-up reference of any size through the whole of bleep, with time and peak memory of every step.

    python benchmarks/large_reference.py [--spots 1000000] [--genes 64] [--dim 256] [--json FILE] [--keep FOLDER]

Steps, each a process of its own: ``make`` draws expression (64 kinds of tissue, Poisson counts) and its embeddings
into files; ``write`` writes the bundle from these with its lists, where the reference is large enough, and with
``--graph`` its HNSW graph; ``verify`` is bleep inspect --verify, which measures recall@50 anew; ``predict`` is of
the demo slide, all genes and three. Towers are tiny, so that search, expression and files are what is
measured; the stored embeddings are the expression tower's own.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import child, machine, table

from bleep_cli.base.assets import DEMO_SLIDE, asset
from bleep_cli.bundle.contents import BundleArrays, BundleInfo, SectionRecord
from bleep_cli.bundle.index.choose import EXACT_UP_TO
from bleep_cli.bundle.index.graph import GRAPH
from bleep_cli.bundle.index.lists import CENTRES
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.checks.inspection import inspect_bundle
from bleep_cli.search.hnsw_build import GraphOptions, options_for
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, TileSpec

KINDS, GAP, BLOCK = 64, 0.3, 8192
TILE = TileSpec(32, (112.0,))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spots", type=int, default=1_000_000)
    parser.add_argument("--genes", type=int, default=64)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--exact-up-to", type=int, default=EXACT_UP_TO, help="spots above which an index is made")
    parser.add_argument("--graph", action="store_true", help="build a graph, too")
    parser.add_argument("--threads", type=int, help="of the graph's building; all, where it is large")
    parser.add_argument("--m", type=int, help="links of a spot in the graph")
    parser.add_argument("--stride-um", type=float, default=28.0, help="between the tiles that are predicted")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="folder for the bundle; an interrupted build goes on from there")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options.keep, options)))
        return
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        rows = [run(step, folder, options) for step in STEPS]
        rows += [predict(folder, options.stride_um, genes) for genes in (None, "GENE3,GENE1,GENE2")]
    print(table(rows))
    if options.json:
        record = {"machine": machine(), "spots": options.spots, "genes": options.genes, "dim": options.dim}
        options.json.write_text(json.dumps(record | {"rows": rows}, indent=1) + "\n", encoding="utf-8")


def run(step: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One step in a process of its own."""
    command = [sys.executable, __file__, "--step", step, "--keep", str(folder), "--spots", str(options.spots)]
    command += ["--genes", str(options.genes), "--dim", str(options.dim)]
    command += ["--exact-up-to", str(options.exact_up_to)]
    command += ["--graph"] if options.graph else []
    for name in ("threads", "m"):
        value = getattr(options, name)
        command += [f"--{name}", str(value)] if value else []
    done = child(command)
    print(step, done.out.strip(), file=sys.stderr, flush=True)
    return row(step, done.wall_s, done.cpu_s, done.rss_mb, json.loads(done.out))


def predict(folder: Path, stride_um: float, genes: str | None) -> dict[str, Any]:
    """The command line on the demo slide, as a user runs it."""
    command = [sys.executable, "-m", "bleep_cli.cli", "--json", "predict", str(asset(DEMO_SLIDE))]
    command += ["--ref", str(bundle_path(folder)), "-o", str(folder / "out"), "--force"]
    command += ["--stride-um", str(stride_um)]
    done = child([*command, *(["--genes", genes] if genes else [])])
    tiles = json.loads(done.out)["tiles"]
    what = "predict, 3 genes" if genes else "predict"
    return row(what, done.wall_s, done.cpu_s, done.rss_mb, {"found": f"{tiles} tiles"})


def row(step: str, wall_s: float, cpu_s: float, rss_mb: int, record: dict[str, Any]) -> dict[str, Any]:
    numbers = {"step": step, "seconds": round(wall_s, 1), "cpu_s": round(cpu_s, 1), "peak_rss_mb": rss_mb}
    return numbers | {"recall": record.get("recall"), "found": record.get("found")}


def bundle_path(folder: Path) -> Path:
    return folder / "large.zarr"


# --- the steps


def make(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """``expression.npy`` f16[n, g] and both sides' embeddings f32[n, d], a block at a time."""
    rng = np.random.default_rng(0)
    profiles = rng.gamma(0.5, 2.0, (KINDS, options.genes))
    weights = projection(options)
    middle = np.log1p(profiles).mean(axis=0).astype(np.float32)
    files = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (options.spots, width))
        for name, dtype, width in (
            ("expression", "<f2", options.genes),
            ("expression-embeddings", "<f4", options.dim),
            ("image-embeddings", "<f4", options.dim),
        )
    }
    np.save(folder / "bias.npy", -middle @ weights)
    for first in range(0, options.spots, BLOCK):
        rows = slice(first, min(first + BLOCK, options.spots))
        count = rows.stop - first
        depth = rng.gamma(4.0, 0.25, (count, 1))
        values = np.log1p(rng.poisson(depth * profiles[rng.integers(0, KINDS, count)])).astype(np.float16)
        vectors = unit((values.astype(np.float32) - middle) @ weights)
        gap = GAP * rng.standard_normal(vectors.shape, np.float32) / np.float32(np.sqrt(options.dim))
        files["expression"][rows] = values
        files["expression-embeddings"][rows] = vectors
        files["image-embeddings"][rows] = unit(vectors + gap)
    return {"found": f"{sum(file.nbytes for file in files.values()) >> 20} MB"}


def write(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """The bundle; a graph that was being built when this was interrupted is gone on with."""
    mapped = {
        name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        for name in ("expression", "expression-embeddings", "image-embeddings", "bias")
    }
    n, genes = mapped["expression"].shape
    names = np.array([f"GENE{i}" for i in range(genes)])
    arrays = BundleArrays(
        image_embeddings=mapped["image-embeddings"],
        expression_embeddings=mapped["expression-embeddings"],
        expression=mapped["expression"],
        symbols=names,
        gene_ids=names,
        panel=np.arange(genes),
        section=np.full(n, "made-up"),
        barcode=np.char.add("S", np.arange(n).astype(str)),
        donor=np.full(n, "nobody"),
        xy_l0=np.stack([np.arange(n) % 1000, np.arange(n) // 1000], axis=1).astype(np.float64),
        image_tower=image_tower(options.dim),
        expression_tower=expression_tower(projection(options), np.asarray(mapped["bias"])),
    )
    info = BundleInfo(TILE, (SectionRecord("made-up", "0" * 64, "nobody", n),), views=1, recommended_views=1)
    write_bundle(
        bundle_path(folder),
        info,
        arrays,
        force=True,
        exact_up_to=options.exact_up_to,
        graph=graph_options(options) if options.graph else None,
        progress=told,
    )
    root = open_bundle(bundle_path(folder)).root
    lists = root[CENTRES].attrs if CENTRES in root else {}
    graph = root[GRAPH].attrs if GRAPH in root else {}
    size = sum(file.stat().st_size for file in bundle_path(folder).rglob("*") if file.is_file())
    found = [f"{size >> 20} MB", f"{lists['probes']} lists looked into" if lists else "no index"]
    found += [f"graph of M {graph['M']}, ef {graph['ef']}, recall {graph['recall']}"] if graph else []
    return {"found": ", ".join(found), "recall": lists.get("recall"), "threads": graph.get("threads")}


def graph_options(options: argparse.Namespace) -> GraphOptions:
    usual = options_for(options.spots)
    return GraphOptions(options.m or usual.m, usual.ef_construction, threads=options.threads or usual.threads)


def told(stage: str, done: int, total: int) -> None:
    """A line on stderr every twentieth of a stage."""
    if done * 20 // total != max(0, done - 4096) * 20 // total:
        print(f"{time.strftime('%H:%M:%S')} {stage} {done:,} of {total:,}", file=sys.stderr, flush=True)


def verify(folder: Path, _options: argparse.Namespace) -> dict[str, Any]:
    """Every check must hold."""
    record, _, ok = inspect_bundle(bundle_path(folder), verify=True)
    checks = {check["name"]: check["detail"] for check in record["checks"]}
    if not ok:
        raise SystemExit(f"the bundle failed its verification: {checks}")
    recall = re.findall(r"recall@50 ([0-9.]+)", checks["index"])[0]
    return {"found": checks["index"], "recall": float(recall)}


STEPS = {"make": make, "write": write, "verify": verify}


# --- towers


def projection(options: argparse.Namespace) -> F32:
    """f32[genes, dim]."""
    shape = (options.genes, options.dim)
    return np.random.default_rng(1).standard_normal(shape, np.float32) / np.float32(np.sqrt(options.genes))


def expression_tower(weights: F32, bias: F32) -> bytes:
    """log1p f32[batch, genes] → unit vectors f32[batch, dim]."""
    return _model([("MatMul", ["in", "w"], "mixed", {})], {"w": weights, "b": bias}, len(weights))


def image_tower(dim: int) -> bytes:
    """u8[batch, px, px, 3] → its mean colour's direction f32[batch, dim]."""
    rng = np.random.default_rng(2)
    colours = rng.standard_normal((3, dim), np.float32) / 64
    nodes = [
        ("Cast", ["in"], "raw", {"to": 1}),
        ("ReduceMean", ["raw", "axes"], "colour", {"keepdims": 0}),
        ("MatMul", ["colour", "w"], "mixed", {}),
    ]
    middle = -np.array([190, 140, 180], np.float32) @ colours
    return _model(nodes, {"w": colours, "b": middle, "axes": np.array([1, 2])}, None)


def _model(nodes: list[Any], constants: dict[str, Any], genes: int | None) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    ends = [("Add", ["mixed", "b"], "moved", {}), ("LpNormalization", ["moved"], "out", {"axis": 1, "p": 2})]
    kind, shape = (TensorProto.FLOAT, [genes]) if genes else (TensorProto.UINT8, [TILE.px, TILE.px, 3])
    graph = helper.make_graph(
        [helper.make_node(name, inputs, [output], **attrs) for name, inputs, output, attrs in [*nodes, *ends]],
        "tower",
        [helper.make_tensor_value_info("in", kind, ["batch", *shape])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", len(constants["b"])])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return bytes(model.SerializeToString())


if __name__ == "__main__":
    main()
