"""The shipped demo: what it predicts on a donor it has not seen, and that its files are those listed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bleep_cli.base.assets import DEMO_CARD, asset
from bleep_cli.checks.demo import SHOWN_GENE, predict_demo, score_demo, write_demo
from bleep_cli.cli import app
from bleep_cli.outputs.picture import picture_gene
from bleep_cli.outputs.read import open_result
from bleep_cli.types import Prediction

DUCT = {"SOX9", "KRT7", "KRT19", "KRT18", "ANXA4", "EPCAM", "TACSTD2", "CLDN4", "SPP1", "CFTR"}


@pytest.mark.slow
def test_demo_recovers_the_known_truth(tmp_path: Path) -> None:
    prediction = predict_demo(device="cpu")
    record, lines = score_demo(prediction)
    assert record["median_r"] >= 0.85
    assert record["share_r_at_least_0.8"] >= 0.85
    assert "agreement with the known truth" in lines[1]
    for _ in range(2):  # the second replaces the first
        written = []
        for what, path in write_demo(prediction, tmp_path):
            assert path.is_file()  # told of once it is there
            written.append((what, path))
    (table, picture, page) = (path for _, path in written)
    assert [what for what, _ in written] == ["table", "picture", "page"]
    assert open_result(table).slide_id == "demo-slide"
    assert picture_gene(picture) == SHOWN_GENE
    assert "demo-slide" in page.read_text(encoding="utf-8") and page.suffix == ".html"


@pytest.mark.slow
def test_the_score_is_told_before_the_files_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []

    def write(_prediction: Prediction, _out: Path) -> Iterator[tuple[str, Path]]:
        told.append(capsys.readouterr().out)
        yield "table", tmp_path / "demo-slide.h5ad"

    monkeypatch.setattr("bleep_cli.checks.demo.write_demo", write)
    app(["demo", "-o", str(tmp_path)], standalone_mode=False)
    assert "median r 0." in told[0] and "table" not in told[0]
    assert "demo-slide.h5ad" in capsys.readouterr().out


def test_every_zonated_gene_reaches_r_of_08() -> None:
    """Bile duct genes lie lower: a duct is a tenth of a tile (artifacts/README.md)."""
    card = json.loads(asset(DEMO_CARD).read_text(encoding="utf-8"))
    zonated = {gene: r for gene, r in card["r"].items() if gene not in DUCT}
    assert len(zonated) >= 70
    assert min(zonated.values()) >= 0.8
    assert card["median_r"] == pytest.approx(0.89, abs=0.05)


def test_shipped_files_are_the_listed_ones() -> None:
    card = json.loads(asset(DEMO_CARD).read_text(encoding="utf-8"))
    for name, sha256 in card["sha256"].items():
        assert hashlib.sha256(asset(name).read_bytes()).hexdigest() == sha256
        assert sha256 in asset("README.md").read_text(encoding="utf-8")
    assert asset("demo-liver-phantom.zarr.zip").stat().st_size < 12 << 20
