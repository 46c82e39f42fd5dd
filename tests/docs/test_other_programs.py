"""docs/other-programs.md: the Vitessce configuration that its block makes fits a result."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import anndata
import pytest
from project_text import text_of

import bleep_cli

PAGE = text_of("docs/other-programs.md")
BLOCK = re.findall(r"```python\n(.*?)```", PAGE.split("## Vitessce\n")[1], re.DOTALL)[0]
KNOWN = {"spatialBeta", "featureList"}  # components of Vitessce


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    exec(compile(BLOCK, "docs/other-programs.md", "exec"), {})
    return dict(json.loads(Path("vitessce.json").read_text(encoding="utf-8")))


def test_every_scope_of_a_component_is_defined(view: dict[str, Any]) -> None:
    """What schema 1.0.17 asks of a configuration."""
    assert view["version"] == "1.0.17"
    assert set(view) == {
        *("version", "name", "description", "datasets", "coordinationSpace", "layout", "initStrategy")
    }
    for component in view["layout"]:
        assert set(component) == {"component", "coordinationScopes", "x", "y", "w", "h"}
        assert component["component"] in KNOWN
        assert component["x"] + component["w"] <= 12
        for kind, scope in component["coordinationScopes"].items():
            assert scope in view["coordinationSpace"][kind]
    assert set(view["coordinationSpace"]["dataset"].values()) == {one["uid"] for one in view["datasets"]}
    (file,) = view["datasets"][0]["files"]
    for kind, value in file["coordinationValues"].items():
        assert value in view["coordinationSpace"][kind].values()


def test_the_package_of_vitessce_takes_it(view: dict[str, Any]) -> None:
    vitessce = pytest.importorskip("vitessce", reason="the Python package vitessce is not installed")
    assert vitessce.VitessceConfig.from_dict(view).to_dict()["layout"] == view["layout"]


def test_its_paths_are_those_of_a_result(view: dict[str, Any], small_bundle: Path, query_slide: Path) -> None:
    prediction = bleep_cli.Predictor(small_bundle).predict(query_slide)
    store = bleep_cli.write(prediction, Path("slide.zarr"))
    adata = anndata.read_zarr(store)
    (file,) = view["datasets"][0]["files"]
    assert file["fileType"] == "anndata.zarr"
    assert file["url"].endswith(f"/{store.name}")
    paths = [option["path"] for option in file["options"].values()]
    assert paths == ["X", "obsm/spatial"]
    assert all((store / path).is_dir() for path in paths)
    assert adata.obsm["spatial"].shape == (adata.n_obs, 2)
