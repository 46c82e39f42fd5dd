"""Bundles whose values or attributes would do harm: refused by one line, before memory or time is spent."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_damage import edit, reattr_array, rewrite, seal
from bundle_refusal import refused

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.parametrize("value", [np.nan, np.inf, -0.5])
def test_expression_that_is_none_is_found_when_it_is_read(broken: Path, value: float) -> None:
    edit(broken, "expression", lambda v: v.__setitem__((3, 4), value))
    seal(broken)
    refused(broken, r"expression is damaged \(it holds NaN, infinity or", lambda b: b.expression(None, 1 << 30))
    refused(broken, "expression is damaged", lambda b: list(b.expression_rows().gene_blocks(np.arange(9), 99)))


# --- what attributes say

ATTRS: list[dict[str, Any]] = [
    {"k": float("inf")}, {"k": float("nan")}, {"k": 1e300}, {"k": -1}, {"k": True}, {"k": "50"}, {"k": 2.5},
    {"views": 3}, {"recommended_views": 3}, {"recommended_views": "8"}, {"recommended_views": True},
    {"tile": {"px": 16, "um": [float("inf")]}}, {"tile": {"px": 16, "um": [1e-9]}}, {"tile": {"px": 16, "um": 64}},
    {"tile": {"px": 10**9, "um": [64.0]}}, {"tile": {"px": 16, "um": [64.0] * 1000}}, {"tile": None},
    {"expression": {"target_sum": -1, "tower_input": "log1p"}}, {"expression": {"target_sum": 0}},
    {"expression": {"target_sum": float("nan"), "tower_input": "log1p"}}, {"expression": []},
    {"sections": [{"id": "S0\x1b[31m", "sha256": "", "donor": "D", "n": 252}]},
    {"sections": [{"id": "S0", "sha256": "", "donor": "D\nE", "n": 252}]},
    {"sections": [{"id": "S0", "sha256": "", "donor": "D", "n": -1}]}, {"sections": None}, {"sections": [3]},
    {"content_sha256": None}, {"content_sha256": "12"}, {"training": 3}, {"findings": [3]}, {"findings": 3},
    {"key": ["expression"]}, {"aggregation": {}}, {"licence": "\ud800"}, {"species": "\ue000genes\ue001"},
]  # fmt: skip


@pytest.mark.parametrize("attrs", ATTRS, ids=str)
def test_attributes_out_of_bounds(broken: Path, attrs: dict[str, Any]) -> None:
    file = broken / "zarr.json"
    meta = json.loads(file.read_text())
    file.write_text(json.dumps(meta | {"attributes": meta["attributes"] | attrs}))
    refused(broken, r"^broken\.zarr: broken attribute")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("embeddings/image", np.ones((252, 8, 1), np.float32)),
        ("embeddings/image", np.ones((251, 8), np.float32)),
        ("embeddings/image", np.ones((252, 8), np.int64)),
        ("expression", np.ones((252, 12), np.int64)),
        ("genes/symbol", np.ones(12)),
        ("spots/x", np.array(["1"] * 252)),
        ("encoders/image", np.ones(9)),
        ("genes/panel", np.ones(12)),
    ],
)
def test_arrays_of_another_kind(broken: Path, name: str, values: Any) -> None:
    rewrite(broken, name, values)
    refused(broken, rf"^broken\.zarr: {name} (holds|has shape)")


@pytest.mark.parametrize(
    "attrs", [{"px": 0}, {"px": 10**9}, {"mpp": float("nan")}, {"scales": ["x"]}, {"scales": None}]
)
def test_a_signature_of_impossible_numbers(tmp_path: Path, attrs: dict[str, Any]) -> None:
    with zipfile.ZipFile(GOLDEN / "bundle-1.3.zarr.zip") as archive:
        archive.extractall(tmp_path / "ref.zarr")
    reattr_array(tmp_path / "ref.zarr", "signature/tiles", **attrs)
    seal(tmp_path / "ref.zarr")
    refused(tmp_path / "ref.zarr", "signature do not fit together", lambda bundle: bundle.signature())
