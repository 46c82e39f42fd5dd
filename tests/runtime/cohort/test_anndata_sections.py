"""AnnData as people have it: several sections in one file, raw counts elsewhere, names in other columns."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from tables_of_counts import GENE, image

from bleep_cli.cohort.cohort_file import cohort_entries
from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import Section

# AnnData folders of both versions of Zarr are read: version 2 is what is written by default, with this warning
pytestmark = pytest.mark.filterwarnings("ignore:Writing zarr v2 data:UserWarning")
RAW = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 5], [6, 7, 0]], np.float32)
XY = np.array([[10.0, 20], [30, 21], [11, 22], [31, 23]])
IDS = [f"ENSG0000000000{i}" for i in range(3)]
LIBRARY = {"images": {}, "scalefactors": {"spot_diameter_fullres": 9.0}}


def table(x: Any = RAW, var: pd.DataFrame | None = None, **obs: Any) -> anndata.AnnData:
    adata = anndata.AnnData(
        x,
        obs=pd.DataFrame(obs, index=[f"s{i}" for i in range(4)]),
        var=pd.DataFrame(index=["A", "B", "C"]) if var is None else var,
    )
    adata.obsm["spatial"] = XY
    return adata


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image(tmp_path)
    return tmp_path


def read(adata: anndata.AnnData, folder: Path, form: str = "h5ad", **entry: Any) -> Section:
    path = folder / f"a.{form}"
    shutil.rmtree(path, ignore_errors=True)
    adata.write_h5ad(path) if form == "h5ad" else adata.write_zarr(path)
    return read_section(image(folder) | {form: path.name} | entry, folder)


# --- what is no gene


def test_antibodies_in_an_h5ad_are_left_out_and_counted(folder: Path) -> None:
    adata = anndata.concat([table(), anndata.AnnData(
        np.full((4, 2), 5000, np.float32), table().obs, pd.DataFrame(index=["CD3", "CD8"])
    )], axis=1)  # fmt: skip
    adata.obsm["spatial"] = XY
    adata.var["feature_types"] = pd.Categorical([GENE] * 3 + ["Antibody Capture"] * 2)
    found = read(adata, folder)
    assert found.counts.toarray().tolist() == RAW.tolist()
    assert found.sha256 == read(table(), folder).sha256
    assert found.findings[0].what == "2 features are no genes (2 Antibody Capture)"
    adata.var_names = ["A", "B", "C", "BLANK_0012", "NegControlProbe_7"]
    del adata.var["feature_types"]
    assert read(adata, folder).counts.toarray().tolist() == RAW.tolist()


# --- several sections in one file


@pytest.mark.parametrize(
    ("column", "form"),
    [("library_id", "zarr")]
    + [(column, "h5ad") for column in ("library_id", "Sample", "sample_id", "orig.ident", "batch", "slide")],
)
def test_several_sections_are_named_and_one_is_picked(folder: Path, column: str, form: str) -> None:
    adata = table(**{column: pd.Categorical(["s1", "s1", "s2", "s2"])})
    adata.uns["spatial"] = {"s1": LIBRARY, "s2": LIBRARY}
    with pytest.raises(ReferenceError, match=r'section s: a\.\w+ holds 2 sections, s1, s2; .*library = "s1"'):
        read(adata, folder, form)
    for library, rows in {"s1": [0, 1], "s2": [2, 3], "*": [0, 1, 2, 3]}.items():
        found = read(adata, folder, form, library=library)
        assert found.barcodes.tolist() == [f"s{i}" for i in rows]
        assert found.counts.toarray().tolist() == RAW[rows].tolist()
        assert found.xy_l0.tolist() == XY[rows].tolist()
    with pytest.raises(ReferenceError, match=r"a\.\w+ has no library s3; it has s1, s2"):
        read(adata, folder, form, library="s3")


def test_numbers_missing_values_and_no_pictures_tell_sections_apart_too(folder: Path) -> None:
    adata = table(batch=[0, 0, 1, 1])
    assert read(adata, folder, library="1").barcodes.tolist() == ["s2", "s3"]
    adata = table(sample=["s1", "s2", None, "s2"])
    assert read(adata, folder, library="s2").barcodes.tolist() == ["s1", "s3"]
    # spots of the same name in both, as concatenation leaves them
    adata = table(library_id=["s1", "s1", "s2", "s2"])
    adata.obs_names = ["a", "b", "a", "b"]
    with pytest.warns(UserWarning, match="not unique"):
        found = read(adata, folder, library="s2")
    assert (found.barcodes.tolist(), found.xy_l0.tolist()) == (["a", "b"], XY[2:].tolist())


def test_the_column_is_the_one_with_the_pictures_names(folder: Path) -> None:
    adata = table(batch=[0, 1, 0, 1], where=["s1", "s1", "s2", "s2"])
    adata.uns["spatial"] = {"s1": LIBRARY, "s2": LIBRARY}
    assert read(adata, folder, library="s1").barcodes.tolist() == ["s0", "s1"]
    adata = table()
    adata.uns["spatial"] = {"s1": LIBRARY, "s2": LIBRARY}
    with pytest.raises(ReferenceError, match="holds 2 sections, s1, s2"):
        read(adata, folder)
    with pytest.raises(
        ReferenceError, match=r"2 sections .s1, s2. and no column that says which spot is of which"
    ):
        read(adata, folder, library="s1")


def test_one_section_is_not_asked_for(folder: Path) -> None:
    for obs in ({"library_id": ["s1"] * 4}, {"sample": ["a", "b", "c", "d"]}, {"cluster": ["0", "0", "1", "1"]}):
        adata = table(**obs)
        adata.uns["spatial"] = {"is_single": True, "s1": LIBRARY}  # as CELLxGENE has it
        assert len(read(adata, folder).barcodes) == 4
    adata = table(library_id=["s1"] * 4)
    adata.uns["spatial"] = {"s1": LIBRARY, "s2": LIBRARY}  # what is left of a file of two
    assert len(read(adata, folder).barcodes) == 4
    assert len(read(adata, folder, library="s1").barcodes) == 4


# --- which matrix


def cellxgene() -> anndata.AnnData:
    var = pd.DataFrame({"feature_name": pd.Categorical(["A", "A_ENSG00000000001", "C"])}, index=IDS)
    adata = table(RAW, var.assign(feature_biotype=["gene"] * 3))
    adata.raw = adata.copy()
    adata.X = np.log1p(RAW)
    return adata


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_counts_in_raw_and_names_in_feature_name(folder: Path, form: str) -> None:
    found = read(cellxgene(), folder, form, layer="raw")
    assert found.counts.toarray().tolist() == RAW.tolist()
    assert (found.gene_ids.tolist(), found.symbols.tolist()) == (IDS, ["A", "A", "C"])
    with pytest.raises(ReferenceError, match=r'in X; raw holds some, so say layer = "raw"'):
        read(cellxgene(), folder, form)


def test_raw_has_genes_of_its_own(folder: Path) -> None:
    adata = cellxgene()
    smaller = adata[:, [0, 2]].copy()
    smaller.raw = adata.raw.to_adata()
    assert read(smaller, folder, layer="raw").counts.toarray().tolist() == RAW.tolist()
    adata.var["in_tissue_of"] = 1
    adata.obs["in_tissue"] = ["True", "False", "True", "yes"]
    assert read(adata, folder, layer="raw").counts.toarray().tolist() == RAW[[0, 2, 3]].tolist()


def test_the_layers_that_exist_are_named(folder: Path) -> None:
    adata = cellxgene()
    adata.layers["umis"] = RAW
    adata.layers["scaled"] = -RAW
    with pytest.raises(ReferenceError, match=r'in X; umis and raw hold some, so say layer = "umis"'):
        read(adata, folder)
    with pytest.raises(ReferenceError, match=r"no matrix Counts; .* X, scaled, umis, raw"):
        read(adata, folder, layer="Counts")
    with pytest.raises(ReferenceError, match=r'in X; it has no other matrix; name one .* layer = "counts"'):
        read(table(np.log1p(RAW)), folder)
    adata = table(np.log1p(RAW))
    adata.layers["scaled"] = -RAW
    with pytest.raises(ReferenceError, match=r"in scaled; no other matrix \(X\) holds any"):
        read(adata, folder, layer="scaled")


def test_x_can_be_named_beside_counts(folder: Path) -> None:
    adata = table()
    adata.layers["counts"] = 2 * RAW
    assert read(adata, folder).counts.toarray().tolist() == (2 * RAW).tolist()
    assert read(adata, folder, layer="X").counts.toarray().tolist() == RAW.tolist()


# --- names and places


@pytest.mark.parametrize(
    "column",
    [
        "feature_name",
        "gene_name",
        "gene_symbols",
        "gene_short_name",
        "SYMBOL",
        "symbol",
        "GeneSymbol",
        "Gene Name",
    ],
)
def test_symbols_stand_in_many_columns(folder: Path, column: str) -> None:
    found = read(table(var=pd.DataFrame({column: ["A", None, "C"]}, index=IDS)), folder)
    assert (found.gene_ids.tolist(), found.symbols.tolist()) == (IDS, ["A", IDS[1], "C"])


@pytest.mark.parametrize("column", ["gene_ids", "gene_id", "ensembl_id", "ENSEMBL", "feature_id"])
def test_ids_stand_in_many_columns(folder: Path, column: str) -> None:
    found = read(table(var=pd.DataFrame({column: [*IDS[:2], np.nan]}, index=["A", "B", "C"])), folder)
    assert (found.gene_ids.tolist(), found.symbols.tolist()) == ([*IDS[:2], "C"], ["A", "B", "C"])


def test_a_genomes_name_before_the_ids(folder: Path) -> None:
    var = pd.DataFrame({"gene_name": ["GRCh38_A", "GRCh38_B", "nan"]}, index=[f"GRCh38_{i}" for i in IDS])
    found = read(table(var=var), folder)
    assert (found.gene_ids.tolist(), found.symbols.tolist()) == (IDS, ["A", "B", IDS[2]])
    var = pd.DataFrame({"gene_ids": IDS, "genome": ["GRCh38", "mm10", "GRCh38"]}, index=["A", "b", "C"])
    with pytest.raises(ReferenceError, match=r'2 genomes, GRCh38, mm10; .*genome = "GRCh38"'):
        read(table(var=var), folder)
    assert read(table(var=var), folder, genome="GRCh38").counts.toarray().tolist() == [
        [1, 2], [4, 5], [6, 0]
    ]  # fmt: skip


def test_rows_that_are_numbered_take_the_names_of_the_column(folder: Path) -> None:
    var = pd.DataFrame({"symbol": ["A", "B", "C"]}, index=["0", "1", "2"])
    assert read(table(var=var), folder).symbols.tolist() == ["A", "B", "C"]


def test_positions_in_columns_or_under_another_name(folder: Path) -> None:
    adata = table(pxl_col_in_fullres=XY[:, 0], pxl_row_in_fullres=XY[:, 1])
    del adata.obsm["spatial"]
    assert read(adata, folder).xy_l0.tolist() == XY.tolist()
    adata = table()
    adata.obsm["X_umap"] = adata.obsm.pop("spatial")
    with pytest.raises(ReferenceError, match=r'no obsm\["spatial"\] with .* \(it has X_umap\)'):
        read(adata, folder)


# --- the cohort file


def test_zarr_and_h5ad_may_name_either(folder: Path) -> None:
    table().write_zarr(folder / "a.zarr")
    keys = image(folder)
    sections = [read_section(keys | {key: "a.zarr"}, folder) for key in ("zarr", "h5ad")]
    assert sections[0].sha256 == sections[1].sha256 == read(table(), folder).sha256
    with pytest.raises(ReferenceError, match=r"a\.zarr is an AnnData folder of Zarr: h5ad names it"):
        read_section(keys | {"spaceranger": "a.zarr"}, folder)


def test_keys_of_formats_that_share_a_key_are_checked_by_the_file(folder: Path) -> None:
    (folder / "cohort.toml").write_text(
        '[[section]]\nid = "s"\ndonor = "d"\nimage = "i.png"\nzarr = "a.zarr"\nelement = "he"\n'
    )
    table().write_zarr(folder / "a.zarr")
    (entry,) = cohort_entries(folder / "cohort.toml")  # a SpatialData store would take it
    with pytest.raises(ReferenceError, match=r"a\.zarr is an AnnData folder of Zarr, which does not take element"):
        read_section(entry, folder)


def test_what_is_not_there_or_broken_is_named_without_its_folders(folder: Path) -> None:
    for key in ("h5ad", "zarr", "spatialdata", "xenium", "spaceranger"):
        with pytest.raises(ReferenceError, match=rf"^section s: {key} gone\.zarr: no such file or folder$"):
            read_section(image(folder) | {key: "gone.zarr"}, folder)
    for key, told in {"zarr": "cannot be read", "spatialdata": "cannot be read"}.items():
        (folder / "none.zarr").mkdir(exist_ok=True)
        with pytest.raises(ReferenceError, match=f"^section s: {told}") as none:
            read_section(image(folder) | {key: "none.zarr"}, folder)
        assert str(folder) not in str(none.value)
