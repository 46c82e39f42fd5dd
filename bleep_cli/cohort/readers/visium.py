"""An ``outs`` folder of Space Ranger for Visium: a matrix and ``spatial/``; or what GEO makes of one."""

from __future__ import annotations

import re
from pathlib import Path

from bleep_cli.cohort.readers.join import join
from bleep_cli.cohort.readers.plane import factors_beside
from bleep_cli.cohort.readers.reader import LIBRARY, RawSection, Reader, Source
from bleep_cli.cohort.readers.tenx import MATRIX as MTX
from bleep_cli.cohort.readers.tenx import tenx
from bleep_cli.errors import ReferenceError
from bleep_cli.tiles.positions import read_positions

MATRICES = tuple(
    re.compile(pattern)
    for pattern in (
        r"filtered_feature_bc_matrix$",
        r"filtered_feature_bc_matrix\.h5$",
        r"filtered_gene_bc_matrices(_h5\.h5)?$",
        MTX.pattern,
        r"raw_feature_bc_matrix(\.h5)?$",
    )
)
"""By preference; names may begin with anything, as GEO's do with the sample's number."""
POSITIONS = tuple(
    re.compile(pattern)
    for pattern in (r"tissue_positions\.csv(\.gz)?$", r"tissue_positions_list\.(csv|txt)(\.gz)?$",
                    r"tissue_positions\.parquet$")
)  # fmt: skip


def read_visium(source: Source) -> RawSection:
    """The filtered matrix, as a folder or as HDF5, with the positions in tissue."""
    return visium_section(source.path, source.entry.get("library"))


def visium_section(outs: Path, library: str | None = None) -> RawSection:
    """The same of a folder, of one capture area where its matrix holds several."""
    spatial = outs / "spatial"
    positions = one_of(spatial if spatial.is_dir() else outs, POSITIONS, "spatial/tissue_positions.csv")
    matrix = one_of(outs, MATRICES, "filtered_feature_bc_matrix.h5 and no folder filtered_feature_bc_matrix")
    return join(tenx(matrix), read_positions(positions), library, factors=factors_beside(positions))


def one_of(folder: Path, patterns: tuple[re.Pattern[str], ...], wanted: str) -> Path:
    """The file whose name ends as the first pattern that any does. ``ReferenceError`` for none, or for several."""
    names = sorted(folder.iterdir())
    for pattern in patterns:
        found = [path for path in names if pattern.search(path.name)]
        if len(found) > 1:
            raise ReferenceError(
                f"{folder.name} has {', '.join(path.name for path in found)}, of several sections; "
                "name one by counts and its table by positions"
            )
        if found:
            return found[0]
    raise ReferenceError(f"{folder.name} has no {wanted}")


def is_visium(path: Path) -> bool:
    """Whether a folder holds ``spatial/``, or a table of positions as Space Ranger calls it."""
    if not path.is_dir():
        return False
    return (path / "spatial").is_dir() or any(p.search(f.name) for f in path.iterdir() for p in POSITIONS)


VISIUM = Reader(
    what="a Space Ranger folder",
    sources=("spaceranger",),
    claims=is_visium,
    read=read_visium,
    keys=(LIBRARY,),
)
