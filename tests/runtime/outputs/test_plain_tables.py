"""CSV and Parquet hold a row per tile; what reads them is pandas and pyarrow."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from made_prediction import PROVENANCE, SLIDE, make_prediction

from bleep_cli.errors import OutputError
from bleep_cli.outputs.exports.csv_table import write_csv
from bleep_cli.outputs.exports.parquet import write_parquet
from bleep_cli.types import F32, Prediction


def read(path: Path) -> pd.DataFrame:
    if path.suffix == ".csv":
        return pd.read_csv(path, dtype={"tissue_piece": str}, float_precision="round_trip")
    return pd.read_parquet(path)


@pytest.fixture(params=["a.csv", "a.parquet"])
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[pd.DataFrame, Prediction, F32]:
    prediction, expression = make_prediction()
    path = tmp_path / request.param
    (write_csv if path.suffix == ".csv" else write_parquet)(prediction, path)
    return read(path), prediction, expression


def test_every_value_comes_back(written: tuple[pd.DataFrame, Prediction, F32]) -> None:
    table, prediction, expression = written
    genes = table[[str(symbol) for symbol in prediction.symbols]].to_numpy(np.float32)
    np.testing.assert_array_equal(genes, expression)
    np.testing.assert_array_equal(table["similarity"].to_numpy(np.float32), prediction.obs["similarity"])
    assert table["tile_id"].tolist() == prediction.grid.tile_id.tolist()
    assert set(table["slide"]) == {SLIDE}
    assert table["tissue_piece"].tolist() == prediction.grid.region.tolist()
    assert table["in_tissue"].tolist() == prediction.in_tissue.tolist()


def test_places_are_the_centres_in_px_and_um(written: tuple[pd.DataFrame, Prediction, F32]) -> None:
    table, prediction, _ = written
    np.testing.assert_array_equal(table[["x_px", "y_px"]].to_numpy(), prediction.grid.centre_l0)
    np.testing.assert_array_equal(table[["x_um", "y_um"]].to_numpy(), prediction.grid.centre_l0 * 0.5)


def test_parquet_carries_the_provenance(tmp_path: Path) -> None:
    write_parquet(make_prediction()[0], tmp_path / "a.parquet")
    assert json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"bleep"]) == PROVENANCE


def test_a_gene_named_like_a_column_carries_its_id(tmp_path: Path) -> None:
    prediction, expression = make_prediction()
    symbols = prediction.symbols.astype(object)
    symbols[1] = "similarity"
    write_csv(replace(prediction, symbols=symbols.astype(str)), tmp_path / "a.csv")
    table = read(tmp_path / "a.csv")
    np.testing.assert_array_equal(
        table[f"similarity ({prediction.gene_ids[1]})"].to_numpy(np.float32), expression[:, 1]
    )


@pytest.mark.parametrize("write", [write_csv, write_parquet])
def test_nothing_is_replaced_unasked(tmp_path: Path, write: type) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(OutputError, match="a exists already"):
        write(make_prediction()[0], tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
