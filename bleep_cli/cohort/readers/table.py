"""Counts as a text table with a table of positions, as the ST pipeline writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bleep_cli.cohort.readers.join import join
from bleep_cli.cohort.readers.plane import factors_beside
from bleep_cli.cohort.readers.reader import LIBRARY, POSITIONS, Counted, RawSection, Reader, Source
from bleep_cli.errors import ReferenceError
from bleep_cli.genes.features import Features
from bleep_cli.tiles.positions import read_positions

ST_UM = (100.0, 200.0)  # between spots: 200 µm on the first arrays, 141 on those of 2,000 spots, then 100


def read_table(source: Source) -> RawSection:
    """Rows are spots, ``<x>x<y>``, columns are genes."""
    import pandas as pd
    from scipy import sparse

    path = source.path  # the header apart: pandas would rename a gene that occurs twice
    head = pd.read_csv(path, sep="\t", header=None, nrows=1, dtype=str, keep_default_na=False)
    table = pd.read_csv(path, sep="\t", header=None, skiprows=1, index_col=0)
    genes = head.iloc[0].to_numpy(dtype=str)
    genes = genes[1:] if len(genes) == table.shape[1] + 1 else genes  # R leaves the corner out
    if len(genes) != table.shape[1]:
        raise ReferenceError(f"{path.name}: {len(genes)} names for {table.shape[1]} columns of counts")
    counts = sparse.csr_matrix(table.to_numpy(np.float32))
    names = np.array([str(name) for name in table.index], dtype=str)
    counted = Counted(counts, Features(genes, genes), names)
    positions = source.file("positions")
    factors, library = factors_beside(positions), source.entry.get("library")
    return join(counted, read_positions(positions), library, factors=factors, usual_um=ST_UM)


def is_table(path: Path) -> bool:
    """Whether a file is named as a text table is."""
    return path.is_file() and bool({".tsv", ".csv", ".txt"} & set(path.suffixes))


TABLE = Reader(
    what="a table of counts",
    sources=("counts",),
    claims=is_table,
    read=read_table,
    keys=(POSITIONS, LIBRARY),
)
