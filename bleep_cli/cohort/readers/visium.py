"""An ``outs`` folder of Space Ranger for Visium: a matrix and ``spatial/``; or what GEO makes of one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bleep_cli.cohort.parts.join import join
from bleep_cli.cohort.parts.plane import factors_beside
from bleep_cli.cohort.parts.reader import LIBRARY, Counted, RawSection, Reader, Source
from bleep_cli.cohort.parts.tenx_mtx import is_mtx
from bleep_cli.cohort.readers.tenx import tenx
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.tiles.positions import positions_in, read_positions

MATRIX = "filtered_feature_bc_matrix.h5 and no folder filtered_feature_bc_matrix"

KINDS = ("filtered", "raw")
NAMES = (
    r"_(feature_bc_matrix|gene_bc_matrices)$",
    r"_(feature_bc_matrix|gene_bc_matrices_h5|gene_bc_matrices)\.h5$",
)
"""How names of matrices end, the folder before the file; they may begin with anything, as GEO's do with the
sample's number."""


def read_visium(source: Source) -> RawSection:
    """The filtered matrix, as a folder or as HDF5, with the positions in tissue."""
    return visium_section(source.path, source.entry.get("library"))


def visium_section(outs: Path, library: str | None = None) -> RawSection:
    """The same of a folder, of one capture area where its matrix holds several."""
    counted, positions = _matrix(outs), _positions(outs)
    return join(counted, read_positions(positions), library, factors=factors_beside(positions))


def _matrix(outs: Path) -> Counted:
    """The filtered matrix, or three files of a matrix in the folder itself; the raw one where that is all."""
    for kind in KINDS:
        patterns = tuple(re.compile(kind + end) for end in NAMES)
        if any(pattern.search(path.name) for path in outs.iterdir() for pattern in patterns):
            counted = tenx(one_of(outs, patterns, MATRIX))
            return counted if kind == KINDS[0] else _told_of_raw(counted)
        if kind == KINDS[0] and any(is_mtx(path) for path in outs.iterdir() if path.is_file()):
            return tenx(outs)
    there = ", ".join(sorted(path.name for path in outs.iterdir()))
    raise ReferenceError(f"{outs.name} has no {MATRIX}; in it are {there}")


def _told_of_raw(counted: Counted) -> Counted:
    told = "there is no filtered matrix; the raw one was read at the positions in tissue"
    return replace(counted, findings=(*counted.findings, Finding("matrix-raw", told)))


def _positions(outs: Path) -> Path:
    folders = [outs / "spatial", outs, *sorted(path for path in outs.glob("?*spatial") if path.is_dir())]
    found = [path for folder in folders for path in positions_in(folder)]
    if not found:
        raise ReferenceError(f"{outs.name} has no spatial/tissue_positions.csv")
    if len(found) > 1:
        raise ReferenceError(_several(outs, found))
    return found[0]


def one_of(folder: Path, patterns: tuple[re.Pattern[str], ...], wanted: str) -> Path:
    """The file whose name ends as the first pattern that any does. ``ReferenceError`` for none, or for several."""
    names = sorted(folder.iterdir())
    for pattern in patterns:
        found = [path for path in names if pattern.search(path.name)]
        if len(found) > 1:
            raise ReferenceError(_several(folder, found))
        if found:
            return found[0]
    raise ReferenceError(f"{folder.name} has no {wanted}")


def _several(folder: Path, found: Sequence[Path]) -> str:
    return (
        f"{folder.name} has {', '.join(path.name for path in found)}, of several sections; "
        "name one by counts and its table by positions"
    )


def is_visium(path: Path) -> bool:
    """Whether a folder holds ``spatial/``, or a table of positions as Space Ranger calls it."""
    return any(folder.is_dir() for folder in path.glob("*spatial")) or bool(positions_in(path))


VISIUM = Reader(
    what="a Space Ranger folder",
    sources=("spaceranger",),
    claims=is_visium,
    read=read_visium,
    keys=(LIBRARY,),
)
