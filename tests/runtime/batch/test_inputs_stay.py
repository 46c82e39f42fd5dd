"""``--force`` replaces results, never what they are made of."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from bleep_cli.batch.prepare import prepare_batch
from bleep_cli.errors import UsageError
from bleep_cli.prediction.options import PredictOptions

CPU = PredictOptions(device="cpu")


@pytest.mark.parametrize(
    "what", ["the reference", "the mask", "the mask, by what is written beside", "the list of genes"]
)
def test_no_input_is_replaced(small_bundle: Path, query_slide: Path, tmp_path: Path, what: str) -> None:
    slide = Path(shutil.copy(query_slide, tmp_path / "a.tif"))
    place = tmp_path / "a.zarr" if what == "the reference" else tmp_path / "a.bleep.geojson"
    ref, options, inputs = small_bundle, CPU, {}
    if what == "the reference":
        with_zip = small_bundle.is_file()
        shutil.copy(small_bundle, place) if with_zip else shutil.copytree(small_bundle, place)
        ref = place
        if with_zip:
            pytest.skip("the reference is one file here, which no result is called as")
    elif what.startswith("the mask"):
        what, place = "the mask", tmp_path / ("a.bleep.json" if "beside" in what else place.name)
        place.write_text('{"type": "Polygon", "coordinates": [[[0, 0], [9, 0], [9, 9]]]}')
        options = PredictOptions(device="cpu", mask=place)
    else:
        place.write_text("A")
        inputs = {what: place}
    kinds = ["zarr"] if what == "the reference" else ["geojson"]
    with pytest.raises(UsageError, match=f"would replace {what}; choose another folder with out"):
        prepare_batch([slide], ref, tmp_path, formats=kinds, options=options, force=True, inputs=inputs)


def test_a_name_that_no_result_could_have_is_told(small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / ("é" * 110 + ".tif")).write_bytes(b"II")
    with pytest.raises(UsageError, match="a name of 220 bytes is over the limit MOST_NAME"):
        prepare_batch([tmp_path / ("é" * 110 + ".tif")], small_bundle, tmp_path, options=CPU)
    for name in ("a" * 300, "a\0b"):
        with pytest.raises(UsageError, match="no such file"):
            prepare_batch([tmp_path / name], small_bundle, tmp_path, options=CPU)


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of POSIX")
def test_positions_that_are_a_pipe_are_told(small_bundle: Path, query_slide: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.csv")
    with pytest.raises(UsageError, match="pipe or a device"):
        options = PredictOptions(device="cpu", at=tmp_path / "p.csv")
        prepare_batch([query_slide], small_bundle, tmp_path, options=options)
