"""Which part of this machine's own limit the image tower reaches, and how it should be spread over the cores.

    python benchmarks/machine_limit.py [--ref BUNDLE] [--model TOWER.onnx ...] [--repeats 5] [--json FILE]

The limit is the best rate of a large float32 matrix product (NumPy's BLAS) and of a large int8 one (ONNX Runtime's
MatMulInteger, u8 × s8) on all cores, against the FLOPs of the tower counted from its graph. Every setting (lanes ×
threads, spinning, batch, pre-processing in the graph or before it) and both products are measured in turn,
``--repeats`` times; medians, and their ratios to the setting that ``bleep predict`` uses. Needs the package
``onnx``.
"""

from __future__ import annotations

import argparse
import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from flops import flops_per_item
from side_by_side import median, report

from bleep_cli.base.machine import usable_cores
from bleep_cli.bundle.open import open_bundle, stored_costs
from bleep_cli.embedding.lanes import lanes_for
from bleep_cli.towers.encoder import BATCH
from bleep_cli.towers.precision import TOWERS

GEMM = 2048


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", type=Path)
    parser.add_argument("--model", type=Path, nargs="*", default=[])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    models = {path.stem: path.read_bytes() for path in arguments.model}
    if arguments.ref:
        bundle = open_bundle(arguments.ref)
        models |= {TOWERS[p]: bundle.tower(TOWERS[p]) for p in ("fp32", *stored_costs(bundle.root)) if p != "fp16"}
    limits = {"sgemm fp32": sgemm(), "gemm int8": int8_gemm()}
    towers = {(name, how): run for name, model in models.items() for how, run in settings(model).items()}
    found: dict[Any, list[float]] = {key: [] for key in (*limits, *towers)}
    for _ in range(arguments.repeats):
        for key, work in (*limits.items(), *towers.items()):
            found[key].append(rate(work, arguments.seconds))
    flops = {name: flops_per_item(model) for name, model in models.items()}
    report(rows_of(found, flops), arguments.json, gflop_per_tile={n: f / 1e9 for n, f in flops.items()})


def rows_of(found: dict[Any, list[float]], flops: dict[str, float]) -> list[dict[str, Any]]:
    """A row per limit and per tower and setting."""
    peak = {name: median(rates, 6) for name, rates in found.items() if isinstance(name, str)}
    rows = [{"what": n, "how": "all cores", "per_s": None, "gflops": round(r / 1e9, 1)} for n, r in peak.items()]
    rows = [row | {"of_sgemm": None, "of_int8_gemm": None, "to_bleep": None} for row in rows]
    for (name, how), rates in ((key, rates) for key, rates in found.items() if isinstance(key, tuple)):
        tiles = median(rates, 6)
        used = next(median(r, 6) for key, r in found.items() if key[0] == name and key[1].startswith("bleep"))
        rows.append(
            {
                "what": name,
                "how": how,
                "per_s": round(tiles, 1),
                "gflops": round(tiles * flops[name] / 1e9, 1),
                "of_sgemm": round(tiles * flops[name] / peak["sgemm fp32"], 2),
                "of_int8_gemm": round(tiles * flops[name] / peak["gemm int8"], 2),
                "to_bleep": round(tiles / used, 2),
            }
        )
    return rows


Work = Callable[[], float]  # does some, returns how much


def rate(work: Work, seconds: float) -> float:
    """Amount per second, after once to warm up."""
    work()
    start, done = time.perf_counter(), 0.0
    while time.perf_counter() - start < seconds:
        done += work()
    return done / (time.perf_counter() - start)


def sgemm() -> Work:
    a, b = (np.random.default_rng(i).random((GEMM, GEMM), np.float32) for i in (0, 1))
    out = np.empty_like(a)

    def work() -> float:
        np.matmul(a, b, out=out)
        return 2.0 * GEMM**3

    return work


def int8_gemm() -> Work:
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(0).integers(-127, 128, (GEMM, GEMM), np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "w"], ["out"])],
        "gemm",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, [GEMM, GEMM])],
        [helper.make_tensor_value_info("out", TensorProto.INT32, [GEMM, GEMM])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    session = make_session(model.SerializeToString(), 0, spin=True)
    a = np.random.default_rng(1).integers(0, 256, (GEMM, GEMM), np.uint8)

    def work() -> float:
        session.run(None, {"a": a})
        return 2.0 * GEMM**3

    return work


def make_session(model: bytes, threads: int, *, spin: bool) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spin else "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def settings(model: bytes) -> dict[str, Work]:
    """Ways to run a tower on all cores: batches in lanes of their own, threads sharing a batch, spinning."""
    cores = usable_cores()
    lanes, batch = lanes_for("cpu", cores), BATCH["cpu"]
    single = make_session(model, lanes.threads_each, spin=False)
    ways = {
        f"bleep: {lanes.embedders} lanes × {lanes.threads_each}, batch {batch}": (single, lanes.embedders, batch)
    }
    for other in (1, 4, 16, 32):
        ways[f"{lanes.embedders} lanes × {lanes.threads_each}, batch {other}"] = (single, lanes.embedders, other)
    for spin in (False, True):
        shared, name = make_session(model, cores, spin=spin), "spinning" if spin else "waiting"
        ways |= {f"1 lane × {cores}, {name}, batch {b}": (shared, 1, b) for b in (batch, 32)}
    if bare := without_preprocessing(model):
        session = make_session(bare, lanes.threads_each, spin=False)
        how = f"{lanes.embedders} lanes × {lanes.threads_each}, batch {batch}, float32 NCHW handed in"
        ways[how] = (session, lanes.embedders, batch)
    return {name: lanes_of(*way) for name, way in ways.items()}


def without_preprocessing(model: bytes) -> bytes | None:
    """The tower from its first convolution on: what it would cost if tiles came scaled, normalised and as NCHW.

    None for a tower of several fields of view: its convolutions start in several places.
    """
    import onnx

    proto = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    tiles = proto.graph.input[0]
    if tiles.type.tensor_type.shape.dim[3].dim_value > 3:
        return None
    made = {name: node for node in proto.graph.node for name in node.output}
    first = next(node.input[0] for node in proto.graph.node if node.op_type == "Conv")
    while first in made and made[first].op_type in ("QuantizeLinear", "DequantizeLinear"):
        first = made[first].input[0]
    for node in proto.graph.node:  # the batch's size is read off the tiles; off these it is the same
        if node.op_type == "Shape" and node.input[0] == tiles.name:
            node.input[0] = first
    output = proto.graph.output[0].name
    return bytes(onnx.utils.Extractor(proto).extract_model([first], [output]).SerializeToString())


def lanes_of(session: Any, lanes: int, batch: int) -> Work:
    """Eight batches' worth of tiles at least, run by ``lanes`` threads."""
    given = session.get_inputs()[0]
    name, noise = given.name, np.random.default_rng(0).integers(0, 256, (batch, *given.shape[1:]), np.uint8)
    tiles = noise if given.type == "tensor(uint8)" else noise.astype(np.float32) / 255
    runs = max(lanes, 32 // batch)

    def work() -> float:
        jobs = itertools.count()

        def lane() -> None:
            while next(jobs) < runs:
                session.run(None, {name: tiles})

        threads = [threading.Thread(target=lane) for _ in range(lanes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return float(runs * batch)

    return work


if __name__ == "__main__":
    main()
