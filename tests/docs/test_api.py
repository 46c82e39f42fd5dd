"""docs/api.md run as it stands, and the list of what is public."""

from __future__ import annotations

import doctest
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest

import bleep_cli
from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset
from bleep_cli.bundle.encoders_folder import Encoders

PAGE = Path(__file__).parents[2] / "docs" / "api.md"
PUBLIC = {
    *("predict", "Predictor", "PredictOptions", "Prediction", "to_anndata", "write"),
    *("open_slide", "Slide", "TileSpec", "TileGrid", "Neighbours"),
    *(
        "open_result",
        "open_bundle",
        "Bundle",
        "build_reference",
        "describe",
        "grow_reference",
        "merge_references",
        "shrink_reference",
        "Built",
        "read_cohort",
        "Section",
    ),
    *("BleepError", "UsageError", "SlideError", "ReferenceError", "DeviceError", "OutputError", "__version__"),
}


@pytest.fixture
def folder(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    write_cohort: Callable[..., Path],
    make_encoders: Callable[..., Encoders],
) -> Path:
    """The files that the page speaks of, in the current folder."""
    write_cohort(tmp_path, ("st", "tiff"))
    make_encoders().save(tmp_path / "encoders")
    shutil.copy(asset(DEMO_SLIDE), tmp_path / "slide.tif")
    shutil.copy(asset(DEMO_BUNDLE), tmp_path / "bundle.zarr.zip")
    (tmp_path / "positions.csv").write_text("id,x,y\ncentre,2400,1800\nedge,600,1500\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_equal(a: anndata.AnnData, b: anndata.AnnData) -> None:
    """Every element, its type and its bits."""
    pd.testing.assert_frame_equal(plain(a.obs), plain(b.obs))
    pd.testing.assert_frame_equal(plain(a.var), plain(b.var))
    same(dict(a.obsm) | {"X": a.X}, dict(b.obsm) | {"X": b.X})
    same(a.uns, b.uns)


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """With its strings as objects: pandas 3 reads them from a file as a type of its own."""
    columns = {}
    for name, column in table.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            columns[name] = column.cat.rename_categories(column.cat.categories.astype(object))
        else:
            columns[name] = column.astype(object) if pd.api.types.is_string_dtype(column.dtype) else column
    result = pd.DataFrame(columns)
    return result.set_axis(result.index.astype(object)).set_axis(table.columns.astype(object), axis=1)


def same(a: Any, b: Any) -> None:
    if isinstance(a, Mapping):
        assert set(a) == set(b)
        for key in a:
            same(a[key], b[key])
        return
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype.kind == b.dtype.kind
    np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_the_page_runs_as_it_stands(folder: Path) -> None:
    result = doctest.testfile(str(PAGE), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 20
    assert result.failed == 0


def test_what_is_public_is_listed_once() -> None:
    assert set(bleep_cli.__all__) == PUBLIC
    page = PAGE.read_text(encoding="utf-8")
    for name in bleep_cli.__all__:
        assert getattr(bleep_cli, name).__doc__ or name == "__version__"
        assert name in page or name.endswith("Error")
    assert set(bleep_cli.__all__) <= set(dir(bleep_cli))
    with pytest.raises(AttributeError, match="no attribute 'prodict'"):
        bleep_cli.prodict  # noqa: B018


def test_importing_is_light_and_first_use_loads() -> None:
    code = (
        "import bleep_cli, json, sys; before = set(sys.modules); callable(bleep_cli.predict); "
        "print(json.dumps([sorted(before), 'anndata' in sys.modules or 'bleep_cli.api' in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, loaded = json.loads(result.stdout)
    assert not {"numpy", "onnxruntime", "zarr", "anndata", "scipy", "typer", "rich"} & set(before)
    assert loaded


@pytest.mark.slow
def test_in_memory_is_what_the_file_holds(folder: Path) -> None:
    prediction = bleep_cli.Predictor("bundle.zarr.zip").predict("slide.tif")
    bleep_cli.write(prediction, "a.h5ad")
    memory, file = bleep_cli.to_anndata(prediction), anndata.read_h5ad("a.h5ad")
    assert_equal(memory, file)
    assert memory.X.tobytes() == file.X.tobytes()
    direct = bleep_cli.predict("slide.tif", "bundle.zarr.zip")
    assert direct.X.tobytes() == file.X.tobytes()


@pytest.mark.slow
def test_the_commands_h5ad_holds_the_same(folder: Path) -> None:
    command = [sys.executable, "-m", "bleep_cli.cli", "predict", "slide.tif", "--ref", "bundle.zarr.zip"]
    subprocess.run([*command, "--format", "h5ad"], check=True, capture_output=True)
    adata, written = bleep_cli.predict("slide.tif", "bundle.zarr.zip"), anndata.read_h5ad("slide.h5ad")
    assert str(written.uns["bleep"].pop("command")) == "bleep predict slide.tif --ref bundle.zarr.zip"
    assert str(adata.uns["bleep"].pop("command")) == ""
    assert_equal(adata, written)


def test_options_of_one_slide_go_before_the_predictors_own(folder: Path) -> None:
    predictor = bleep_cli.Predictor("bundle.zarr.zip", bleep_cli.PredictOptions(mpp=0.5, k=3))
    prediction = predictor.predict("slide.tif", mpp=0.6, at="positions.csv")
    assert prediction.grid.mpp == 0.6
    assert prediction.provenance["options"]["mpp"] == 0.6
    assert prediction.provenance["options"]["at"]["name"] == "positions.csv"
    assert prediction.neighbours.index.shape == (2, 3)
    assert predictor.predict("slide.tif", at="positions.csv").provenance["options"]["mpp"] == 0.5


def test_blocks_come_again_and_again(folder: Path) -> None:
    prediction = bleep_cli.Predictor("bundle.zarr.zip").predict("slide.tif", at="positions.csv")
    once, again = (np.concatenate([block for _, block in prediction]) for _ in range(2))
    np.testing.assert_array_equal(once, again)


@pytest.mark.parametrize(("name", "words"), [("a.xlsx", "among h5ad, zarr, spatialdata"), ("a", "choose among")])
def test_a_format_that_is_none_is_refused(folder: Path, name: str, words: str) -> None:
    prediction = bleep_cli.Predictor("bundle.zarr.zip").predict("slide.tif", at="positions.csv")
    with pytest.raises(bleep_cli.UsageError, match=words) as caught:
        bleep_cli.write(prediction, name)
    assert caught.value.option == "format"
    assert not Path(name).exists()


@pytest.mark.slow
def test_nothing_is_replaced_without_force(folder: Path) -> None:
    prediction = bleep_cli.Predictor("bundle.zarr.zip").predict("slide.tif", at="positions.csv")
    bleep_cli.write(prediction, "a.zarr")
    with pytest.raises(bleep_cli.OutputError) as caught:
        bleep_cli.write(prediction, "a.zarr")
    assert caught.value.option == "force"
    bleep_cli.write(prediction, "a.zarr", force=True)


def test_progress_is_silent_in_a_script_and_told_where_asked(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[str, int, int]] = []
    bleep_cli.predict("slide.tif", "bundle.zarr.zip", at="positions.csv", progress=lambda *step: told.append(step))
    assert ("tiles", 2, 2) in told
    bleep_cli.predict("slide.tif", "bundle.zarr.zip", at="positions.csv")
    assert capfd.readouterr() == ("", "")
