"""The benchmarks of search run, at sizes that take seconds, and what they print is what they measured."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: str, json_to: Path) -> tuple[str, dict[str, Any]]:
    """What a benchmark prints, and its record."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments, "--json", str(json_to)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "train")])}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads(json_to.read_text(encoding="utf-8"))


def test_engines_are_compared_and_the_missing_are_named(tmp_path: Path) -> None:
    printed, record = run(
        "search.py",
        "--sizes",
        "400",
        "--dim",
        "32",
        "--queries",
        "50",
        "--turns",
        "1",
        json_to=tmp_path / "a.json",
    )
    rows = {row["engine"]: row for row in record["rows"]}
    assert list(rows) == ["exact", "lists", "hnswlib", "usearch", "faiss-hnsw", "faiss-ivf"]
    assert rows["exact"]["recall"] == 1 and rows["exact"]["times_exact"] == 1
    assert rows["exact"]["index_mb"] == 0 and rows["hnswlib"]["recall"] >= 0.99
    assert rows["lists"]["recall"] >= 0.99
    for engine, module in (("faiss-hnsw", "faiss"), ("faiss-ivf", "faiss"), ("usearch", "usearch")):
        there = importlib.util.find_spec(module) is not None
        assert (rows[engine]["recall"] is not None) == there
        assert (f"| 400 | {engine} | not installed |" in printed) != there


@pytest.mark.slow
def test_a_large_reference_goes_through_every_step(tmp_path: Path) -> None:
    options = ("--spots", "5000", "--dim", "64", "--exact-up-to", "1000", "--stride-um", "112", "--graph")
    _, record = run("large_reference.py", *options, "--keep", str(tmp_path / "k"), json_to=tmp_path / "a.json")
    rows = {row["step"]: row for row in record["rows"]}
    assert list(rows) == ["make", "write", "verify", "predict", "predict, 3 genes"]
    assert rows["write"]["recall"] >= 0.99 and rows["verify"]["recall"] >= 0.98
    assert (
        rows["verify"]["found"].startswith("70 lists, recall@50") and "HNSW recall@50" in rows["verify"]["found"]
    )
    assert all(row["peak_rss_mb"] > 10 for row in rows.values())
    assert rows["predict"]["found"] == rows["predict, 3 genes"]["found"] != "0 tiles"
    assert (tmp_path / "k" / "large.zarr").is_dir()
