"""Every format from ``bleep predict`` and ``bleep convert``, and what ``--resume`` makes of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import CliRunner

from bleep_cli.cli import app
from bleep_cli.errors import OutputError, UsageError

ALL = "geojson,h5ad,csv,html,ometiff,parquet,png,spatialdata,zarr"
NAMES = {
    "a.bleep.csv",
    "a.bleep.geojson",
    "a.bleep.ome.tif",
    "a.bleep.parquet",
    "a.bleep.png",
    "a.h5ad",
    "a.html",
    "a.spatialdata.zarr",
    "a.zarr",
}


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def predict(slide: Path, bundle: Path, out: Path, kinds: str, *further: str) -> str:
    return run(
        "predict", slide, "--ref", bundle, "-o", out, "--format", kinds, "--views", "1", "-k", "5", *further
    )


@pytest.fixture
def slide(query_slide: Path, tmp_path: Path) -> Path:
    link = tmp_path / f"a{query_slide.suffix}"
    link.symlink_to(query_slide)
    return link


def same_values(folder: Path) -> None:
    """Every table of a folder holds what the h5ad holds."""
    wanted = anndata.read_h5ad(folder / "a.h5ad")
    genes = wanted.var_names.tolist()
    np.testing.assert_array_equal(anndata.read_zarr(folder / "a.zarr").X, wanted.X)
    store = anndata.read_zarr(folder / "a.spatialdata.zarr" / "tables" / "table")
    np.testing.assert_array_equal(store.X, wanted.X)
    csv = pd.read_csv(folder / "a.bleep.csv", float_precision="round_trip")
    for table in (pd.read_parquet(folder / "a.bleep.parquet"), csv):
        np.testing.assert_array_equal(table[genes].to_numpy(np.float32), wanted.X)
    page = json.loads((folder / "a.bleep.geojson").read_text(encoding="utf-8"))
    measured = [[tile["properties"]["measurements"][gene] for gene in genes] for tile in page["features"]]
    np.testing.assert_allclose(measured, wanted.X, rtol=1e-4)
    image = tifffile.imread(folder / "a.bleep.ome.tif")
    row, column = (wanted.obs[axis].to_numpy() for axis in ("array_row", "array_col"))
    np.testing.assert_array_equal(image[:, row - row.min(), column - column.min()].T, wanted.X)


def test_all_at_once_and_by_conversion(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    predict(slide, small_bundle, tmp_path / "out", ALL)
    assert {path.name for path in (tmp_path / "out").iterdir()} == NAMES | {"a.bleep.json"}
    same_values(tmp_path / "out")
    run("convert", tmp_path / "out" / "a.zarr", "--format", ALL, "-o", tmp_path / "again")
    assert {path.name for path in (tmp_path / "again").iterdir()} == NAMES
    same_values(tmp_path / "again")
    first, second = (anndata.read_h5ad(tmp_path / folder / "a.h5ad") for folder in ("out", "again"))
    np.testing.assert_array_equal(first.X, second.X)
    pd.testing.assert_frame_equal(first.obs, second.obs)


def test_chosen_genes_in_their_order(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    predict(slide, small_bundle, tmp_path, "h5ad")
    whole = anndata.read_h5ad(tmp_path / "a.h5ad")
    run("convert", tmp_path / "a.h5ad", "--format", "parquet", "--genes", "GENE5,GENE1")
    table = pd.read_parquet(tmp_path / "a.bleep.parquet")
    assert [name for name in table.columns if name.startswith("GENE")] == ["GENE5", "GENE1"]
    np.testing.assert_array_equal(table["GENE5"].to_numpy(), whole[:, "GENE5"].X.ravel())


def test_what_conversion_refuses(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    predict(slide, small_bundle, tmp_path, "h5ad")
    with pytest.raises(UsageError, match="format tiff: choose among h5ad, zarr, spatialdata"):
        run("convert", tmp_path / "a.h5ad", "--format", "tiff")
    with pytest.raises(UsageError, match=r"format h5ad: a\.h5ad is that already"):
        run("convert", tmp_path / "a.h5ad", "--format", "h5ad", "--force")
    with pytest.raises(UsageError, match="NOGENE"):
        run("convert", tmp_path / "a.h5ad", "--format", "csv", "--genes", "NOGENE")
    (tmp_path / "a.bleep.csv").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        run("convert", tmp_path / "a.h5ad", "--format", "csv")
    assert (tmp_path / "a.bleep.csv").read_text() == "mine"


def test_resume_takes_what_is_no_older_than_its_result(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    kinds = "csv,h5ad,geojson"
    out = tmp_path / "out"
    predict(slide, small_bundle, out, kinds)
    assert "complete already" in predict(slide, small_bundle, out, kinds, "--resume")
    (out / "a.bleep.csv").unlink()
    assert "complete already" not in predict(slide, small_bundle, out, kinds, "--resume")
    assert (out / "a.bleep.csv").exists()
    (out / "a.h5ad").unlink()
    with pytest.raises(OutputError, match="exists without its table"):
        predict(slide, small_bundle, out, kinds, "--resume")
    with pytest.raises(UsageError, match="needs a table"):
        predict(slide, small_bundle, out, "csv,geojson", "--resume")


def test_genes_that_a_geojson_leaves_out_are_told(
    slide: Path, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("bleep_cli.batch.kinds", "bleep_cli.outputs.exports.chosen"):
        monkeypatch.setattr(f"{module}.MOST_GENES", 5)
    record = json.loads(predict(slide, small_bundle, tmp_path, "h5ad,geojson,ometiff", "--json"))
    assert [(f["code"], f["what"]) for f in record["findings"] if f["code"] == "genes-left-out"] == [
        ("genes-left-out", "geojson, ometiff hold the 5 genes that vary most, of 12")
    ]
    assert len(tifffile.imread(tmp_path / "a.bleep.ome.tif")) == 5
    tile = json.loads((tmp_path / "a.bleep.geojson").read_text(encoding="utf-8"))["features"][0]
    assert sum(name.startswith("GENE") for name in tile["properties"]["measurements"]) == 5
    arguments = ["convert", str(tmp_path / "a.h5ad"), "--format", "geojson", "-o", str(tmp_path / "again")]
    told = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "note: a.h5ad: geojson holds the 5 genes that vary most, of 12; --genes chooses others" in told.stderr
    assert "vary most" not in CliRunner().invoke(app, [*arguments, "--genes", "GENE1", "--force"]).stderr


def test_pixels_need_a_grid(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    """Said before anything is predicted or written; positions that lie on a grid of the pitch are one."""
    predict(slide, small_bundle, tmp_path / "grid", "h5ad")
    found = anndata.read_h5ad(tmp_path / "grid" / "a.h5ad")
    on = pd.DataFrame(found.obsm["spatial"], found.obs_names, columns=["x", "y"])
    off = on + np.random.default_rng(0).uniform(-9, 9, on.shape)
    for name, table in (("on", on), ("off", off)):
        table.to_csv(tmp_path / f"{name}.csv", index_label="id")
    predict(slide, small_bundle, tmp_path / "on", "h5ad,ometiff", "--at", str(tmp_path / "on.csv"))
    image = tifffile.imread(tmp_path / "on" / "a.bleep.ome.tif")
    placed = anndata.read_h5ad(tmp_path / "on" / "a.h5ad")
    assert np.isfinite(image[0]).sum() == placed.n_obs
    with pytest.raises(UsageError, match=r"ometiff: the tiles lie on no grid of .* choose geojson, spatialdata"):
        predict(slide, small_bundle, tmp_path / "off", "h5ad,ometiff", "--at", str(tmp_path / "off.csv"))
    assert not list((tmp_path / "off").glob("*"))
    predict(slide, small_bundle, tmp_path / "off", "h5ad", "--at", str(tmp_path / "off.csv"))
    with pytest.raises(UsageError, match="ometiff: the tiles lie on no grid"):
        run("convert", tmp_path / "off" / "a.h5ad", "--format", "csv,ometiff")
    assert {path.name for path in (tmp_path / "off").iterdir()} == {"a.h5ad", "a.bleep.json"}


def test_resume_predicts_anew_what_lost_its_end(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    predict(slide, small_bundle, tmp_path / "out", "h5ad,ometiff")
    path = tmp_path / "out" / "a.bleep.ome.tif"
    whole = path.read_bytes()
    assert "complete already" in predict(slide, small_bundle, tmp_path / "out", "h5ad,ometiff", "--resume")
    path.write_bytes(whole[:-50])
    assert "complete already" not in predict(slide, small_bundle, tmp_path / "out", "h5ad,ometiff", "--resume")
    assert path.read_bytes() == whole


def test_a_reference_without_ensembl_ids_is_refused_first(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"format cellxgene needs Ensembl ids of .* choose h5ad"):
        predict(slide, small_bundle, tmp_path / "out", "h5ad,cellxgene")
    assert not (tmp_path / "out").exists()
    predict(slide, small_bundle, tmp_path, "h5ad")
    with pytest.raises(UsageError, match=r"format cellxgene needs Ensembl ids of .* choose h5ad"):
        run("convert", tmp_path / "a.h5ad", "--format", "csv,cellxgene")
    assert not (tmp_path / "a.bleep.csv").exists()


def ids_of(folder: Path, name: str) -> dict[str, list[str]]:
    """The names of a slide's tiles in each of its tables."""
    page = json.loads((folder / f"{name}.bleep.geojson").read_text(encoding="utf-8"))
    store = folder / f"{name}.spatialdata.zarr"
    return {
        "h5ad": anndata.read_h5ad(folder / f"{name}.h5ad").obs_names.tolist(),
        "zarr": anndata.read_zarr(folder / f"{name}.zarr").obs_names.tolist(),
        "spatialdata": anndata.read_zarr(store / "tables" / "table").obs_names.tolist(),
        "csv": pd.read_csv(folder / f"{name}.bleep.csv")["tile_id"].tolist(),
        "parquet": pd.read_parquet(folder / f"{name}.bleep.parquet")["tile_id"].tolist(),
        "geojson": [tile["properties"]["name"] for tile in page["features"]],
    }


def test_tiles_of_several_slides_can_lie_in_one_table(
    query_slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}{query_slide.suffix}").symlink_to(query_slide)
    kinds = "h5ad,zarr,spatialdata,csv,parquet,geojson"
    second = tmp_path / f"b{query_slide.suffix}"
    run(
        "predict", tmp_path / f"a{query_slide.suffix}", second, "--ref", small_bundle, "-o", tmp_path, "-k", "5",
        "--format", kinds,
    )  # fmt: skip
    first, second_ids = ids_of(tmp_path, "a"), ids_of(tmp_path, "b")
    for kind, ids in first.items():
        assert ids == first["h5ad"] and second_ids[kind] == second_ids["h5ad"], kind
    both = first["h5ad"] + second_ids["h5ad"]
    assert len(set(both)) == len(both)
