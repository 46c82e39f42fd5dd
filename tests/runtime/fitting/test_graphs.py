"""Linear heads on a backbone as ONNX towers give what the arithmetic gives."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bleep_cli.errors import DeviceError, ReferenceError
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.graphs import expression_tower, image_tower
from bleep_cli.towers.encoder import OnnxEncoder, OnnxExpressionEncoder, unit

PX = 16


@pytest.fixture
def head() -> LinearHead:
    rng = np.random.default_rng(3)
    return LinearHead(rng.normal(size=16).astype(np.float32), rng.normal(size=(16, 5)).astype(np.float32))


def test_every_field_goes_through_the_backbone(
    make_towers: Callable[..., tuple[bytes, bytes]], head: LinearHead
) -> None:
    backbone = make_towers(PX)[0]  # u8[b, 16, 16, 3] → f32[b, 8]
    tiles = np.random.default_rng(0).integers(0, 256, (11, PX, PX, 6), np.uint8)
    tower = OnnxEncoder(image_tower(backbone, PX, 2, head), "cpu")
    assert (tower.tile_px, tower.channels, tower.dim) == (PX, 6, 5)
    alone = OnnxEncoder(backbone, "cpu")
    features = np.hstack([alone.embed(tiles[..., :3].copy()), alone.embed(tiles[..., 3:].copy())])
    np.testing.assert_allclose(tower.embed(tiles), unit(head(features)), atol=1e-5)
    np.testing.assert_allclose(tower.embed(tiles[4:5]), tower.embed(tiles)[4:5], atol=1e-6)


def test_the_expression_tower_is_its_head(head: LinearHead) -> None:
    rows = np.random.default_rng(0).random((9, 16), np.float32) * 5
    encoder = OnnxExpressionEncoder(expression_tower(head))
    assert (encoder.panel_size, encoder.dim) == (16, 5)
    np.testing.assert_allclose(encoder.embed(rows), unit(head(rows)), atol=1e-5)


def test_the_same_heads_give_the_same_bytes(
    make_towers: Callable[..., tuple[bytes, bytes]], head: LinearHead
) -> None:
    backbone = make_towers(PX)[0]
    assert image_tower(backbone, PX, 2, head) == image_tower(backbone, PX, 2, head)
    assert expression_tower(head) == expression_tower(head)


def test_a_backbone_of_two_outputs_is_refused(
    make_towers: Callable[..., tuple[bytes, bytes]], head: LinearHead
) -> None:
    import onnx

    model = onnx.load_from_string(make_towers(PX)[0])
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info("features"))
    with pytest.raises(ReferenceError, match="one input and one output, this has 1 and 2"):
        image_tower(model.SerializeToString(), PX, 2, head)


def test_without_onnx_the_extra_is_named(head: LinearHead, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str, *_: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(DeviceError, match=r'pip install "\.\[build\]"'):
        expression_tower(head)
