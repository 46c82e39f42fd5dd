"""Page-locked host memory for tiles on their way to a GPU, through the CUDA runtime that ONNX Runtime loaded."""

from __future__ import annotations

import ctypes
import math
import weakref

import numpy as np

from bleep_cli.types import U8

CUDART = ("libcudart.so.13", "libcudart.so.12", "cudart64_13.dll", "cudart64_12.dll")


def cuda_runtime() -> ctypes.CDLL | None:
    """The CUDA runtime library, where it is there; None elsewhere."""
    for name in CUDART:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def pinned(shape: tuple[int, ...], cudart: ctypes.CDLL | None) -> U8:
    """An uninitialised ``u8`` array that a GPU copies from without a detour; an ordinary one where that fails.

    Page-locking is only a matter of speed. The memory is freed with the array.
    """
    size = math.prod(shape)
    pointer = ctypes.c_void_p()
    if cudart is None or not size or cudart.cudaHostAlloc(ctypes.byref(pointer), ctypes.c_size_t(size), 0) != 0:
        return np.empty(shape, np.uint8)
    held = (ctypes.c_uint8 * size).from_address(pointer.value or 0)
    # Every array over the memory, slices too, keeps ``held`` alive.
    weakref.finalize(held, cudart.cudaFreeHost, pointer)
    return np.ctypeslib.as_array(held).reshape(shape)
