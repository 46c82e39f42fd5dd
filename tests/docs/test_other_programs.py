"""docs/other-programs.md: its table is what the tool prints, its Vitessce configuration fits a result."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import anndata
import numpy as np
import pytest
from project_text import ROOT, text_of

import bleep_cli
from bleep_cli.outputs.formats import FORMATS

PAGE = text_of("docs/other-programs.md")


def block(heading: str) -> str:
    """The first Python block under a heading."""
    return str(re.findall(r"```python\n(.*?)```", PAGE.split(f"## {heading}\n")[1], re.DOTALL)[0])


KNOWN = {"spatialBeta", "featureList"}  # components of Vitessce


@pytest.fixture
def consumers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "pages"))
    return importlib.import_module("consumers")


def test_the_table_is_what_the_tool_prints(consumers: ModuleType) -> None:
    printed = consumers.table()
    assert printed in PAGE, "python tools/pages/consumers.py prints another table"


def test_every_line_names_a_format_and_a_test_that_knows_the_program(consumers: ModuleType) -> None:
    for consumer in consumers.CONSUMERS:
        assert consumer.format in FORMATS
        text = text_of(consumer.test).lower()
        names = (consumer.name, consumer.name.replace("-", "_"), consumer.name.partition(",")[0])
        assert any(name.lower() in text for name in names), f"{consumer.test} does not speak of {consumer.name}"
    shown = {consumer.format for consumer in consumers.CONSUMERS}
    assert shown == set(FORMATS)


@pytest.fixture
def view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(tmp_path)
    exec(compile(block("Vitessce"), "docs/other-programs.md", "exec"), {})
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


NAPARI = """
import os, sys, time
import spatialdata
from napari_spatialdata import Interactive
from qtpy.QtWidgets import QApplication
sdata = spatialdata.read_zarr(sys.argv[1])
interactive = Interactive(sdata, headless=True)
layers = interactive._viewer.layers
for name in (*sdata.images, *sdata.shapes):
    before, end = len(layers), time.monotonic() + 300
    interactive.add_element(element=name, element_coordinate_system="um")
    while len(layers) == before and time.monotonic() < end:  # a thread of its own reads
        QApplication.processEvents()
        time.sleep(0.05)
print([(type(layer).__name__, len(layer.data)) for layer in layers], flush=True)
os._exit(0)  # Qt's own end waits for threads
"""


def test_napari_spatialdata_shows_picture_and_tiles(small_bundle: Path, query_slide: Path, tmp_path: Path) -> None:
    if importlib.util.find_spec("napari_spatialdata") is None:
        pytest.skip("napari-spatialdata is not installed: with Qt, over 1 GB")
    prediction = bleep_cli.Predictor(small_bundle).predict(query_slide)
    store = bleep_cli.write(prediction, tmp_path / "slide.spatialdata.zarr", format="spatialdata")
    environment = os.environ | {"QT_QPA_PLATFORM": "offscreen"}
    command = [sys.executable, "-c", NAPARI, str(store)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    shown = [("Image", len(prediction.hires)), ("Shapes", len(prediction.grid))]
    assert done.stdout.splitlines()[-1] == str(shown), done.stderr


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


def test_its_blocks_open_what_was_written(
    small_bundle: Path, query_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    prediction = bleep_cli.Predictor(small_bundle).predict(query_slide)
    named = replace(prediction, gene_ids=np.array([f"ENSG{i:011d}" for i in range(len(prediction.symbols))]))
    for kind, ending in (("ometiff", ".bleep.ome.tif"), ("cellxgene", ".cellxgene.h5ad")):
        bleep_cli.write(named, Path(f"results/slide{ending}"), format=kind)
    found: dict[str, Any] = {}
    for heading in ("OME-TIFF", "CELLxGENE"):
        exec(compile(block(heading), "docs/other-programs.md", "exec"), found)
    assert len(found["genes"]) == len(found["half"]) == len(prediction.symbols)
    assert set(found["adata"].obs["tissue_ontology_term_id"]) == {"UBERON:0002107"}
