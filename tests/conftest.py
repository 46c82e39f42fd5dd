"""What the tests share: real data where there is some, tiny real ONNX towers, a made-up cohort and its bundle.

The made-up world has three kinds of tissue. A kind's colour sets its expression: gene ``i`` follows the
absorbance of colour channel ``i % 3``. Both towers measure just that, so a tile's embedding lies near those of
spots of its own kind, and a prediction can be checked against what the image shows.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from chromium import chromium  # noqa: F401 - a fixture
from made_cohorts import (
    cohort,
    write_picture,
)
from made_towers import encoders_for, towers
from tracing import traced  # noqa: F401 - a fixture

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built
from bleep_cli.types import Section

os.environ.setdefault("SOURCE_DATE_EPOCH", "1577836800")  # results are compared byte for byte; they state a date

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The shared real data; tests that need it are skipped, visibly, where there is none."""
    path = Path(os.environ.get("BLEEP_TEST_DATA", ROOT / "../shared/data")).resolve()
    if not path.is_dir():
        pytest.skip(f"no test data at {path}; set BLEEP_TEST_DATA")
    return path


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


@pytest.fixture(scope="session")
def projected_bundle(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as ``projected.zarr``, whose predictions are projected on components; not to be changed."""
    path = tmp_path_factory.mktemp("bundle") / "projected.zarr"
    write_bundle(path, replace(small_built.info, aggregation="projected"), small_built.arrays)
    return path


@pytest.fixture
def broken(small_bundle: Path, tmp_path: Path) -> Path:
    """A copy of the bundle, ``broken.zarr``, for a test to break."""
    return Path(shutil.copytree(small_bundle, tmp_path / "broken.zarr"))


@pytest.fixture(scope="session")
def query_slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of a fourth section, ``query.tif``, which states its pixel size (4 µm)."""
    return write_picture(tmp_path_factory.mktemp("slide") / "query.tif", 9)
