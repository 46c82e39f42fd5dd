"""Tiny real towers in ONNX, which measure the colour that sets the expression of made-up tissue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from made_cohorts import N_GENES, symbols_of

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.types import TileSpec

TILE = TileSpec(16, (64.0,))
DIM = 8


def towers(px: int = TILE.px, fields: int = 1, panel: int = N_GENES, dim: int = DIM) -> tuple[bytes, bytes]:
    """(image tower, expression tower) as ONNX bytes.

    Image: u8[batch, px, px, 3·fields] → absorbance, its mean and spatial moments per channel → ``dim``;
    expression: f32[batch, panel] → ``dim``; both end in the L2 norm. The moments change with every flip and
    rotation. Weights come from a fixed seed.
    """
    rng = np.random.default_rng(7)
    basis = np.linalg.qr(rng.normal(size=(dim, dim)))[0][:3]  # colour channels → dim
    colour = (np.eye(3) - 1 / 3) @ basis  # what all channels share says nothing
    bias = 1e-3 * rng.normal(size=dim)  # glass has to have a direction, too
    x = np.linspace(-1, 1, px)
    gy, gx = np.meshgrid(x, x, indexing="ij")
    moments = np.stack([np.ones_like(gx), gx, gy, gx * gy + gx, gx**2 * gy, gy**3]).reshape(6, -1) / px**2
    weights = 0.3 * rng.normal(size=(6, 3 * fields, dim))
    weights[0] = np.tile(colour, (fields, 1)) / fields
    image = _model(
        [
            ("Cast", ["in"], "raw", {"to": 1}),
            ("Mul", ["raw", "scale"], "scaled", {}),
            ("Sub", ["one", "scaled"], "absorbance", {}),
            ("Reshape", ["absorbance", "flat_pixels"], "pixels", {}),
            ("MatMul", ["moments", "pixels"], "per_channel", {}),
            ("Reshape", ["per_channel", "flat"], "features", {}),
            *_head(),
        ],
        {
            "scale": np.float32(1 / 255),
            "one": np.float32(1),
            "flat_pixels": np.array([0, px * px, 3 * fields]),
            "moments": moments.astype(np.float32),
            "flat": np.array([0, 18 * fields]),
            "weights": weights.reshape(18 * fields, dim).astype(np.float32),
            "bias": bias.astype(np.float32),
        },
        ["batch", px, px, 3 * fields],
        dim,
        uint8=True,
    )
    per_gene = colour[np.arange(panel) % 3] / max(1, panel)
    constants = {"weights": per_gene.astype(np.float32), "bias": bias.astype(np.float32)}
    expression = _model(_head("in"), constants, ["batch", panel], dim, uint8=False)
    return image, expression


def _head(features: str = "features") -> list[tuple[str, list[str], str, dict[str, Any]]]:
    return [
        ("MatMul", [features, "weights"], "projected", {}),
        ("Add", ["projected", "bias"], "shifted", {}),
        ("LpNormalization", ["shifted"], "out", {"axis": 1, "p": 2}),
    ]


def _model(nodes: Any, constants: dict[str, Any], shape: list[Any], dim: int, *, uint8: bool) -> bytes:
    from onnx import TensorProto, checker, helper, numpy_helper

    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output], **attrs) for kind, inputs, output, attrs in nodes],
        "tower",
        [helper.make_tensor_value_info("in", TensorProto.UINT8 if uint8 else TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def encoders_for(spec: TileSpec = TILE, panel: Sequence[str] | None = None, **info: Any) -> Encoders:
    """Towers as ``bleep build-reference --encoders`` takes them; the panel is all genes unless given."""
    genes = tuple(panel) if panel is not None else tuple(symbols_of(N_GENES))
    image, expression = towers(spec.px, len(spec.um), len(genes))
    return Encoders(image, expression, spec, genes, info=info)
