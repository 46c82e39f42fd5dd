"""A write that breaks off leaves the checkpoint and the metrics of before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import torch as torch_files
from torch import nn

from bleep_train.training.checkpoint import checkpoint_meta, load_checkpoint, save_checkpoint, trim_metrics


def test_a_checkpoint_that_broke_off_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = tmp_path / "checkpoint.safetensors", nn.Linear(2, 1)
    save_checkpoint(path, model, None, {"epoch": 3})
    before = model.weight.detach().clone()
    whole = torch_files.save_file

    def broken(tensors: Any, file: Path, meta: dict[str, str]) -> None:
        whole(tensors, file, meta)
        raise KeyboardInterrupt

    monkeypatch.setattr(torch_files, "save_file", broken)
    nn.init.zeros_(model.weight)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, model, None, {"epoch": 4})
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert checkpoint_meta(path) == load_checkpoint(path, model) == {"epoch": 3}
    assert torch.equal(model.weight, before)


def test_metrics_are_trimmed_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    trim_metrics(path, 2)
    assert path.read_text() == ""
    path.write_text("a\nb\nc\n")
    trim_metrics(path, 2)
    assert path.read_text() == "a\nb\n"

    def broken(self: Path, text: str, **_options: Any) -> int:
        self.write_bytes(text[:1].encode())
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", broken)
    with pytest.raises(KeyboardInterrupt):
        trim_metrics(path, 1)
    assert path.read_text() == "a\nb\n"
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
