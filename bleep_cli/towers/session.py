"""ONNX Runtime sessions: which device a model runs on, with how many threads, and its errors in our words."""

from __future__ import annotations

import contextlib
import importlib
import io
import threading
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.reasons import first_line
from bleep_cli.choices import Device, RunsOn
from bleep_cli.errors import DeviceError, ReferenceError, option
from bleep_cli.limits import MOST_BATCH_SECONDS
from bleep_cli.towers.model_file import check_model
from bleep_cli.types import F32, U8

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, RunOptions, SessionOptions

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
Provider = str | tuple[str, dict[str, str]]
"""The name of an execution provider, or the name and its options."""


def _runtime() -> ModuleType:
    try:
        return importlib.import_module("onnxruntime")
    except ModuleNotFoundError as error:
        raise DeviceError(
            'ONNX Runtime is not installed; install BLEEP with its extra cpu or gpu: pip install ".[cpu]"'
        ) from error
    except ImportError as error:  # a library that it needs
        raise DeviceError(f"ONNX Runtime is installed but does not load ({first_line(error)})") from error


def available_providers() -> list[str]:
    """The execution providers that this ONNX Runtime was built with. ``DeviceError`` where there is none."""
    return list(_runtime().get_available_providers())


def choose_device(device: Device) -> RunsOn:
    """``auto`` → cuda where this ONNX Runtime was built for it, else cpu.

    Raises ``DeviceError`` when cuda is asked for and this installation cannot do it.
    """
    has_cuda = CUDA in available_providers()
    if device == "cuda" and not has_cuda:
        raise DeviceError(
            f"{option('device')} cuda: this ONNX Runtime has no CUDA provider; install bleep-cli[gpu] in place of "
            f"bleep-cli[cpu], or use {option('device')} cpu"
        )
    return "cuda" if has_cuda and device != "cpu" else "cpu"


def has_tensorrt() -> bool:
    """Whether this ONNX Runtime was built with TensorRT; whether TensorRT itself is there shows when it runs."""
    return TENSORRT in available_providers()


def make_session(
    model: bytes, device: Device, what: str, *, threads: int = 0, tensorrt_fp16: bool = False
) -> tuple[InferenceSession, RunsOn]:
    """An inference session of an ONNX model held in memory, and the device it really runs on.

    ONNX Runtime falls back to the CPU silently: for ``auto`` that is accepted, for ``cuda`` it is an error.
    ``threads`` 0 is all cores.

    Raises ``ReferenceError`` for bytes that are no model, or one of more than is let in
    (:mod:`bleep_cli.towers.model_file`), ``DeviceError`` when cuda, or TensorRT where it was to
    give float16, cannot be used.
    """
    ort = _runtime()
    chosen = choose_device(device)
    options = _options(ort, threads)
    providers = _providers(ort, chosen, tensorrt_fp16)
    try:
        check_model(model)
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what keeps it from a provider
            session = ort.InferenceSession(model, options, providers=providers)
        for value in (*session.get_inputs(), *session.get_outputs()):
            _ = (value.name, value.type, value.shape)  # names that are no text show here
    except Exception as error:  # ONNX Runtime's errors share no base class
        raise ReferenceError(
            f"the {what} is not a model that ONNX Runtime can run ({first_line(error)})"
        ) from error
    used = session.get_providers()
    if CUDA not in used and device == "cuda":
        raise DeviceError(
            f"{option('device')} cuda: the CUDA provider did not start (driver, CUDA 13 and cuDNN 9 are needed; "
            f'"bleep doctor" tells more); use {option("device")} cpu'
        )
    if tensorrt_fp16 and CUDA in used and TENSORRT not in used:
        raise DeviceError(
            f"{option('precision')} fp16: TensorRT did not start and the bundle holds no fp16 tower; use fp32"
        )
    return session, "cuda" if CUDA in used else "cpu"


def _options(ort: ModuleType, threads: int) -> SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # its complaints reach the user through our own errors
    options.intra_op_num_threads = threads
    # A spinning thread holds a core that reading, or another program, could use (docs/performance.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.load_model_format", "ONNX")  # what was checked, not its own format
    return options


def _providers(ort: ModuleType, device: RunsOn, tensorrt_fp16: bool) -> list[Provider]:
    """The providers to try, best first; float32 on CUDA is float32, not TF32, so that devices agree."""
    if device == "cpu":
        return [CPU]
    with contextlib.suppress(Exception):  # absent DLLs show later, in the providers really used
        ort.preload_dlls()
    providers: list[Provider] = [(CUDA, {"use_tf32": "0"}), CPU]
    if tensorrt_fp16 and has_tensorrt():
        providers.insert(0, (TENSORRT, {"trt_fp16_enable": "1"}))
    return providers


def run(session: InferenceSession, rows: U8 | F32, what: str) -> F32:
    """The output for one batch f32[b, d], of several outputs the rows side by side. ``ReferenceError`` for all
    but numbers, a row for each row."""
    given = {session.get_inputs()[0].name: rows}
    return _vectors(session, len(rows), what, lambda limit: session.run(None, given, limit))


def run_on_device(session: InferenceSession, rows: U8, what: str, device: RunsOn = "cuda") -> F32:
    """The same with input and output bound to the device's memory: one copy each way, none hidden in the graph."""
    ort = _runtime()

    def bound(limit: RunOptions) -> list[F32]:
        binding = session.io_binding()
        value = ort.OrtValue.ortvalue_from_numpy(rows, device, 0)
        binding.bind_ortvalue_input(session.get_inputs()[0].name, value)
        for output in session.get_outputs():
            binding.bind_output(output.name, device, 0)
        session.run_with_iobinding(binding, limit)
        found: list[F32] = binding.copy_outputs_to_cpu()
        return found

    return _vectors(session, len(rows), what, bound)


def _vectors(session: InferenceSession, rows: int, what: str, compute: Callable[[RunOptions], list[F32]]) -> F32:
    """What ``compute`` gives within ``MOST_BATCH_SECONDS``, checked: f32[rows, d], finite."""
    limit = _runtime().RunOptions()
    watch = threading.Timer(MOST_BATCH_SECONDS, setattr, (limit, "terminate", True))
    watch.daemon = True
    watch.start()
    try:
        found = compute(limit)
    except Exception as error:  # ONNX Runtime's errors share no base class
        if limit.terminate:
            raise ReferenceError(f"the {what} took more than {MOST_BATCH_SECONDS:g} s for {rows} rows") from error
        raise _run_error(session, error, what) from error
    finally:
        watch.cancel()
        watch.join()
    for vectors, output in zip(found, session.get_outputs(), strict=True):
        wanted = (rows, output.shape[1])
        if getattr(vectors, "shape", None) != wanted or vectors.dtype != np.float32:
            raise ReferenceError(f"the {what} does not give f32[{wanted[0]}, {wanted[1]}] for {rows} rows")
        if not np.isfinite(vectors).all():
            raise ReferenceError(f"the {what} gives NaN or infinity")
    return found[0] if len(found) == 1 else np.concatenate(found, axis=1)


def _run_error(session: InferenceSession, error: Exception, what: str) -> Exception:
    if CUDA in session.get_providers():
        return DeviceError(f"the {what} failed on the GPU ({first_line(error)}); use {option('device')} cpu")
    return ReferenceError(f"the {what} cannot be run ({first_line(error)})")
