"""What the tests share: real data where there is some, tiny real ONNX towers, a made-up cohort and its bundle.

The made-up world has three kinds of tissue. A kind's colour sets its expression: gene ``i`` follows the
absorbance of colour channel ``i % 3``. Both towers measure just that, so a tile's embedding lies near those of
spots of its own kind, and a prediction can be checked against what the image shows.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 - a fixture
from tracing import traced  # noqa: F401 - a fixture

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built
from bleep_cli.types import Section, TileSpec

os.environ.setdefault("SOURCE_DATE_EPOCH", "1577836800")  # results are compared byte for byte; they state a date

ROOT = Path(__file__).parents[1]
MPP = 4.0  # µm per pixel of the made-up images
TILE = TileSpec(16, (64.0,))
N_GENES = 12
DIM = 8
KINDS = np.array([(225, 110, 190), (110, 80, 190), (215, 175, 70)])  # RGB: stroma, nuclei, orange
SIZE = (300, 200)  # (width, height) px
PITCH = 20  # px between spots
FORMS = ("st", "tiff", "spaceranger")


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


# --- sections


def symbols_of(n: int) -> list[str]:
    return [f"GENE{i}" for i in range(n)]


def ensembl_of(n: int) -> list[str]:
    return [f"ENSG{i:011d}" for i in range(n)]


def kind_map(seed: int) -> np.ndarray:
    """i64[h, w]: -1 glass, else the kind of tissue; an ellipse cut into three bands at a seeded slant."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2) / (0.42 * width)) ** 2 + ((y - height / 2) / (0.42 * height)) ** 2 < 1
    band = ((x + (seed % 5 - 2) * 0.3 * (y - height / 2)) * 3 / width).astype(int).clip(0, 2)
    return np.where(inside, (band + seed) % 3, -1)


def draw(kinds: np.ndarray, seed: int) -> np.ndarray:
    """u8[h, w, 3]: the picture of a kind map, with a little noise."""
    rgb = np.where(kinds[..., None] < 0, 244, KINDS[kinds.clip(0)])
    noise = np.random.default_rng(seed).normal(0, 3, rgb.shape)
    return (rgb + noise).clip(0, 255).astype(np.uint8)


def spots_on(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Array positions i64[n, 2] (x, y) of the spots in tissue and their centres f64[n, 2] (x, y) px."""
    height, width = kinds.shape
    row, col = np.divmod(np.arange((height // PITCH) * (width // PITCH)), width // PITCH)
    array = np.stack([col, row], axis=1)
    centre = (array + 0.5) * PITCH
    keep = kinds[centre[:, 1].astype(int), centre[:, 0].astype(int)] >= 0
    return array[keep], centre[keep]


def draw_counts(kinds: np.ndarray, centre: np.ndarray, n_genes: int, seed: int) -> np.ndarray:
    """i64[n, g]: gene i follows the absorbance of channel i % 3 under the spot."""
    kind = kinds[centre[:, 1].astype(int), centre[:, 0].astype(int)]
    absorbance = (1 - KINDS[kind] / 255.0)[:, np.arange(n_genes) % 3]
    return np.random.default_rng(seed + 100).poisson(20 * np.exp(4 * absorbance))


def write_picture(path: Path, seed: int) -> Path:
    """A made-up section's picture; a TIFF states its own pixel size, a PNG does not."""
    image = draw(kind_map(seed), seed)
    if path.suffix == ".tif":
        import tifffile

        per_cm = (10_000 / MPP, 10_000 / MPP)
        tifffile.imwrite(path, image, photometric="rgb", resolution=per_cm, resolutionunit="CENTIMETER")
    else:
        from PIL import Image

        Image.fromarray(image).save(path)
    return path


def write_section(folder: Path, name: str, form: str, seed: int, n_genes: int) -> str:
    """Writes one section and returns its ``[[section]]`` table: ST tables with a PNG or a TIFF, or ``outs``."""
    kinds = kind_map(seed)
    array, centre = spots_on(kinds)
    counts = draw_counts(kinds, centre, n_genes, seed)
    image = write_picture(folder / (f"{name}.tif" if form == "tiff" else f"{name}.png"), seed)
    lines = ["[[section]]", f'id = "{name}"', f'donor = "D{name}"', f'image = "{image.name}"']
    lines += [] if form == "tiff" else [f"mpp = {MPP}"]
    if form == "spaceranger":
        write_spaceranger(folder / f"{name}-outs", array, centre, counts)
        return "\n".join([*lines, f'spaceranger = "{name}-outs"', ""])
    rows = ["\t".join(["", *symbols_of(n_genes)])]
    rows += ["\t".join([f"{x}x{y}", *map(str, c)]) for (x, y), c in zip(array, counts, strict=True)]
    (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    rows = ["x\ty\tpixel_x\tpixel_y"]
    rows += [f"{x}\t{y}\t{px}\t{py}" for (x, y), (px, py) in zip(array, centre, strict=True)]
    (folder / f"{name}-spots.tsv").write_text("\n".join(rows) + "\n")
    return "\n".join([*lines, f'counts = "{name}.tsv"', f'positions = "{name}-spots.tsv"', ""])


def write_spaceranger(outs: Path, array: np.ndarray, centre: np.ndarray, counts: np.ndarray) -> None:
    """An ``outs`` folder with the matrix as .mtx and one more position that is not in tissue."""
    from scipy import io, sparse

    matrix, spatial = outs / "filtered_feature_bc_matrix", outs / "spatial"
    matrix.mkdir(parents=True)
    spatial.mkdir()
    barcodes = [f"SPOT{i:04d}-1" for i in range(len(counts))]
    with gzip.open(matrix / "matrix.mtx.gz", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(counts.T), field="integer")
    genes = zip(ensembl_of(counts.shape[1]), symbols_of(counts.shape[1]), strict=True)
    features = "".join(f"{i}\t{s}\tGene Expression\n" for i, s in genes)
    (matrix / "features.tsv.gz").write_bytes(gzip.compress(features.encode()))
    (matrix / "barcodes.tsv.gz").write_bytes(gzip.compress("".join(f"{b}\n" for b in barcodes).encode()))
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"]
    spots = zip(barcodes, array, centre, strict=True)
    rows += [f"{b},1,{y},{x},{py},{px}" for b, (x, y), (px, py) in spots]
    (spatial / "tissue_positions.csv").write_text("\n".join([*rows, "GLASS-1,0,0,0,2.0,1.0"]) + "\n")


def cohort(folder: Path, forms: Sequence[str] = FORMS, *, first_seed: int = 0, n_genes: int = N_GENES) -> Path:
    """Writes one section S0, S1, ... per form ("st", "tiff", "spaceranger") and returns ``cohort.toml``."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + len(forms))
    tables = [write_section(folder, f"S{s}", form, s, n_genes) for s, form in zip(seeds, forms, strict=True)]
    (folder / "cohort.toml").write_text("\n".join(tables), encoding="utf-8")
    return folder / "cohort.toml"


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
