"""A mask from QuPath on a slide with bounds, from the command line to the file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata
import numpy as np
import pytest
import tifffile
from slide_files import write_scn

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset

CORNER = (3000, 2000)
FORMATS = "h5ad,geojson"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``a.scn``, a piece of the demo slide within 8000 × 6000 px, and ``mask.geojson`` over its left half."""
    folder = tmp_path_factory.mktemp("qupath")
    piece = tifffile.imread(asset(DEMO_SLIDE), key=0)[1000:2536, 1000:3048]
    write_scn(folder / "a.scn", piece, (8000, 6000), CORNER)

    def drawn(name: str, x: int, width: int) -> dict[str, object]:
        ring = [[x, 0], [x + width, 0], [x + width, 1536], [x, 1536], [x, 0]]
        properties = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}}
        return {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": properties,
        }

    features = [drawn("Tissue", 0, 1024), drawn("Ignore*", 1024, 1024)]
    text = json.dumps({"type": "FeatureCollection", "features": features})
    (folder / "mask.geojson").write_text(text, encoding="utf-8-sig")
    return folder


def predict(files: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--json", "predict", files / "a.scn", "--ref", asset(DEMO_BUNDLE), "-o", out, "--format", FORMATS]
    command = [sys.executable, "-m", "bleep_cli.cli", *arguments, "--mask", files / "mask.geojson", *more]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
def test_the_left_half_is_predicted_where_it_is(files: Path, tmp_path: Path) -> None:
    assert predict(files, tmp_path).returncode == 0
    [written] = tmp_path.glob("*.h5ad")
    adata = anndata.read_h5ad(written)
    x, y = adata.obsm["spatial"].T
    assert x.min() >= CORNER[0] and x.max() <= CORNER[0] + 1024
    assert y.min() >= CORNER[1] and y.max() <= CORNER[1] + 1536
    assert len(adata) in (34, 35)
    assert len(np.unique(adata.X, axis=0)) > len(adata) // 2  # no profile again and again
    assert adata.obs["on_glass"].max() < 0.9 and adata.obs["under_ink"].max() == 0
    assert adata.obs["on_glass"].dtype == np.float32
    tiles = json.loads(written.with_suffix(".bleep.geojson").read_text(encoding="utf-8"))
    assert tiles["bleep"]["origin"] == list(CORNER)  # QuPath opens the slide there
    rings = np.array([tile["geometry"]["coordinates"][0][:4] for tile in tiles["features"]])
    np.testing.assert_allclose(rings.mean(axis=1), adata.obsm["spatial"] - CORNER, atol=0.01)
    found = adata.uns["bleep"]["findings"].values()
    assert [told["code"] for told in found] == ["mask-classes", "plane-taken"]
    options = adata.uns["bleep"]["options"]
    assert options["origin"] == "auto" and len(options["mask_class"]) == 0


@pytest.mark.slow
def test_options_reach_the_mask(files: Path, tmp_path: Path) -> None:
    result = predict(files, tmp_path, "--mask-class", "Ignore*", "--origin", "bounds")
    slide = json.loads(result.stdout.splitlines()[0])  # a line per slide
    assert [told["code"] for told in slide["findings"]] == ["mask-classes", "genes-left-out"]
    adata = anndata.read_h5ad(slide["files"][0])
    assert adata.obsm["spatial"][:, 0].min() > CORNER[0] + 1024
    assert adata.uns["bleep"]["options"]["mask_class"].tolist() == ["Ignore*"]
    refused = predict(files, tmp_path / "none", "--origin", "level0")
    assert refused.returncode == 3
    assert "tiles hold nothing but glass or unscanned pixels" in refused.stderr
    assert "is --origin right, and --mask this slide's?" in refused.stderr
    assert not list((tmp_path / "none").glob("*.h5ad"))
