"""Tiles at the places of a table: whoever wrote it, they lie where it says, and what was done to it is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.errors import UsageError
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan

SEURAT = ['"tissue" "row" "col" "imagerow" "imagecol"', '"AAAC-1" TRUE 0 4 100 200.5', '"AAAG-1" FALSE 2 6 110 40']
QUPATH = ["Object ID\tCentroid X µm\tCentroid Y µm", "u-1\t802\t400", "u-2\t160\t440"]


@pytest.mark.parametrize(
    ("lines", "ids", "inside", "codes"),
    [
        (SEURAT, ["AAAC-1", "AAAG-1"], [True, False], []),
        (QUPATH, ["u-1", "u-2"], [True, True], ["text-encoding-guessed", "positions-in-um"]),
    ],
)
def test_tiles_lie_where_the_table_says(
    query_slide: Path, small_bundle: Path, tmp_path: Path, lines: list[str], ids: list[str], inside: list[bool],
    codes: list[str],
) -> None:  # fmt: skip
    table = tmp_path / "places.txt"
    table.write_bytes("\r\n".join(lines).encode("cp1252"))
    ready = plan(query_slide, open_bundle(small_bundle).info, PredictOptions(at=table))
    ready.slide.close()
    assert ready.grid.tile_id.tolist() == ids
    assert ready.grid.centre_l0.tolist() == [[200.5, 100], [40, 110]]  # 4 µm per px
    assert ready.in_tissue.tolist() == inside
    assert [finding.code for finding in ready.findings if finding.where == "places.txt"] == codes


def test_a_table_that_is_none_of_positions_says_what_it_has(
    query_slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    table = tmp_path / "places.csv"
    table.write_text("cell;area\n1;20\n")
    info = open_bundle(small_bundle).info
    with pytest.raises(
        UsageError, match=r"^places\.csv: not a table of positions: its columns are cell, area; col"
    ):
        plan(query_slide, info, PredictOptions(at=table))
