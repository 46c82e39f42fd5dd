"""What the tests share: real data where there is some, tiny real ONNX towers, a made-up cohort and its bundle.

The made-up world has three kinds of tissue. A kind's colour sets its expression: gene ``i`` follows the
absorbance of colour channel ``i % 3``. Both towers measure just that, so a tile's embedding lies near those of
spots of its own kind, and a prediction can be checked against what the image shows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 - a fixture
from made_tissue import (
    N_GENES,
    cohort,
    symbols_of,
    write_picture,
)
from tracing import traced  # noqa: F401 - a fixture

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built
from bleep_cli.types import Section, TileSpec

os.environ.setdefault("SOURCE_DATE_EPOCH", "1577836800")  # results are compared byte for byte; they state a date

ROOT = Path(__file__).parents[1]
TILE = TileSpec(16, (64.0,))
DIM = 8


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The shared real data; tests that need it are skipped, visibly, where there is none."""
    path = Path(os.environ.get("BLEEP_TEST_DATA", ROOT / "../shared/data")).resolve()
    if not path.is_dir():
        pytest.skip(f"no test data at {path}; set BLEEP_TEST_DATA")
    return path


# --- towers


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


# --- fixtures


@pytest.fixture(scope="session")
def make_towers() -> Callable[..., tuple[bytes, bytes]]:
    """``make_towers(px=16, fields=1, panel=12, dim=8)`` → (image tower, expression tower)."""
    return towers


@pytest.fixture(scope="session")
def tower_bytes() -> tuple[bytes, bytes]:
    """(image tower, expression tower) for 16 px tiles and 12 genes."""
    return towers()


@pytest.fixture(scope="session")
def make_encoders() -> Callable[..., Encoders]:
    """``make_encoders(spec, panel, **info)`` → towers as ``build_reference`` takes them."""
    return encoders_for


@pytest.fixture(scope="session")
def write_cohort() -> Callable[..., Path]:
    """``write_cohort(folder, forms, first_seed=0, n_genes=12)`` → the path of its ``cohort.toml``."""
    return cohort


@pytest.fixture
def make_sections(tmp_path: Path) -> Callable[..., Path]:
    """``make_sections(forms, first_seed=0, n_genes=12)`` → the path of a ``cohort.toml``."""
    return lambda *args, **kwargs: cohort(tmp_path / "cohort", *args, **kwargs)


@pytest.fixture(scope="session")
def small_cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ``cohort.toml`` of three sections, one of each form; not to be written to."""
    return cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(scope="session")
def small_sections(small_cohort: Path) -> list[Section]:
    """The three sections."""
    return read_cohort(small_cohort)


@pytest.fixture(scope="session")
def small_built(small_sections: list[Section]) -> Built:
    """Their reference in memory."""
    return build_reference(small_sections, encoders_for(), device="cpu")


@pytest.fixture(scope="session")
def small_bundle(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their reference as ``small.zarr``, shared by all tests: copy it before you change it."""
    path = tmp_path_factory.mktemp("bundle") / "small.zarr"
    write_bundle(path, small_built.info, small_built.arrays)
    return path


@pytest.fixture(scope="session")
def corrected_bundle(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as ``corrected.zarr``, whose predictions are corrected along the embedding; not to be changed."""
    path = tmp_path_factory.mktemp("bundle") / "corrected.zarr"
    write_bundle(path, replace(small_built.info, aggregation="corrected"), small_built.arrays)
    return path


@pytest.fixture
def broken(small_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, ``broken.zarr``, for a test to break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "broken.zarr"))


@pytest.fixture(scope="session")
def query_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a fourth section, ``query.tif``, which states its pixel size (4 µm)."""
    return write_picture(tmp_path_factory.mktemp("slide") / "query.tif", 9)
