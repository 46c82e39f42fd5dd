"""Small sections in the formats that they come in, for the tests of their readers."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image
from scipy import io, sparse

GENE = "Gene Expression"
POSITIONS = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n"


def image(folder: Path) -> dict[str, Any]:
    """Keys of a section with a picture in ``folder``; every spot is kept."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (60, 40)).save(folder / "i.png")
    return {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0, "min_counts": 0}


def write_h5(path: Path, counts: Any, names: Sequence[str], barcodes: Sequence[str], **columns: Any) -> Path:
    """10x's HDF5 of counts [n, g]; further columns of the features by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    matrix = sparse.csr_matrix(np.asarray(counts))
    features = {"id": names, "name": names, "feature_type": [GENE] * len(names), **columns}
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(matrix, key).astype(np.int64)
        group["shape"] = matrix.shape[::-1]
        group["barcodes"] = np.array(list(barcodes), dtype="S")
        for key, values in features.items():
            group.create_dataset(f"features/{key}", data=np.array(list(values), dtype="S"))
    return path


def write_mtx(folder: Path, counts: Any, features: str, barcodes: Sequence[str], **names: Any) -> Path:
    """The three files; ``features`` is the text of their table."""
    folder.mkdir(parents=True, exist_ok=True)
    prefix, end, table = names.get("prefix", ""), names.get("end", ".gz"), names.get("table", "features")

    def put(name: str, data: bytes) -> None:
        (folder / f"{prefix}{name}{end}").write_bytes(gzip.compress(data) if end else data)

    with (folder / "plain.mtx").open("wb") as file:
        io.mmwrite(file, sparse.coo_matrix(np.asarray(counts).T), field="integer")
    put("matrix.mtx", (folder / "plain.mtx").read_bytes())
    (folder / "plain.mtx").unlink()
    put(f"{table}.tsv", features.encode())
    put("barcodes.tsv", "".join(f"{b}\n" for b in barcodes).encode())
    return folder


def write_positions(path: Path, barcodes: Sequence[str], xy: Any) -> Path:
    """Space Ranger's table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{b},1,0,{i},{y},{x}\n" for i, (b, (x, y)) in enumerate(zip(barcodes, xy, strict=True))]
    path.write_text(POSITIONS + "".join(rows))
    return path
