"""Precisions of the image tower: what auto takes, what a bundle must say of them, and how a GPU is addressed."""

from __future__ import annotations

import ctypes
import gc
import hashlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import zarr

from bleep_cli.bundle.open import Bundle, open_bundle, stored_costs
from bleep_cli.bundle.storage.content_hash import content_sha256
from bleep_cli.bundle.storage.store import open_group
from bleep_cli.choices import Precision
from bleep_cli.embedding.embedder import open_embedder
from bleep_cli.embedding.pinned import pinned
from bleep_cli.errors import DeviceError, ReferenceError, UsageError
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_cli.towers.precision import Chosen, Cost, choose_precision
from bleep_cli.towers.session import CPU, CUDA, TENSORRT, make_session, run, run_on_device

Towers = tuple[bytes, bytes]
GOOD = Cost(0.999, 0.95, -0.001, "section S0")
POOR = replace(GOOD, overlap50=0.39)
MOVED = replace(GOOD, delta_r_hvg50=0.02)  # better than float32 is as suspicious as worse


def add_tower(path: Path, name: str, model: bytes, cost: Cost, sha256: str = "") -> None:
    """Puts another precision into a bundle's folder as the format says."""
    values = np.frombuffer(model, np.uint8)
    array = zarr.open_group(path, mode="r+").create_array(
        f"encoders/{name}", shape=values.shape, dtype=values.dtype
    )
    array[...] = values
    array.attrs.update({"sha256": sha256 or hashlib.sha256(model).hexdigest()} | cost.attrs())
    root = zarr.open_group(path, mode="r+")
    root.attrs["content_sha256"] = content_sha256(open_group(path)[0], root.attrs.asdict())


@pytest.fixture
def other_tower(make_towers: Callable[..., Towers]) -> bytes:
    """An image tower that differs a little from the bundle's."""
    from onnx import load_from_string, numpy_helper

    model = load_from_string(make_towers()[0])
    for tensor in model.graph.initializer:
        if tensor.name == "bias":
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) + np.float32(0.01), "bias"))
    return bytes(model.SerializeToString())


# --- the choice


@pytest.mark.parametrize(
    ("asked", "device", "stored", "chosen"),
    [
        ("auto", "cpu", {}, "fp32"),
        ("auto", "cpu", {"int8": GOOD}, "int8"),
        ("auto", "cpu", {"int8": POOR}, "fp32"),
        ("auto", "cpu", {"int8": MOVED}, "fp32"),
        ("auto", "cpu", {"int8": Cost.of({})}, "fp32"),
        ("auto", "cpu", {"fp16": GOOD}, "fp32"),
        ("auto", "cuda", {"int8": GOOD}, "fp32"),
        ("auto", "cuda", {"int8": GOOD, "fp16": GOOD}, "fp16"),
        ("auto", "cuda", {"fp16": POOR}, "fp32"),
        ("fp32", "cpu", {"int8": GOOD}, "fp32"),
        ("int8", "cpu", {"int8": POOR}, "int8"),
        ("fp16", "cuda", {"fp16": POOR}, "fp16"),
    ],
)
def test_choice(asked: Precision, device: Any, stored: dict[Chosen, Cost], chosen: Chosen) -> None:
    assert choose_precision(asked, device, stored) == chosen


def test_the_limits_of_auto_are_inclusive() -> None:
    edge = Cost(0.9, 0.9, -0.005, "")
    assert edge.within_tolerance
    assert not replace(edge, overlap50=0.899).within_tolerance
    assert not replace(edge, delta_r_hvg50=-0.0051).within_tolerance


def test_tensorrt_makes_float16_of_float32() -> None:
    assert choose_precision("fp16", "cuda", {}, tensorrt=True) == "fp16"
    assert choose_precision("auto", "cuda", {}, tensorrt=True) == "fp32"
    with pytest.raises(UsageError, match="precision fp16: the bundle holds no such image tower"):
        choose_precision("fp16", "cuda", {"int8": GOOD})


def test_precisions_that_cannot_be_had_are_refused() -> None:
    with pytest.raises(UsageError, match="precision int8: the bundle holds no such image tower"):
        choose_precision("int8", "cpu", {})
    with pytest.raises(DeviceError, match="fp16 is for device cuda; on a CPU use int8 or fp32"):
        choose_precision("fp16", "cpu", {"fp16": GOOD})


@pytest.mark.parametrize("value", ["0.99", None, True, [1]])
def test_a_record_that_is_no_number_counts_as_not_measured(value: Any) -> None:
    assert Cost.of(GOOD.attrs()) == GOOD
    assert not Cost.of(GOOD.attrs() | {"overlap50": value}).within_tolerance


# --- a bundle with another precision


def opened(path: Path, **options: Any) -> tuple[Bundle, Predictor]:
    bundle = open_bundle(path)
    return bundle, Predictor(bundle, PredictOptions(device="cpu", **options))


def test_a_bundle_without_them_runs_float32(small_bundle: Path) -> None:
    bundle, predictor = opened(small_bundle)
    assert stored_costs(bundle.root) == {}
    assert (predictor.embedder.precision, predictor.embedder.cost) == ("fp32", None)
    assert predictor.embedder.sha256 == hashlib.sha256(bundle.tower("image")).hexdigest()


def test_predictions_run_and_tell_the_chosen_tower(broken: Path, query_slide: Path, other_tower: bytes) -> None:
    add_tower(broken, "image_int8", other_tower, GOOD)
    bundle, predictor = opened(broken)
    ready = plan(query_slide, bundle.info, predictor.options)
    with closing(ready.slide):
        told = predictor.predict_plan(ready).provenance
        vectors = predictor.embed(ready.slide, ready.grid)
        plain = opened(broken, precision="fp32")[1].embed(ready.slide, ready.grid)
    assert told["options"]["precision"] == "int8"
    assert told["precision_cost"] == GOOD.attrs()
    assert told["reference"]["image_tower_sha256"] == hashlib.sha256(other_tower).hexdigest()
    assert np.abs(vectors - plain).max() > 1e-3


def test_a_poor_one_runs_only_when_asked_for(broken: Path, other_tower: bytes) -> None:
    add_tower(broken, "image_int8", other_tower, POOR)
    assert opened(broken)[1].embedder.precision == "fp32"
    assert opened(broken, precision="int8")[1].embedder.precision == "int8"
    assert "neighbours shared 0.39" in POOR.line() and "section S0" in POOR.line()


def test_a_tower_that_is_not_its_hash_is_refused(broken: Path, other_tower: bytes) -> None:
    add_tower(broken, "image_int8", other_tower, GOOD, sha256="0" * 64)
    with pytest.raises(ReferenceError, match="the image_int8 tower does not match its hash"):
        opened(broken)
    assert opened(broken, precision="fp32")[1].embedder.precision == "fp32"


# --- sessions


class Recorder:
    """Stands for ``InferenceSession``: keeps what was asked for, and runs it on the CPU under other names."""

    def __init__(self, *started: str) -> None:
        self.started, self.asked, self.options = [*started, CPU], [], None
        self._make = onnxruntime.InferenceSession

    def __call__(self, model: bytes, options: Any, providers: list[Any]) -> Any:
        self.asked.append(providers)
        session = self._make(model, options, providers=[CPU])
        started = self.started

        class Named:
            def __getattr__(self, name: str) -> Any:
                return getattr(session, name)

            def get_providers(self) -> list[str]:
                return [p for p in started if any(p == q or p == q[0] for q in providers)]

        return Named()


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recorder]:
    """``gpu(*started)``: an ONNX Runtime with CUDA and TensorRT of which the named ones start."""

    def make(*started: str) -> Recorder:
        recorder = Recorder(*started)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
        monkeypatch.setattr(onnxruntime, "InferenceSession", recorder)
        return recorder

    return make


def test_float32_on_cuda_is_not_tf32(gpu: Callable[..., Recorder], tower_bytes: Towers) -> None:
    recorder = gpu(CUDA)
    assert make_session(tower_bytes[0], "auto", "tower")[1] == "cuda"
    assert recorder.asked == [[(CUDA, {"use_tf32": "0"}), CPU]]


def test_float16_without_a_stored_tower_is_tensorrts(
    gpu: Callable[..., Recorder], small_bundle: Path, broken: Path, other_tower: bytes
) -> None:
    recorder = gpu(TENSORRT, CUDA)
    tower = open_embedder(open_bundle(small_bundle), "cuda", "fp16")
    assert recorder.asked == [[(TENSORRT, {"trt_fp16_enable": "1"}), (CUDA, {"use_tf32": "0"}), CPU]]
    assert (tower.precision, tower.encoder.device, tower.encoder.batch) == ("fp16", "cuda", 128)
    add_tower(broken, "image_fp16", other_tower, GOOD)
    tower = open_embedder(open_bundle(broken), "auto", "auto")
    assert recorder.asked[1:] == [[(CUDA, {"use_tf32": "0"}), CPU]]  # the stored one needs no TensorRT
    assert (tower.precision, tower.cost) == ("fp16", GOOD)


def test_tensorrt_that_does_not_start_is_an_error(gpu: Callable[..., Recorder], small_bundle: Path) -> None:
    gpu(CUDA)
    with pytest.raises(DeviceError, match="TensorRT did not start and the bundle holds no fp16 tower"):
        open_embedder(open_bundle(small_bundle), "cuda", "fp16")


def test_a_gpu_that_does_not_start_is_a_cpu_with_the_cpus_precision(
    gpu: Callable[..., Recorder], broken: Path, other_tower: bytes
) -> None:
    add_tower(broken, "image_fp16", other_tower, GOOD)
    add_tower(broken, "image_int8", other_tower, GOOD)
    gpu()
    tower = open_embedder(open_bundle(broken), "auto", "auto")
    assert (tower.precision, tower.encoder.device, tower.encoder.batch) == ("int8", "cpu", 8)


def test_bound_memory_gives_what_plain_memory_gives(tower_bytes: Towers) -> None:
    session, _ = make_session(tower_bytes[0], "cpu", "image tower")
    tiles = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(run_on_device(session, tiles, "tower", "cpu"), run(session, tiles, "tower"))
    with pytest.raises(ReferenceError, match="the tower cannot be run"):
        run_on_device(session, tiles[:, :8], "tower", "cpu")


@pytest.mark.skipif(CUDA not in onnxruntime.get_available_providers(), reason="needs onnxruntime-gpu and a GPU")
def test_cuda_gives_what_the_cpu_gives(tower_bytes: Towers, small_bundle: Path, query_slide: Path) -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (300, 16, 16, 3), np.uint8)
    found, wanted = (OnnxEncoder(tower_bytes[0], device).embed(tiles) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    bundle, results = open_bundle(small_bundle), []
    for device in ("cuda", "cpu"):
        ready = plan(query_slide, bundle.info, PredictOptions(stride_um=40.0))
        with closing(ready.slide):
            predictor = Predictor(bundle, PredictOptions(device=device, stride_um=40.0))
            assert predictor.encoder.device == device
            results.append(predictor.embed(ready.slide, ready.grid))
    np.testing.assert_allclose(results[0], results[1], atol=1e-5)


# --- page-locked memory


class Cudart:
    """The two functions of the CUDA runtime that are used, on ordinary memory."""

    def __init__(self, result: int = 0) -> None:
        self.result, self.held, self.freed = result, {}, []

    def cudaHostAlloc(self, pointer: Any, size: Any, _flags: int) -> int:
        if self.result == 0:
            memory = ctypes.create_string_buffer(size.value)
            pointer._obj.value = ctypes.addressof(memory)
            self.held[ctypes.addressof(memory)] = memory
        return self.result

    def cudaFreeHost(self, pointer: Any) -> int:
        self.freed.append(pointer.value)
        return 0


@pytest.mark.slow
def test_pinned_memory_is_written_sliced_and_freed_once() -> None:
    cudart = Cudart()
    array = pinned((4, 3, 5), cudart)
    assert array.shape == (4, 3, 5) and array.dtype == np.uint8 and list(cudart.held) == [array.ctypes.data]
    array[...] = 7
    part = array[1:2]
    del array
    gc.collect()
    assert cudart.freed == [] and (part == 7).all()
    address = next(iter(cudart.held))
    del part
    gc.collect()
    assert cudart.freed == [address]


@pytest.mark.parametrize("cudart", [None, Cudart(result=2)])
def test_where_memory_cannot_be_pinned_it_is_ordinary(cudart: Any) -> None:
    array = pinned((2, 3), cudart)
    array[...] = 1
    assert array.shape == (2, 3) and array.sum() == 6
