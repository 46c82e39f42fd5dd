"""R reads results: h5ad by Bioconductor's rhdf5, CSV by R itself. Needs Rscript (Debian: r-bioc-rhdf5)."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_prediction import SLIDE, SYMBOLS, make_prediction

from bleep_cli.outputs.exports.csv_table import write_csv
from bleep_cli.outputs.h5ad import write_h5ad

RSCRIPT = shutil.which("Rscript")
H5AD = """
library(rhdf5)
file <- commandArgs(TRUE)[1]
x <- h5read(file, "X")                       # genes in rows: R counts its dimensions the other way round
piece <- h5read(file, "obs/tissue_piece")
say <- function(name, values) cat(name, format(values, digits = 9), sep = "\\t", fill = FALSE)
line <- function(name, values) { say(name, values); cat("\\n") }
line("genes", h5read(file, "var/_index"))
line("tiles", h5read(file, "obs/_index"))
line("pieces", piece$categories[piece$codes + 1])
line("place", h5read(file, "obsm/spatial")[, 21])
line("first", x[, 1])
line("last", x[, ncol(x)])
line("slide", h5read(file, "uns/bleep/slide/sha256"))
"""
CSV = """
table <- read.csv(commandArgs(TRUE)[1], check.names = FALSE)
line <- function(name, values) { cat(name, format(values, digits = 9), sep = "\\t"); cat("\\n") }
line("columns", names(table))
line("first", unlist(table[1, c("ERBB2", "a/b")]))
line("slide", unique(table$slide))
"""


@cache
def has_rhdf5() -> bool:
    command = [str(RSCRIPT), "-e", "library(rhdf5)"]
    return RSCRIPT is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


def said(script: str, file: Path) -> dict[str, list[str]]:
    """What a script prints of a file: by name, values."""
    source = file.with_suffix(".R")
    source.write_text(script, encoding="utf-8")
    command: list[Any] = [RSCRIPT, source, file]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    lines = [line.split("\t") for line in done.stdout.decode().splitlines()]
    return {name: [value.strip() for value in values] for name, *values in lines}


@pytest.mark.skipif(not has_rhdf5(), reason="Rscript with rhdf5 is not here (Debian: r-bioc-rhdf5)")
def test_rhdf5_reads_an_h5ad(tmp_path: Path) -> None:
    prediction, expression = make_prediction()
    write_h5ad(prediction, tmp_path / "a.h5ad")
    found = said(H5AD, tmp_path / "a.h5ad")
    assert found["genes"] == SYMBOLS.tolist()
    assert found["tiles"] == prediction.grid.tile_id.tolist()
    assert found["pieces"] == prediction.grid.region.tolist()
    assert [float(value) for value in found["place"]] == prediction.grid.centre_l0[20].tolist()
    for name, row in (("first", 0), ("last", -1)):
        np.testing.assert_allclose([float(value) for value in found[name]], expression[row], rtol=1e-6)
    assert found["slide"] == ["ab" * 32]


@pytest.mark.skipif(RSCRIPT is None, reason="Rscript is not here (Debian: r-base-core)")
def test_r_reads_a_csv(tmp_path: Path) -> None:
    prediction, expression = make_prediction()
    write_csv(prediction, tmp_path / "a.csv")
    found = said(CSV, tmp_path / "a.csv")
    assert found["columns"][-len(SYMBOLS) :] == SYMBOLS.tolist()
    np.testing.assert_allclose([float(value) for value in found["first"]], expression[0, [0, 2]], rtol=1e-6)
    assert found["slide"] == [SLIDE]
