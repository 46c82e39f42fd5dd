"""AnnData files: the content round-trips, plots as it is, and memory stays bounded."""

import importlib
import signal
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from made_prediction import SLIDE, STORED_PROVENANCE, SYMBOLS, blocks_of, make_prediction

from bleep_cli.errors import OutputError, UsageError
from bleep_cli.outputs.elements import storable
from bleep_cli.outputs.formats import FORMATS, output_path
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.zarr_store import CHUNK_ROWS, write_zarr
from bleep_cli.types import F32, Prediction

WRITERS = [write_h5ad, write_zarr]


def read(path: Path) -> anndata.AnnData:
    return anndata.read_zarr(path) if path.is_dir() else anndata.read_h5ad(path)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def plain(value: Any) -> Any:
    """What was read, with arrays as lists."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


@pytest.fixture(scope="module", params=WRITERS)
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[anndata.AnnData, Prediction, F32]:
    path = tmp_path_factory.mktemp("written") / "a"
    prediction, expression = make_prediction()
    request.param(prediction, path)
    return read(path), prediction, expression


def test_content_round_trips(written: tuple[anndata.AnnData, Prediction, F32]) -> None:
    adata, prediction, expression = written
    assert isinstance(adata.X, np.ndarray)
    assert adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.X, expression)
    assert list(adata.var_names) == list(SYMBOLS)
    assert list(adata.var["gene_ids"]) == list(prediction.gene_ids)
    assert list(adata.obs_names) == list(adata.obs["tile_id"]) == list(prediction.grid.tile_id)
    assert adata.obs["in_tissue"].dtype.kind == "i"
    np.testing.assert_array_equal(adata.obs["in_tissue"], prediction.in_tissue)
    np.testing.assert_array_equal(adata.obs["array_row"], prediction.grid.array_row)
    np.testing.assert_array_equal(adata.obs["array_col"], prediction.grid.array_col)
    assert list(adata.obs["region"].cat.categories) == [SLIDE]
    assert list(adata.obs["tissue_piece"]) == list(prediction.grid.region)
    assert isinstance(adata.obs["tissue_piece"].dtype, pd.CategoricalDtype)
    for name, column in prediction.obs.items():
        assert adata.obs[name].dtype == np.float32
        np.testing.assert_array_equal(adata.obs[name], column)
    assert adata.obsm["spatial"].dtype == np.float64
    np.testing.assert_array_equal(adata.obsm["spatial"], prediction.grid.centre_l0)
    assert adata.obsm["neighbours"].dtype == np.int32
    np.testing.assert_array_equal(adata.obsm["neighbours"], prediction.neighbours.index)
    np.testing.assert_array_equal(adata.obsm["neighbour_similarity"], prediction.neighbours.similarity)


def test_uns_round_trips(written: tuple[anndata.AnnData, Prediction, F32]) -> None:
    adata, prediction, _ = written
    assert plain(adata.uns["bleep"]) == STORED_PROVENANCE
    assert adata.uns["spatialdata_attrs"] == {
        "region": SLIDE,
        "region_key": "region",
        "instance_key": "tile_id",
    }
    assert adata.uns["log1p"] == {}
    spatial = adata.uns["spatial"][SLIDE]
    np.testing.assert_array_equal(spatial["images"]["hires"], prediction.hires)
    assert spatial["images"]["hires"].dtype == np.uint8
    assert plain(spatial["scalefactors"]) == {"tissue_hires_scalef": 0.05, "spot_diameter_fullres": 200.0}
    assert plain(spatial["metadata"]) == {
        "mpp": 0.5,
        "pitch_um": 100.0,
        "tile_px": 224,
        "tile_um": [100.0, 400.0],
    }


def test_scanpy_warns_of_a_second_log1p(
    written: tuple[anndata.AnnData, Prediction, F32], monkeypatch: pytest.MonkeyPatch
) -> None:
    scanpy = pytest.importorskip("scanpy")
    told: list[str] = []
    monkeypatch.setattr(scanpy.logging, "warning", told.append)
    scanpy.pp.log1p(written[0].copy())
    assert told == ["adata.X seems to be already log-transformed."]


def test_spatial_falls_on_the_right_pixel(written: tuple[anndata.AnnData, Prediction, F32]) -> None:
    adata, _, _ = written
    spatial = adata.uns["spatial"][SLIDE]
    x, y = adata[["1x9"]].obsm["spatial"][0] * spatial["scalefactors"]["tissue_hires_scalef"]
    assert tuple(spatial["images"]["hires"][int(y), int(x)]) == (255, 0, 0)


def test_h5ad_opens_backed(tmp_path: Path) -> None:
    prediction, expression = make_prediction()
    write_h5ad(prediction, tmp_path / "a.h5ad")
    adata = anndata.read_h5ad(tmp_path / "a.h5ad", backed="r")
    np.testing.assert_array_equal(adata[10:20, ["a/b"]].to_memory().X, expression[10:20, 2:3])
    adata.file.close()


def test_zarr_is_version_3_in_chunks_of_rows(tmp_path: Path) -> None:
    zarr = importlib.import_module("zarr")
    prediction, expression = make_prediction(rows=150, columns=20, genes=3)
    write_zarr(prediction, tmp_path / "a.zarr")
    array = zarr.open_group(tmp_path / "a.zarr", mode="r")["X"]
    assert array.metadata.zarr_format == 3
    assert array.chunks == (CHUNK_ROWS, 3)
    np.testing.assert_array_equal(array[:], expression)


@pytest.mark.parametrize(("write", "done"), [(write_h5ad, [1000, 2000, 3000]), (write_zarr, [1024, 2048, 3000])])
def test_progress_counts_rows(tmp_path: Path, write, done: list[int]) -> None:
    prediction, expression = make_prediction(rows=150, columns=20, genes=1)
    prediction = replace(prediction, blocks=lambda: blocks_of(expression, 1000))
    steps: list[tuple[str, int, int]] = []
    write(prediction, tmp_path / "a", progress=lambda *step: steps.append(step))
    assert steps == [("write", rows, 3000) for rows in done]
    np.testing.assert_array_equal(read(tmp_path / "a").X, expression)


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
def test_expression_is_never_whole_in_memory(tmp_path: Path, write) -> None:
    prediction, _ = make_prediction(rows=100, columns=100)
    alive: list[weakref.ref[Any]] = []
    most = 0

    def blocks() -> Iterator[tuple[int, F32]]:
        nonlocal most
        for first in range(0, 10_000, 100):
            block = np.ones((100, 7), np.float32)
            alive.append(weakref.ref(block))
            most = max(most, sum(one() is not None for one in alive))
            yield first, block

    write(replace(prediction, blocks=blocks), tmp_path / "a")
    assert most <= 2
    assert (read(tmp_path / "a").X == 1).all()


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
def test_same_prediction_same_bytes(tmp_path: Path, write) -> None:
    for name in ("a", "b"):
        write(make_prediction()[0], tmp_path / name)
    a, b = (
        {p.relative_to(tmp_path / name): p.read_bytes() for p in sorted(files(tmp_path / name))}
        for name in ("a", "b")
    )
    assert a == b


def files(path: Path) -> list[Path]:
    return [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
def test_needs_force_to_replace(tmp_path: Path, write) -> None:
    path = tmp_path / "a"
    prediction, expression = make_prediction()
    write(prediction, path)
    with pytest.raises(OutputError, match="a exists already; force replaces it"):
        write(prediction, path)
    write(replace(prediction, blocks=lambda: blocks_of(expression * 2, 60)), path, force=True)
    np.testing.assert_array_equal(read(path).X, expression * 2)
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("write", WRITERS)
def test_an_error_in_the_blocks_leaves_nothing_and_passes(tmp_path: Path, write) -> None:
    prediction, expression = make_prediction()

    def blocks() -> Iterator[tuple[int, F32]]:
        yield 0, expression[:16]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(replace(prediction, blocks=blocks), tmp_path / "a")
    assert not names(tmp_path)


@contextmanager
def file_size_limit(most: int) -> Iterator[None]:
    """No file may grow beyond ``most`` bytes, which the system reports much like a full disk."""
    resource = pytest.importorskip("resource")
    if signal.getsignal(signal.SIGXFSZ) != signal.SIG_IGN:
        pytest.skip("this Python dies of a full disk")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.slow
@pytest.mark.parametrize("most", [1000, 100_000])
@pytest.mark.parametrize("write", WRITERS)
def test_a_write_that_fails_half_way(tmp_path: Path, write, most: int) -> None:
    prediction, _ = make_prediction(rows=50, columns=50, genes=200)
    with file_size_limit(most), pytest.raises(OutputError, match=r"^a cannot be written: File too large; "):
        write(prediction, tmp_path / "a")
    assert not names(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        (lambda x: [(0, x[:30])], "blocks hold 30 of 60 tiles"),
        (lambda x: [(0, x[:30]), (31, x[31:])], "block starts at row 31 instead of 30"),
        (lambda x: [(0, x[:, :3])], "for 7 genes"),
    ],
)
def test_broken_blocks_are_a_bug(tmp_path: Path, write, blocks, message: str) -> None:
    prediction, expression = make_prediction()
    with pytest.raises(AssertionError, match=message):
        write(replace(prediction, blocks=lambda: iter(blocks(expression))), tmp_path / "a")
    assert not names(tmp_path)


def test_repeated_symbols_and_columns_are_a_bug(tmp_path: Path) -> None:
    prediction, _ = make_prediction()
    with pytest.raises(AssertionError, match="gene symbols repeat"):
        write_h5ad(replace(prediction, symbols=np.array(["A"] * 7)), tmp_path / "a")
    with pytest.raises(AssertionError, match="name of a fixed one"):
        write_h5ad(replace(prediction, obs={"region": np.zeros(60, np.float32)}), tmp_path / "a")


def test_storable_refuses_what_json_does_not_know() -> None:
    with pytest.raises(TypeError, match="provenance cannot hold a set"):
        storable({"a": [{"b": {1}}]})


def test_paths_and_formats(tmp_path: Path) -> None:
    assert list(FORMATS) == ["h5ad", "zarr", "spatialdata", "parquet", "csv", "geojson", "ometiff", "cellxgene"]
    assert output_path(tmp_path, "a.b", "csv") == tmp_path / "a.b.bleep.csv"
    assert output_path(tmp_path, "a.b", "zarr") == tmp_path / "a.b.zarr"
    with pytest.raises(UsageError, match="format loom is not known; there are h5ad, zarr"):
        output_path(tmp_path, "a", "loom")
    for bad in ("", "..", "../a", "a\\b"):
        with pytest.raises(OutputError, match="cannot name a file"):
            output_path(tmp_path, bad, "h5ad")


def drawn_centres(axes: Any) -> np.ndarray:
    """Centres of the circles that squidpy or scanpy drew, in pixels of the overview."""
    (circles,) = axes.collections
    return np.array([path.get_extents().get_points().mean(axis=0) for path in circles.get_paths()])


@pytest.fixture
def figures() -> Iterator[None]:
    pyplot = importlib.import_module("matplotlib.pyplot")
    pyplot.switch_backend("agg")
    yield
    pyplot.close("all")


@pytest.mark.slow
@pytest.mark.usefixtures("figures")
@pytest.mark.filterwarnings("ignore:'.*' is not a valid key:SyntaxWarning")
@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")
def test_plots_in_squidpy_as_it_is(written: tuple[anndata.AnnData, Prediction, F32]) -> None:
    squidpy = pytest.importorskip("squidpy", reason="needs squidpy, of the extra dev")
    adata, prediction, expression = written
    axes = squidpy.pl.spatial_scatter(adata, color="a/b", return_ax=True)
    np.testing.assert_allclose(drawn_centres(axes), prediction.grid.centre_l0 * 0.05)
    np.testing.assert_array_equal(axes.collections[0].get_array(), expression[:, 2])
    assert axes.images[0].get_array().shape == (50, 120, 3)


@pytest.mark.usefixtures("figures")
@pytest.mark.filterwarnings("ignore:Use `squidpy:FutureWarning")
@pytest.mark.filterwarnings("ignore:The set_bad function:PendingDeprecationWarning")
def test_plots_in_scanpy_as_it_is(written: tuple[anndata.AnnData, Prediction, F32]) -> None:
    scanpy = pytest.importorskip("scanpy", reason="needs scanpy, of the extra train")
    adata, prediction, _ = written
    (axes,) = scanpy.pl.spatial(adata, color="a/b", show=False, sort_order=False)
    np.testing.assert_allclose(drawn_centres(axes), prediction.grid.centre_l0 * 0.05)
    assert axes.images[0].get_array().shape == (50, 120, 3)


def test_is_a_spatialdata_table(written: tuple[anndata.AnnData, Prediction, F32]) -> None:
    models = pytest.importorskip("spatialdata.models", reason="needs spatialdata, of the extra dev")
    adata, _, _ = written
    models.TableModel().validate(adata)
    parsed = models.TableModel.parse(adata.copy())
    assert models.get_table_keys(parsed) == (SLIDE, "region", "tile_id")
