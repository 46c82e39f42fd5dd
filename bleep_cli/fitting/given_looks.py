"""Looks for image towers that tell none: trained ones and other people's, at any precision.

The shipped backbone goes beside the tower in one graph, on the smallest field of view as the tower sees it. What
the tower itself gives stays as it is, whatever it was trained to and however it is rounded; looks are float32. A
tower of one field that stands on that very backbone shares it, so that looks cost it nothing.
"""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.assets import BACKBONE, asset
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.looks import STAIN
from bleep_cli.errors import DeviceError, ReferenceError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.graphs import Given, ends_of, looks_nodes, model_of, node_of, of_one_opset, prefix
from bleep_cli.fitting.looks import LooksHead, fit_looks
from bleep_cli.fitting.onnx_file import onnx_package
from bleep_cli.reference.parts import Built, with_findings
from bleep_cli.towers.encoder import TOWER_SHA256, OnnxEncoder
from bleep_cli.towers.levels import FINE, LEVEL_DIMS, width_scale

if TYPE_CHECKING:
    import onnx

FEATURES = sum(LEVEL_DIMS)
RGB = 3
LEAST_PX = 64  # of a tile that the shipped backbone can pool five levels of


def with_raw_looks(encoders: Encoders) -> tuple[Encoders, tuple[Finding, ...]]:
    """The same with an image tower that tells every tile's features and stain, f32[b, 744 + 6], as they are.

    To be built with; :func:`with_fitted_looks` then whitens them. A tower that tells looks already stays as it is;
    so does one that the backbone cannot be put beside, and a finding says why.
    """
    raw = LooksHead(_as_it_is(FEATURES), _as_it_is(STAIN))
    try:
        if OnnxEncoder(encoders.image, "cpu").looks:
            return encoders, ()
        tower = tower_with_looks(encoders.image, encoders.tile.px, raw)
        OnnxEncoder(tower, "cpu")
    except (DeviceError, ReferenceError, UsageError) as error:
        what = f"the image tower tells no looks, so that no tile will be called strange: {error.text}"
        return encoders, (Finding("looks-missing", what),)
    return replace(encoders, image=tower), ()


def with_fitted_looks(built: Built, encoders: Encoders, told: tuple[Finding, ...]) -> Built:
    """What was built with the towers that :func:`with_raw_looks` made of ``encoders``, its looks whitened on its
    own tiles, and the image tower at every precision telling these; ``told`` is what that function said."""
    raw = built.looks
    if told:
        arrays = replace(built.arrays, other_towers=encoders.others)
        return with_findings(replace(built, arrays=arrays, looks=None), told)
    if built.arrays.image_tower == encoders.image:
        return replace(built, arrays=replace(built.arrays, other_towers=encoders.others))
    if raw is None:  # embedded by somebody who tells none
        what = "the tiles were embedded without their looks, so that no tile will be called strange"
        arrays = replace(built.arrays, image_tower=encoders.image, other_towers=encoders.others)
        return with_findings(replace(built, arrays=arrays), (Finding("looks-missing", what),))
    features, stain = raw[:, :FEATURES], raw[:, FEATURES:]
    head = fit_looks(features, width_scale(LEVEL_DIMS), stain, FINE)
    px = encoders.tile.px
    others = {
        chosen: replace(other, model=tower_with_looks(other.model, px, head))
        for chosen, other in encoders.others.items()
    }
    arrays = replace(built.arrays, image_tower=tower_with_looks(encoders.image, px, head), other_towers=others)
    return replace(built, arrays=arrays, looks=head(features, stain))


def tower_with_looks(tower: bytes, px: int, looks: LooksHead) -> bytes:
    """An image tower of one output, with ``looks`` of the shipped backbone's features and the stain as a second.

    It says itself which tower it gives the embeddings of (:func:`bleep_cli.towers.encoder.gives_as`). Raises
    ``ReferenceError`` for a tower that cannot stand in one graph with the backbone, ``DeviceError`` without the
    package onnx, ``UsageError`` where this installation lacks the backbone.
    """
    package = onnx_package()
    own = package.load_from_string(tower)
    if own.functions:
        own = importlib.import_module("onnx.inliner").inline_local_functions(own)
    own, net = of_one_opset(own, package.load_from_string(asset(BACKBONE).read_bytes()))
    (given, embedding), (seen, features) = ends_of(own), ends_of(net)
    shape = next(value for value in own.graph.input if value.name == given).type.tensor_type.shape
    channels = shape.dim[3].dim_value
    dim = own.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    prefix(own.graph, "tower/")
    prefix(net.graph, "seen/")
    nodes, constants = looks_nodes(looks, "tiles", f"seen/{features}")
    joined = [
        node_of("Identity", ["tiles"], [f"tower/{given}"]),
        *own.graph.node,
        node_of("Identity", [f"tower/{embedding}"], ["embedding"]),
        *_smallest_field(px, channels, f"seen/{seen}", constants),
        *net.graph.node,
        *nodes,
    ]
    tiles: Given = ("tiles", package.TensorProto.UINT8, ["batch", px, px, channels])
    made_of = {TOWER_SHA256: hashlib.sha256(tower).hexdigest()}
    return model_of(joined, constants, tiles, dim, [own, net], {"looks": looks.dim}, made_of, once=True)


def _smallest_field(px: int, channels: int, result: str, constants: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    """Nodes from ``tiles`` to the first three channels u8, enlarged to ``LEAST_PX`` where they are smaller."""
    first = ["tiles", "look/first", "look/channels", "look/last_axis"]
    if px >= LEAST_PX:
        return [node_of("Identity", ["tiles"], [result]) if channels == RGB else node_of("Slice", first, [result])]
    kinds = onnx_package().TensorProto
    constants["look/enlarged"] = np.array([LEAST_PX, LEAST_PX], np.int64)
    return [
        node_of("Slice", first, ["look/small"]),
        node_of("Cast", ["look/small"], ["look/real"], to=kinds.FLOAT),
        node_of("Transpose", ["look/real"], ["look/planes"], perm=[0, 3, 1, 2]),
        node_of("Resize", ["look/planes", "", "", "look/enlarged"], ["look/large"], mode="linear", axes=[2, 3]),
        node_of("Round", ["look/large"], ["look/whole"]),
        node_of("Transpose", ["look/whole"], ["look/rows"], perm=[0, 2, 3, 1]),
        node_of("Cast", ["look/rows"], [result], to=kinds.UINT8),
    ]


def _as_it_is(dim: int) -> LinearHead:
    return LinearHead(np.zeros(dim, np.float32), np.eye(dim, dtype=np.float32))
