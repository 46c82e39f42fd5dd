"""What is said of every tile: strange or not, and whether its neighbours agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_looks import looking
from PIL import Image

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.embedding.embedder import open_embedder, see_grid
from bleep_cli.errors import UsageError
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.picture import write_gene_png
from bleep_cli.outputs.read import open_result
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.prediction.tile_checks import told_of_strange
from bleep_cli.reference.build import build_reference
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.slide.open import open_slide
from bleep_cli.types import Prediction, Section

OPTIONS = PredictOptions(k=5, device="cpu")


@pytest.fixture(scope="module")
def reference(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("looks") / "ref.zarr.zip"
    built = with_reliability(build_reference(small_sections, looking(make_encoders()), device="cpu"))
    write_bundle(path, built.info, built.arrays)
    return path


@pytest.fixture(scope="module")
def dark(query_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The slide stained darker than any section is."""
    pixels = np.asarray(Image.open(query_slide).convert("RGB")).astype(float)
    glass = (pixels > 225).all(axis=2, keepdims=True)
    path = tmp_path_factory.mktemp("dark") / "dark.png"
    Image.fromarray(np.where(glass, pixels, pixels * 0.3).clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="module")
def predicted(reference: Path, query_slide: Path) -> Prediction:
    return Predictor(reference, OPTIONS).predict(query_slide, mpp=4.0)


def test_columns_of_a_slide_that_belongs(predicted: Prediction, reference: Path, query_slide: Path) -> None:
    obs, bundle, grid = predicted.obs, open_bundle(reference), predicted.grid
    stored, embedder = bundle.looks(), open_embedder(bundle, "cpu", "fp32")
    assert stored is not None and stored.around is not None
    with closing(open_slide(query_slide, 4.0)) as slide:
        own = stored.scores(see_grid(embedder, slide, grid, 1)[1])
    score, p = stored.judged(own, grid.centre_l0 * grid.mpp, np.ones(len(grid), bool))
    np.testing.assert_allclose(obs["ood_score"], score, atol=1e-4)
    np.testing.assert_allclose(obs["ood_p"], p, atol=0.02)
    assert not np.allclose(own, score, atol=0.1)
    np.testing.assert_array_equal(obs["ood"], obs["ood_p"] <= 0.05)
    assert np.mean(obs["ood"]) < 0.5
    assert not [finding for finding in predicted.findings if finding.code == "slide-strange"]
    said = predicted.provenance["reliability"]["tiles"]
    assert (said["left_out"], said["rate"]) == ("donor", 0.05)
    assert said["strange"] == pytest.approx(np.mean(obs["ood"]), abs=1e-4)


def test_one_view_is_as_strange_as_eight(reference: Path, query_slide: Path) -> None:
    """Whatever the reference's own embeddings are the mean of."""
    one, eight = (
        Predictor(reference, replace(OPTIONS, views=views)).predict(query_slide, mpp=4.0).obs["ood_score"]
        for views in (1, 8)
    )
    np.testing.assert_allclose(one, eight, atol=1e-5)


def test_neighbours_are_judged(predicted: Prediction, reference: Path) -> None:
    bundle = open_bundle(reference)
    near = bundle.embeddings("expression")[predicted.neighbours.index]
    spread = np.sqrt(((near - near.mean(axis=1, keepdims=True)) ** 2).sum(axis=2).mean(axis=1))
    np.testing.assert_allclose(predicted.obs["neighbour_spread"], spread, atol=2e-3)
    donors = bundle.spots("donor")[predicted.neighbours.index]
    assert predicted.obs["donors_in_neighbours"].tolist() == [len(set(row)) for row in donors]


def test_a_strange_slide_is_told_and_its_tiles_greyed(reference: Path, dark: Path, tmp_path: Path) -> None:
    found = Predictor(reference, OPTIONS).predict(dark, mpp=4.0)
    assert np.mean(found.obs["ood"]) > 0.9
    assert [f.code for f in found.findings if f.severity == "warning"] == ["slide-strange"]
    assert [f["code"] for f in found.provenance["findings"]][-1] == "slide-strange"
    plain = replace(found, obs={k: v for k, v in found.obs.items() if k != "ood"})
    write_h5ad(found, tmp_path / "out.h5ad")
    again = open_result(tmp_path / "out.h5ad")
    np.testing.assert_array_equal(again.obs["ood"], found.obs["ood"])
    for name, one in (("a", found), ("b", again), ("c", plain)):
        write_gene_png(one, "GENE0", tmp_path / f"{name}.png")
    drawn = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert drawn[0] == drawn[1] != drawn[2]


def test_the_command_says_it_and_strict_refuses(reference: Path, dark: Path, tmp_path: Path) -> None:
    def bleep(*more: str) -> subprocess.CompletedProcess[str]:
        command = ["predict", str(dark), "--ref", str(reference), "--mpp", "4", "-o", str(tmp_path), *more]
        whole = [sys.executable, "-m", "bleep_cli.cli", *command]
        return subprocess.run(whole, capture_output=True, text=True, timeout=300, check=False, env=os.environ)

    refused = bleep("--strict", "--format", "h5ad")
    assert refused.returncode == 3 and "look like nothing in the reference" in refused.stderr
    assert not list(tmp_path.iterdir())
    said = bleep("--json", "--format", "h5ad")
    assert said.returncode == 0
    assert json.loads(said.stdout)["strange_tiles"] > 0.9


def test_more_or_fewer_are_called_strange(reference: Path, query_slide: Path) -> None:
    strange = [
        np.mean(Predictor(reference, replace(OPTIONS, ood_rate=rate)).predict(query_slide, mpp=4.0).obs["ood"])
        for rate in (0.01, 0.6)
    ]
    assert strange[0] < strange[1]
    with pytest.raises(UsageError, match="give a share between 0 and 1"):
        PredictOptions(ood_rate=0)


def test_a_bundle_without_looks_says_so(small_bundle: Path, query_slide: Path) -> None:
    found = Predictor(small_bundle, OPTIONS).predict(query_slide, mpp=4.0)
    assert found.provenance["reliability"] == {"per_gene": "not available", "tiles": "not available"}
    assert not {"ood", "ood_p", "ood_score"} & found.obs.keys()
    assert {"neighbour_spread", "donors_in_neighbours"} <= found.obs.keys()


def test_tiles_outside_the_tissue_do_not_count() -> None:
    strange, in_tissue = np.array([True, True, False, False]), np.array([False, False, True, True])
    assert told_of_strange({"ood": strange}, in_tissue, "s") == ()
    assert told_of_strange({"ood": strange}, ~in_tissue, "s")[0].what.startswith("100% of the tiles")
