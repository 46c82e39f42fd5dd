"""Xenium's output folder: a matrix of cells and their centroids, which an alignment puts onto the H&E image.

Centroids are in µm of the morphology image, which ``experiment.xenium`` says the pixel size of. The H&E image is
taken afterwards, on another scanner; Xenium Explorer exports how it lies, a 3 × 3 matrix from its pixels to those
of the morphology image (``*_imagealignment.csv``).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bleep_cli.base.files.json_file import read_json
from bleep_cli.cohort.parts.join import join
from bleep_cli.cohort.parts.reader import Key, RawSection, Reader, Source
from bleep_cli.cohort.readers.tenx import tenx
from bleep_cli.errors import ReferenceError
from bleep_cli.tiles.positions import Positions
from bleep_cli.types import F64, Str

MATRICES, CELLS = ("cell_feature_matrix.h5", "cell_feature_matrix"), ("cells.parquet", "cells.csv.gz", "cells.csv")
EXPERIMENT = "experiment.xenium"
PIXEL_UM = 0.2125
"""µm per pixel of the morphology image where the folder does not say it: that of every instrument so far."""


def read_xenium(source: Source) -> RawSection:
    """The cells, placed at their centroids."""
    if "alignment" not in source.entry:
        raise ReferenceError(
            "cells of Xenium lie in µm of its morphology image: give alignment, the matrix that puts "
            "the H&E image onto it (Xenium Explorer exports it as *_imagealignment.csv; for an image that has the "
            "pixels of the morphology image the three lines 1,0,0 and 0,1,0 and 0,0,1)"
        )
    onto_morphology = alignment(source.file("alignment"))
    folder = source.path
    matrix = _first(folder, MATRICES)
    names, um = _centroids(_first(folder, CELLS))
    xy = np.column_stack([um / _pixel_um(folder), np.ones(len(um))])
    xy_l0 = np.asarray((np.linalg.inv(onto_morphology) @ xy.T).T[:, :2], np.float64)
    row = np.arange(len(names), dtype=np.int64)
    cells = Positions(names, xy_l0, row, np.zeros_like(row), np.ones(len(names), dtype=bool))
    return join(tenx(matrix), cells)


def alignment(path: Path) -> F64:
    """f64[3, 3] from a table of three rows; ``ReferenceError`` for what is none, or cannot be turned back."""
    try:
        matrix = np.loadtxt(path, delimiter=",", dtype=np.float64, encoding="utf-8-sig")
    except ValueError as error:
        raise ReferenceError(
            f"{path.name} is no alignment: three rows of three numbers (Xenium Explorer exports two files: the "
            "one with the matrix is needed, not the one with key points)"
        ) from error
    if matrix.shape != (3, 3) or not np.allclose(matrix[2], (0, 0, 1)) or abs(np.linalg.det(matrix)) < 1e-12:
        raise ReferenceError(f"{path.name} is no alignment: three rows of three numbers, the last of them 0,0,1")
    return matrix


def _first(folder: Path, names: tuple[str, ...]) -> Path:
    path = next((folder / name for name in names if (folder / name).exists()), None)
    if path is None:
        raise ReferenceError(f"{folder.name} has no {' or '.join(names)}")
    return path


def _centroids(path: Path) -> tuple[Str, F64]:
    """(ids str[n], centroids f64[n, 2] in µm) of a table of cells."""
    import pandas as pd

    columns = ["cell_id", "x_centroid", "y_centroid"]
    kinds = {"cell_id": str}
    table = (
        pd.read_parquet(path, columns=columns)
        if path.suffix == ".parquet"
        else pd.read_csv(path, usecols=columns, dtype=kinds)
    )
    names = [cell.decode() if isinstance(cell, bytes) else str(cell) for cell in table["cell_id"]]
    return np.array(names, dtype=str), np.asarray(table[columns[1:]], np.float64)


def _pixel_um(folder: Path) -> float:
    file = folder / EXPERIMENT
    if not file.is_file():
        return PIXEL_UM
    told = read_json(file)
    size = told.get("pixel_size", PIXEL_UM) if isinstance(told, dict) else PIXEL_UM
    if not isinstance(size, int | float) or isinstance(size, bool) or not size > 0:
        raise ReferenceError(f"{EXPERIMENT}: pixel_size is {size}, no positive number")
    return float(size)


def is_xenium(path: Path) -> bool:
    """Whether a folder holds what Xenium calls its experiment, or its cells."""
    return (path / EXPERIMENT).is_file() or any((path / name).exists() for name in MATRICES)


XENIUM = Reader(
    what="an output folder of Xenium",
    sources=("xenium",),
    claims=is_xenium,
    read=read_xenium,
    keys=(Key("alignment"),),
)
