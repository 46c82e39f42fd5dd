"""Counts that lie: whatever a matrix claims of its indices, values and sizes, it is refused with one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError

N, G = 4, 3
COUNTS = np.arange(1, N * G + 1, dtype=np.float32).reshape(N, G)
BARCODES, GENES = [f"b{i}" for i in range(N)], ["A", "B", "C"]
ENTRY: dict[str, Any] = {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0, "min_counts": 0}


def tenx(folder: Path, counts: np.ndarray = COUNTS) -> tuple[str, dict[str, str]]:
    by_spot = sparse.csr_matrix(counts)
    with h5py.File(folder / "m.h5", "w") as file:
        group = file.create_group("matrix")
        group["data"], group["indices"], group["indptr"] = by_spot.data, by_spot.indices, by_spot.indptr
        group["shape"] = [G, N]
        group["barcodes"] = BARCODES
        group["features/id"] = group["features/name"] = GENES
    rows = [f"{b},1,0,{i},{10 * i},{10 * i}" for i, b in enumerate(BARCODES)]
    head = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"
    (folder / "p.csv").write_text("\n".join([head, *rows]))
    return "matrix", {"counts": "m.h5", "positions": "p.csv"}


def h5ad(folder: Path, counts: np.ndarray = COUNTS) -> tuple[str, dict[str, str]]:
    obs, var = pd.DataFrame(index=BARCODES), pd.DataFrame(index=GENES)
    made = anndata.AnnData(sparse.csr_matrix(counts), obs, var, obsm={"spatial": np.ones((N, 2))})
    made.write_h5ad(folder / "m.h5")
    return "X", {"h5ad": "m.h5"}


MADE = pytest.mark.parametrize("make", [tenx, h5ad])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 40)).save(tmp_path / "i.png")
    return tmp_path


@MADE
def test_sound_counts_are_read(folder: Path, make: Callable[..., Any]) -> None:
    _, entry = make(folder)
    np.testing.assert_array_equal(read_section(ENTRY | entry, folder).counts.toarray(), COUNTS)


@MADE
@pytest.mark.parametrize("array", ["indices", "indptr"])
@pytest.mark.parametrize("value", [-1, -(10**6), 10**6, 1 << 30, 10**9])
def test_indices_that_point_elsewhere(folder: Path, make: Callable[..., Any], array: str, value: int) -> None:
    group, entry = make(folder)
    with h5py.File(folder / "m.h5", "r+") as file:
        file[group][array][1] = value
    with pytest.raises(ReferenceError, match=f"section s: cannot be read .*{group} is no sound sparse matrix"):
        read_section(ENTRY | entry, folder)


@MADE
@pytest.mark.parametrize(("value", "told"), [(np.nan, "NaN or infinity"), (3e38, "MOST_COUNT")])
def test_values_that_no_count_has(folder: Path, make: Callable[..., Any], value: float, told: str) -> None:
    _, entry = make(folder, np.where(COUNTS == 5, np.float32(value), COUNTS))
    with pytest.raises(ReferenceError, match=told):
        read_section(ENTRY | entry, folder)


@pytest.mark.parametrize(
    ("size", "told"),
    [("3 4 2000000000", "MOST_COUNTS"), ("900000000 4 1", "MOST_SPOTS"), ("3 4 999999", "MOST_COUNTS")],
)
def test_a_size_line_that_its_lines_cannot_fill(folder: Path, size: str, told: str) -> None:
    _, entry = tenx(folder)
    text = f"%%MatrixMarket matrix coordinate integer general\n{size}\n1 1 1\n"
    (folder / "matrix.mtx").write_text(text)
    (folder / "features.tsv").write_text("A\nB\nC\n")
    (folder / "barcodes.tsv").write_text("\n".join(BARCODES))
    with pytest.raises(ReferenceError, match=told):
        read_section(ENTRY | entry | {"counts": "matrix.mtx"}, folder)


@pytest.mark.parametrize("sign", [b"\0\0\0\1", b"x", b"\xff"])
def test_signs_that_no_number_has(folder: Path, sign: bytes) -> None:
    _, entry = tenx(folder)
    rows = b"1 1 5\n2 2 7" + sign + b"\n3 4 1\n"
    (folder / "matrix.mtx").write_bytes(b"%%MatrixMarket matrix coordinate integer general\n%\n3 4 3\n" + rows)
    (folder / "features.tsv").write_text("\n".join(GENES))
    (folder / "barcodes.tsv").write_text("\n".join(BARCODES))
    with pytest.raises(ReferenceError, match=r"matrix\.mtx: holds b'.+' among its numbers"):
        read_section(ENTRY | entry | {"counts": "matrix.mtx"}, folder)


@MADE
def test_a_shape_that_its_names_do_not_have(folder: Path, make: Callable[..., Any]) -> None:
    group, entry = make(folder)
    for genes, told in ((1 << 62, "MOST_SPOTS"), (G + 1, "names|but has 3 rows")):
        with h5py.File(folder / "m.h5", "r+") as file:
            if group == "matrix":
                file["matrix/shape"][0] = genes
            else:
                file[group].attrs["shape"] = [N, genes]
        with pytest.raises(ReferenceError, match=told):
            read_section(ENTRY | entry, folder)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
@pytest.mark.parametrize("name", ["p.csv", "m.h5"])
def test_a_pipe_is_told_and_not_waited_for(folder: Path, name: str) -> None:
    _, entry = tenx(folder)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ReferenceError, match="pipe or a device"):
        read_section(ENTRY | entry, folder)
