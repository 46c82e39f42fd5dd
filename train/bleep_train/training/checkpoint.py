"""Checkpoints as safetensors: weights, optimiser state and a little JSON; no pickle.

safetensors is imported where a file is touched: the loop runs without it (``benchmarks/on_gpu.py``)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bleep_cli.base.files.atomic import atomic_path

METRICS = "metrics.jsonl"

CHECKPOINT = "checkpoint.safetensors"  # the last epochs' state, to go on from
BEST = "best.safetensors"  # the weights chosen by validation, where there is one
MODEL, OPTIMISER = "model.", "optimiser."


def save_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None, meta: dict[str, Any]
) -> None:
    """Writes a checkpoint whole or not at all, replacing the one before."""
    from safetensors.torch import save_file

    tensors = {MODEL + name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    for index, state in (optimiser.state_dict()["state"] if optimiser else {}).items():
        for name, value in state.items():
            tensor = value if isinstance(value, Tensor) else torch.tensor(value)
            tensors[f"{OPTIMISER}{index}.{name}"] = tensor.detach().cpu().contiguous()
    with atomic_path(path, force=True) as temp:
        save_file({name: tensor.clone() for name, tensor in tensors.items()}, temp, {"meta": json.dumps(meta)})


def load_checkpoint(
    path: Path, model: nn.Module, optimiser: torch.optim.Optimizer | None = None
) -> dict[str, Any]:
    """Fills the model, and the optimiser if given; returns the JSON that was saved with them."""
    from safetensors.torch import load_file

    tensors = load_file(path)
    model.load_state_dict({name[len(MODEL) :]: t for name, t in tensors.items() if name.startswith(MODEL)})
    if optimiser is not None:
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(OPTIMISER):
                index, key = name[len(OPTIMISER) :].split(".")
                state.setdefault(int(index), {})[key] = tensor
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
        _like_parameters(optimiser)
    return checkpoint_meta(path)


def checkpoint_meta(path: Path) -> dict[str, Any]:
    """The JSON that was saved with a checkpoint, without reading its tensors."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return json.loads((file.metadata() or {})["meta"])  # type: ignore[no-any-return]


def _like_parameters(optimiser: torch.optim.Optimizer) -> None:
    """Moments laid out in memory as their parameters are (channels last): the fused kernels want it, and a file
    keeps no layout."""
    for parameter, state in optimiser.state.items():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter, dtype=value.dtype).copy_(value)


def trim_metrics(path: Path, epochs: int) -> None:
    """Drops lines of epochs that a resumed run will do again."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
    with atomic_path(path, force=True) as temp:
        temp.write_text("".join(lines[:epochs]), encoding="utf-8")
