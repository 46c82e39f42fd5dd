"""What a result says of when and by which command it was made, and that this is not what makes it that result."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bleep_cli.cli import app
from bleep_cli.outputs.stored import provenance
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.prediction.provenance import created, identity_of


def test_the_date_is_now_in_utc_or_the_one_that_is_stated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1577836800")
    assert created() == "2020-01-01T00:00:00+00:00"
    for none in ("", "yesterday", "-1"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", none)
        before = datetime.now(UTC).replace(microsecond=0)
        assert before <= datetime.fromisoformat(created()) <= datetime.now(UTC)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["h5ad", "zarr"])
def test_a_result_of_another_day_is_the_same(
    query_slide: Path,
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: object,
    kind: str,
) -> None:
    command = ["predict", str(query_slide), "--ref", str(small_bundle), "--device", "cpu", "--format", kind]
    path = tmp_path / "out" / f"query.{kind}"
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    app([*command, "-o", str(path.parent), "-k", "7", "--genes", "GENE1,GENE2"], standalone_mode=False)
    first = provenance(path, kind)
    assert (first["created"], first["reference"]["species"]) == ("1970-01-02T00:00:00+00:00", "")
    assert first["command"] == "bleep predict query.tif --ref small.zarr --genes GENE1,GENE2 -k 7 --device cpu"
    stamp = path.stat().st_mtime_ns
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "172800")
    words = ["-q", *command, "-k", "7", "--genes", "GENE1,GENE2", "-o", str(path.parent), "--resume"]
    app(words, standalone_mode=False)
    assert path.stat().st_mtime_ns == stamp
    later = json.loads(json.dumps(first)) | {"created": "x", "command": "y"}
    assert identity_of(later) == identity_of(first)


def test_files_stand_in_the_command_without_their_folders(
    query_slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "John Doe").mkdir()
    (tmp_path / "John Doe" / "genes.txt").write_text("GENE1\n")
    (tmp_path / "John Doe" / "at.csv").write_text("id,x,y\na,150,100\n")
    command = ["predict", str(query_slide), "--ref", str(small_bundle), "-o", str(tmp_path / "John Doe")]
    command += ["--genes", str(tmp_path / "John Doe" / "genes.txt"), "--at", str(tmp_path / "John Doe" / "at.csv")]
    app([*command, "--format", "h5ad", "--quiet"], standalone_mode=False)
    said = provenance(tmp_path / "John Doe" / "query.h5ad", "h5ad")
    assert said["command"] == "bleep predict query.tif --ref small.zarr --genes genes.txt --at at.csv"
    assert "John Doe" not in json.dumps(said)


def test_a_call_from_python_states_no_command(query_slide: Path, small_bundle: Path) -> None:
    options = PredictOptions(device="cpu", genes=("GENE1",))
    prediction = Predictor(small_bundle, options).predict(query_slide)
    assert prediction.provenance["command"] == ""
    assert prediction.provenance["created"]
