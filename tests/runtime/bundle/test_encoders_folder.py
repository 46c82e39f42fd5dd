"""Both towers come back from their folder; what is none is refused by one line."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bleep_cli.bundle.encoders_folder import Encoders, load_encoders
from bleep_cli.errors import ReferenceError
from bleep_cli.towers.precision import Cost, OtherTower

MakeEncoders = Callable[..., Encoders]


def test_encoders_come_back_from_their_folder(make_encoders: MakeEncoders, tmp_path: Path) -> None:
    towers = make_encoders(k=7, licence="CC0", training={"lr": 0.1})
    int8 = OtherTower(towers.image + b"8", Cost(0.99, 0.91, -0.001, "section C"))
    saved = replace(towers, target_sum=5e3, others={"int8": int8})
    saved.save(tmp_path / "made/enc")
    assert load_encoders(tmp_path / "made/enc") == saved


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"panel": None}, "TypeError"),
        ({"tile": {"px": 16}}, "KeyError: 'um'"),
        ({"target_sum": "many"}, "ValueError"),
        ({"info": {"k": 5, "kk": 5}}, "info holds kk"),
        ({"info": {"tile": 3}}, "info holds tile"),
        ({"info": {"tr\ud800": 3}}, r"info holds tr\\ud800"),
        ({"info": {"k": float("inf")}}, "k inf"),
        ({"target_sum": float("nan")}, "target_sum nan"),
        ({"tile": {"px": 10**9, "um": [64.0]}}, "px 1000000000; 1 to 8192"),
        ({"panel": ["A" * 2000]}, "panel holds what is no gene's name"),
        ({"info": {"expression_precision": "f8"}}, "expression_precision 'f8' is none of f16, f32"),
        ({"precisions": {"fp32": {}}}, "precisions holds fp32"),
        ({"precisions": {"int8": {}}}, r"image_int8\.onnx: No such file"),
        ({"precisions": ["int8"]}, "ValueError"),
    ],
)
def test_a_broken_manifest_is_refused(
    make_encoders: MakeEncoders, tmp_path: Path, change: Any, reason: str
) -> None:
    make_encoders().save(tmp_path)
    manifest = json.loads((tmp_path / "encoders.json").read_text())
    (tmp_path / "encoders.json").write_text(json.dumps(manifest | change))
    with pytest.raises(ReferenceError, match=f"^encoders {tmp_path.name}: .*{reason}.*bleep-train export"):
        load_encoders(tmp_path)


@pytest.mark.parametrize("gone", ["image.onnx", "expression.onnx", "encoders.json"])
def test_an_incomplete_encoders_folder_is_refused(make_encoders: MakeEncoders, tmp_path: Path, gone: str) -> None:
    make_encoders().save(tmp_path / "enc")
    (tmp_path / "enc" / gone).unlink()
    with pytest.raises(ReferenceError, match=rf"^encoders enc: image\.onnx, .* are needed \({gone}") as caught:
        load_encoders(tmp_path / "enc")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["image.onnx", "encoders.json"])
def test_a_pipe_in_the_encoders_folder_is_not_waited_for(
    make_encoders: MakeEncoders, tmp_path: Path, name: str
) -> None:
    make_encoders().save(tmp_path / "enc")
    (tmp_path / "enc" / name).unlink()
    os.mkfifo(tmp_path / "enc" / name)
    with pytest.raises(ReferenceError, match=f"{name} is no file"):
        load_encoders(tmp_path / "enc")
