"""10x matrices as GEO and older programs hand them out: the same section, whatever files are called."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from PIL import Image
from scipy import io, sparse

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import Section

COUNTS = np.array([[1, 0, 2, 0], [0, 3, 0, 4], [5, 0, 0, 6]])  # spots × genes
IDS = [f"ENSG0000000000{i}" for i in range(4)]
SYMBOLS = ["A", "B", "C", "D"]
BARCODES = ["AAACCCGGGTTTAAAC-1", "AAACCCGGGTTTAAAG-1", "AAACCCGGGTTTAAAT-1"]
PLACES = [f"{b},{i != 2:d},0,{i},{100 + i},{200 + i}" for i, b in enumerate(BARCODES)]  # the third on glass
HEAD = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"
ENTRY = {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0, "min_counts": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (400, 300)).save(tmp_path / "i.png")
    return tmp_path


def put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())


def mtx(
    folder: Path, prefix: str = "", end: str = ".gz", features: str = "features", counts: Any = COUNTS
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{prefix}matrix.mtx"
    io.mmwrite(path, sparse.coo_matrix(counts.T), field="integer")
    kind = "" if features == "genes" else "\tGene Expression"
    put(
        folder / f"{prefix}{features}.tsv{end}",
        "".join(f"{i}\t{s}{kind}\n" for i, s in zip(IDS, SYMBOLS, strict=True)),
    )
    put(folder / f"{prefix}barcodes.tsv{end}", "".join(f"{b}\n" for b in BARCODES))
    if end:
        put(folder / f"{path.name}.gz", path.read_text())
        path.unlink()
    return folder / f"{prefix}matrix.mtx{end}"


def h5(
    path: Path, group: str = "matrix", counts: Any = COUNTS, barcodes: Any = BARCODES, prefix: str = ""
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = sparse.csr_matrix(counts)
    columns = {"genes": [prefix + i for i in IDS], "gene_names": [prefix + s for s in SYMBOLS]}
    if group == "matrix":
        columns = {"features/id": IDS, "features/name": SYMBOLS, "features/feature_type": ["Gene Expression"] * 4}
    with h5py.File(path, "a") as file:
        for key in ("data", "indices", "indptr"):
            file[f"{group}/{key}"] = getattr(matrix, key)
        file[f"{group}/shape"] = matrix.shape[::-1]
        for key, values in {"barcodes": barcodes, **columns}.items():
            file[f"{group}/{key}"] = np.array(values, dtype="S40")
    return path


def positions(path: Path, header: bool = False) -> Path:
    put(path, "\n".join([HEAD] * header + PLACES))
    return path


def section(folder: Path, **entry: str) -> Section:
    return read_section(ENTRY | entry, folder)


def assert_right(found: Section, *codes: str) -> None:
    """The two spots in tissue, in their order."""
    assert found.barcodes.tolist() == BARCODES[:2]
    assert found.counts.toarray().tolist() == COUNTS[:2].tolist()
    assert (found.gene_ids.tolist(), found.symbols.tolist()) == (IDS, SYMBOLS)
    assert found.xy_l0.tolist() == [[200, 100], [201, 101]]
    assert {finding.code for finding in found.findings} == {"counts-without-position", *codes}


# --- a matrix with a table of positions


def test_h5_and_positions_as_geo_calls_them(folder: Path) -> None:
    h5(folder / "GSM123_filtered_feature_bc_matrix.h5")
    positions(folder / "GSM123_tissue_positions_list.csv.gz")
    named = {"counts": "GSM123_filtered_feature_bc_matrix.h5", "positions": "GSM123_tissue_positions_list.csv.gz"}
    assert_right(section(folder, **named))


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("features", ["features", "genes"])
@pytest.mark.parametrize("prefix", ["", "GSM123_", "GSM123_S1_filtered_"])
def test_three_files_by_the_matrix_or_by_their_folder(folder: Path, prefix: str, features: str, end: str) -> None:
    path = mtx(folder / "m", prefix, end, features)
    positions(folder / "p.csv", header=True)
    for counts in ("m", f"m/{path.name}"):
        assert_right(section(folder, counts=counts, positions="p.csv"))


def test_one_table_of_features_for_several_matrices(folder: Path) -> None:
    mtx(folder / "m", "GSM1_")
    mtx(folder / "m", "GSM2_", counts=COUNTS * 2)
    positions(folder / "p.csv")
    shutil.move(folder / "m" / "GSM1_features.tsv.gz", folder / "m" / "GSE_features.tsv.gz")
    (folder / "m" / "GSM2_features.tsv.gz").unlink()
    assert_right(section(folder, counts="m/GSM1_matrix.mtx.gz", positions="p.csv"))
    told = r"^section s: m: a folder with 2 matrices, GSM1_matrix\.mtx\.gz, GSM2_matrix\.mtx\.gz; name the matrix"
    with pytest.raises(ReferenceError, match=told):
        section(folder, counts="m", positions="p.csv")
    (folder / "m" / "GSM1_barcodes.tsv.gz").unlink()  # those of another matrix are not taken
    with pytest.raises(
        ReferenceError, match=r"GSM1_matrix\.mtx\.gz: beside it there is no GSM1_barcodes\.tsv; one"
    ):
        section(folder, counts="m/GSM1_matrix.mtx.gz", positions="p.csv")


def test_matrices_of_other_programs(folder: Path) -> None:
    path = mtx(folder / "m", end="")
    positions(folder / "p.csv")
    io.mmwrite(path, sparse.coo_matrix(COUNTS), field="integer")  # spots × genes
    assert_right(section(folder, counts="m", positions="p.csv"))
    put(folder / "m" / "barcodes.tsv", "barcode\n" + "\n".join(BARCODES))  # a header
    rows = [f'"{i}","{name}","{symbol}"' for i, (name, symbol) in enumerate(zip(IDS, SYMBOLS, strict=True), 1)]
    put(folder / "m" / "features.csv", "\n".join(['"","id","symbol"', *rows]))  # as R writes a data frame
    (folder / "m" / "features.tsv").unlink()
    assert_right(section(folder, counts="m", positions="p.csv"))


def test_cell_ranger_2(folder: Path) -> None:
    h5(folder / "m.h5", "GRCh38")
    positions(folder / "p.csv")
    assert_right(section(folder, counts="m.h5", positions="p.csv"))
    mtx(folder / "outs" / "filtered_gene_bc_matrices" / "GRCh38", end="", features="genes")
    positions(folder / "outs" / "spatial" / "tissue_positions_list.csv")
    assert_right(section(folder, spaceranger="outs"))
    assert_right(section(folder, counts="outs/filtered_gene_bc_matrices", positions="outs/spatial"))


def test_cell_ranger_2_of_two_genomes(folder: Path) -> None:
    """Each group has the barcodes called in it; which genome is meant is asked for, as in one matrix of both."""
    h5(folder / "m.h5", "GRCh38")
    h5(folder / "m.h5", "mm10", COUNTS[1:] * 10, BARCODES[1:])
    positions(folder / "p.csv")
    with pytest.raises(ReferenceError, match="genes are of 2 genomes, GRCh38, mm10; pick one with genome"):
        section(folder, counts="m.h5", positions="p.csv")
    assert section(folder, counts="m.h5", positions="p.csv", genome="GRCh38").counts.toarray().tolist() == [
        [1, 0, 2, 0], [0, 3, 0, 4],
    ]  # fmt: skip
    other = section(folder, counts="m.h5", positions="p.csv", genome="mm10")
    assert (other.barcodes.tolist(), other.counts.toarray().tolist()) == (BARCODES[1:2], [[0, 30, 0, 40]])


# --- folders


@pytest.mark.parametrize("matrix", ["h5", "folder", "flat"])
@pytest.mark.parametrize("spatial", ["spatial", "GSM123_spatial", "."])
@pytest.mark.parametrize("table", ["tissue_positions_list.csv.gz", "GSM123_tissue_positions.csv.gz"])
def test_folders_under_geos_names(folder: Path, matrix: str, spatial: str, table: str) -> None:
    outs = folder / "GSM123"
    if matrix == "h5":
        h5(outs / "GSM123_filtered_feature_bc_matrix.h5")
    else:
        mtx(outs / "GSM123_filtered_feature_bc_matrix" if matrix == "folder" else outs, "GSM123_")
    positions(outs / spatial / table, header="list" not in table)
    assert_right(section(folder, spaceranger="GSM123"))


def test_the_raw_matrix_where_there_is_no_filtered_one(folder: Path) -> None:
    h5(folder / "outs" / "raw_feature_bc_matrix.h5")
    positions(folder / "outs" / "spatial" / "tissue_positions.csv", header=True)
    assert_right(section(folder, spaceranger="outs"), "matrix-raw")
    h5(folder / "outs" / "filtered_feature_bc_matrix.h5", counts=COUNTS)
    assert_right(section(folder, spaceranger="outs"))


def test_a_folder_of_several_samples_is_asked_about(folder: Path) -> None:
    for name in ("GSM1", "GSM2"):
        h5(folder / "all" / f"{name}_filtered_feature_bc_matrix.h5")
        positions(folder / "all" / f"{name}_tissue_positions_list.csv")
    told = r"s: all has GSM1_filtered_feature_bc_matrix\.h5, GSM2_.*\.h5, of several sections; name one by counts"
    with pytest.raises(ReferenceError, match=told):
        section(folder, spaceranger="all")
    one = {"counts": "all/GSM2_filtered_feature_bc_matrix.h5", "positions": "all/GSM2_tissue_positions_list.csv"}
    assert_right(section(folder, **one))


# --- refused, with the cause


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (
            lambda f: put(f / "outs" / "web_summary.html", ""),
            r"outs has no filtered_feature_bc_matrix\.h5 .*; in it are spatial, web_summ",
        ),
        (
            lambda f: h5(f / "outs" / "molecule_info.h5"),
            r"outs has no filtered_feature_bc_matrix\.h5 .*; in it are molecule_info\.h5, sp",
        ),
    ],
)
def test_folders_without_a_matrix_say_what_is_in_them(
    folder: Path, make: Callable[[Path], None], told: str
) -> None:
    positions(folder / "outs" / "spatial" / "tissue_positions.csv", header=True)
    make(folder)
    with pytest.raises(ReferenceError, match=told) as caught:
        section(folder, spaceranger="outs")
    assert str(folder) not in str(caught.value)


def test_a_folder_without_positions(folder: Path) -> None:
    h5(folder / "outs" / "filtered_feature_bc_matrix.h5")
    (folder / "outs" / "spatial").mkdir()
    with pytest.raises(ReferenceError, match=r"section s: outs has no spatial/tissue_positions\.csv"):
        section(folder, spaceranger="outs")


def test_files_that_are_no_matrix(folder: Path) -> None:
    positions(folder / "p.csv")
    with h5py.File(folder / "m.h5", "w") as file:
        file["barcode_idx"] = [1]
        file.create_group("metrics")
    with pytest.raises(ReferenceError, match=r"m\.h5 is no matrix of 10x's.*; in it are barcode_idx, metrics"):
        section(folder, counts="m.h5", positions="p.csv")
    path = mtx(folder / "m")
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(ReferenceError, match=r"matrix\.mtx\.gz: its gzip compression is broken or cut short"):
        section(folder, counts="m", positions="p.csv")


def test_real_matrix_under_geos_names(folder: Path, data_dir: Path) -> None:
    real = data_dir / "visium-sr3"
    plain = read_section(ENTRY | {"image": "i.png", "spaceranger": str(real)}, folder)
    for name in ("matrix.mtx", "features.tsv", "barcodes.tsv"):
        text = gzip.decompress((real / "filtered_feature_bc_matrix" / f"{name}.gz").read_bytes())
        (folder / f"GSM1_{name.replace('features', 'genes')}").write_bytes(text)
    table = (real / "spatial" / "tissue_positions.csv").read_text().partition("\n")[2]
    put(folder / "GSM1_tissue_positions_list.csv.gz", table.replace("-1,", ","))  # barcodes without their ending
    one = {"counts": "GSM1_matrix.mtx", "positions": "GSM1_tissue_positions_list.csv.gz"}
    found = section(folder, **one)
    assert (found.counts != plain.counts).nnz == 0 and found.counts.shape[0] > 2000
    assert found.symbols.tolist() == plain.symbols.tolist()
    assert found.xy_l0.tolist() == plain.xy_l0.tolist()
    assert found.barcodes.tolist() == [name.removesuffix("-1") for name in plain.barcodes]
