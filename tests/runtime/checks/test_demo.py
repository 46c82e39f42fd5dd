"""The shipped demo: what it predicts on a donor it has not seen, and that its files are those listed."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bleep_cli.base.assets import DEMO_CARD, asset
from bleep_cli.checks.demo import run_demo

DUCT = {"SOX9", "KRT7", "KRT19", "KRT18", "ANXA4", "EPCAM", "TACSTD2", "CLDN4", "SPP1", "CFTR"}


@pytest.mark.slow
def test_demo_recovers_the_known_truth(tmp_path: Path) -> None:
    record, lines = run_demo(tmp_path, "cpu")
    assert record["median_r"] >= 0.85
    assert record["share_r_at_least_0.8"] >= 0.85
    assert "agreement with the known truth" in lines[-1]
    table, picture, page = map(Path, record["files"])
    assert table.is_file() and picture.is_file()
    assert "demo-slide" in page.read_text(encoding="utf-8") and page.suffix == ".html"
    run_demo(tmp_path, "cpu")  # again, into the same folder


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
