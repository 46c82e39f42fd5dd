"""Xenium's folder: cells in µm, put onto the H&E image by an alignment."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tables_of_counts import GENE, image, write_h5

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError

NAMES = ["A", "B", "NegControlProbe_1", "Codeword"]
TYPES = [GENE, GENE, GENE, "Unassigned Codeword"]
CELLS = ["aaaa-1", "bbbb-1"]
UM = np.array([[2.125, 4.25], [6.375, 8.5]])
TURNED = "0.0,-2.0,100.0\n2.0,0.0,40.0\n0.0,0.0,1.0\n"
"""H&E (x, y) to morphology (100 - 2 y, 40 + 2 x): turned by a quarter, half as many pixels."""


def outs(folder: Path, form: str = "parquet", cells: Any = CELLS) -> Path:
    write_h5(folder / "cell_feature_matrix.h5", [[1, 2, 5, 9], [3, 0, 5, 9]], NAMES, CELLS, feature_type=TYPES)
    table = pd.DataFrame({"cell_id": cells, "x_centroid": UM[:, 0], "y_centroid": UM[:, 1], "area": 1.0})
    if form == "parquet":
        table.to_parquet(folder / "cells.parquet")
    else:
        table.to_csv(folder / f"cells.{form}", index=False)
    return folder


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "he_imagealignment.csv").write_text(TURNED)
    return image(tmp_path) | {"xenium": "outs", "alignment": "he_imagealignment.csv"}


def image_px(pixel_um: float) -> list[list[float]]:
    morphology = UM / pixel_um
    return np.column_stack([(morphology[:, 1] - 40) / 2, (100 - morphology[:, 0]) / 2]).tolist()


@pytest.mark.parametrize("form", ["parquet", "csv.gz", "csv"])
def test_cells_are_put_onto_the_image(tmp_path: Path, entry: dict[str, Any], form: str) -> None:
    outs(tmp_path / "outs", form)
    found = read_section(entry, tmp_path)
    assert (found.symbols.tolist(), found.counts.toarray().tolist()) == (["A", "B"], [[1, 2], [3, 0]])
    assert found.findings[0].what == "2 features are no genes (1 NegControlProbe, 1 Unassigned Codeword)"
    assert found.barcodes.tolist() == CELLS
    np.testing.assert_allclose(found.xy_l0, image_px(0.2125), rtol=1e-12)


def test_the_folder_says_the_pixel_size_and_ids_may_be_bytes(tmp_path: Path, entry: dict[str, Any]) -> None:
    outs(tmp_path / "outs", cells=[cell.encode() for cell in CELLS])
    (tmp_path / "outs/experiment.xenium").write_text(json.dumps({"pixel_size": 0.425}))
    np.testing.assert_allclose(read_section(entry, tmp_path).xy_l0, image_px(0.425), rtol=1e-12)
    (tmp_path / "outs/experiment.xenium").write_text(json.dumps({"pixel_size": 0}))
    with pytest.raises(ReferenceError, match="pixel_size is 0, no positive number"):
        read_section(entry, tmp_path)


def test_an_image_in_the_morphology_images_pixels(tmp_path: Path, entry: dict[str, Any]) -> None:
    outs(tmp_path / "outs")
    (tmp_path / "he_imagealignment.csv").write_text("\ufeff1,0,0\n0,1,0\n0,0,1\n", encoding="utf-8")
    np.testing.assert_allclose(read_section(entry, tmp_path).xy_l0, UM / 0.2125, rtol=1e-12)


def test_without_an_alignment_it_is_asked_for(tmp_path: Path, entry: dict[str, Any]) -> None:
    outs(tmp_path / "outs")
    del entry["alignment"]
    with pytest.raises(
        ReferenceError, match=r"section s: cells of Xenium lie in µm .*: give alignment, .*\.csv"
    ) as no:
        read_section(entry, tmp_path)
    assert no.value.origin == "cohort file"


@pytest.mark.parametrize(
    "text",
    [
        "fixedX,fixedY,alignmentX,alignmentY\n1,2,3,4\n",  # the key points that Xenium Explorer exports, too
        "1,0,0\n0,1,0\n",
        "1,0,0\n0,1,0\n5,5,1\n",
        "1,0,0\n2,0,0\n0,0,1\n",
    ],
)
def test_tables_that_are_no_alignment(tmp_path: Path, entry: dict[str, Any], text: str) -> None:
    outs(tmp_path / "outs")
    (tmp_path / "he_imagealignment.csv").write_text(text)
    with pytest.raises(
        ReferenceError, match=r"he_imagealignment\.csv is no alignment: three rows of three numbers"
    ):
        read_section(entry, tmp_path)


def test_a_folder_without_cells(tmp_path: Path, entry: dict[str, Any]) -> None:
    (outs(tmp_path / "outs") / "cells.parquet").unlink()
    with pytest.raises(ReferenceError, match=r"outs has no cells\.parquet or cells\.csv\.gz or cells\.csv"):
        read_section(entry, tmp_path)
