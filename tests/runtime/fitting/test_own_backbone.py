"""From sections and somebody's ONNX encoder to a bundle; the same sections and encoder give the same bundle."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from made_models import MAP, TOKENS, encoder, saved
from onnx import numpy_helper

import bleep_cli
from bleep_cli.cohort.read import read_cohort
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import embed_sections
from bleep_cli.fitting.backbone import load_backbone
from bleep_cli.fitting.recipe import fit_towers

Cohort = Callable[..., Path]
SETTINGS = 'fields_um = [64, 128]\nlicence = "CC-BY-NC-4.0"\n'


@pytest.fixture(scope="module")
def cohort(write_cohort: Cohort, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("own"), ("st", "tiff"), n_genes=60)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> str:
    """As a person asks for it: a file and two tensors."""
    return f"{saved(tmp_path_factory.mktemp('model'), encoder(11), SETTINGS)}:{MAP},{TOKENS}"


@pytest.fixture(scope="module")
def built(cohort: Path, asked: str) -> bleep_cli.Built:
    return bleep_cli.build_reference(cohort, backbone=asked, views=1, device="cpu")


def test_the_bundle_says_whose_backbone_it_holds(built: bleep_cli.Built) -> None:
    told = built.info.training
    assert told["recipe"] == "closed-form"
    assert told["backbone"] == "own.onnx"
    assert told["backbone_tensors"] == [MAP, TOKENS]
    assert built.info.tile.px == 16
    assert set(built.info.tile.um) <= {64.0, 128.0}
    assert "own.onnx (CC-BY-NC-4.0)" in built.info.licence
    assert any(found.what.startswith("the bundle holds the weights of own.onnx") for found in built.findings)


def test_the_licence_stays_in_the_bundle_and_in_what_grows_from_it(
    built: bleep_cli.Built, write_cohort: Cohort, tmp_path: Path
) -> None:
    bundle = bleep_cli.write(built, tmp_path / "own.zarr")
    more = write_cohort(tmp_path / "more", ("st",), first_seed=5, n_genes=60)
    grown = bleep_cli.write(bleep_cli.grow_reference(bundle, more, device="cpu"), tmp_path / "grown.zarr")
    assert bleep_cli.open_bundle(grown).info.licence == built.info.licence != ""


def test_the_bundle_predicts_what_the_image_shows(
    built: bleep_cli.Built, query_slide: Path, tmp_path: Path
) -> None:
    adata = bleep_cli.predict(query_slide, bleep_cli.write(built, tmp_path / "own.zarr"), device="cpu")
    slide = bleep_cli.open_slide(query_slide)
    tiles = [slide.read(tuple(xy - 20), (40, 40), (8, 8)) for xy in adata.obsm["spatial"]]
    slide.close()
    absorbance = np.array([1 - tile.mean(axis=(0, 1)) / 255 for tile in tiles])
    r = [np.corrcoef(adata.X[:, gene], absorbance[:, gene % 3])[0, 1] for gene in range(6)]
    assert np.median(r) > 0.6


def test_embeddings_are_those_of_the_tower(cohort: Path, asked: str) -> None:
    sections = read_cohort(cohort)
    fitted = fit_towers(sections, load_backbone(asked), views=8, device="cpu")
    through = embed_sections(sections, embedder_of(fitted.encoders.image, "cpu"), fitted.encoders.tile, 8)
    np.testing.assert_allclose(fitted.embed_images(sections)[0], through, atol=2e-4)


def shrunk(model: bytes, factor: float) -> bytes:
    """The same features times a factor."""
    found = onnx.load_model_from_string(model)
    for node in found.graph.node:
        node.output[:] = ["large" if name == "embedding" else name for name in node.output]
    found.graph.initializer.append(numpy_helper.from_array(np.float32(factor), "factor"))
    found.graph.node.append(onnx.helper.make_node("Mul", ["large", "factor"], ["embedding"]))
    return bytes(found.SerializeToString())


def test_it_does_not_matter_how_large_a_networks_numbers_are(cohort: Path, asked: str) -> None:
    """DINOv2's layers vary by a few thousandths, where the shipped network's vary by one: a penalty of one would
    leave nothing of them."""
    sections, backbone = read_cohort(cohort), load_backbone(asked)
    small = replace(backbone, model=shrunk(backbone.model, 1e-3))
    one, other = (fit_towers(sections, b, views=1, device="cpu") for b in (backbone, small))
    assert (one.choice.penalty, one.choice.fields) == (other.choice.penalty, other.choice.fields)
    vectors = [fitted.embed_images(sections)[0] for fitted in (one, other)]
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-3)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"encoders": "folder", "backbone": "own.onnx"}, "backbone goes without encoders"),
        ({"backbone_config": "own.toml"}, "backbone_config says what a backbone takes; name one"),
        ({"backbone": "absent.onnx"}, r"absent\.onnx: no such file"),
    ],
)
def test_what_does_not_go_together(cohort: Path, given: dict[str, str], words: str) -> None:
    with pytest.raises(bleep_cli.UsageError, match=words):
        bleep_cli.build_reference(cohort, **given)  # type: ignore[arg-type]


# --- the same bytes, file by file


def files_of(bundle: Path) -> dict[str, bytes]:
    """Every file of a bundle by its path within."""
    if bundle.is_file():
        return {"": bundle.read_bytes()}
    return {str(f.relative_to(bundle)): f.read_bytes() for f in sorted(bundle.rglob("*")) if f.is_file()}


def assert_same_files(one: Path, two: Path, *, least: int) -> None:
    first, second = files_of(one), files_of(two)
    assert first.keys() == second.keys()
    assert len(first) >= least
    assert [name for name in first if first[name] != second[name]] == []


@pytest.mark.parametrize(("ending", "least"), [(".zarr", 20), (".zarr.zip", 1)])
def test_the_same_sections_and_model_give_the_same_files(
    built: bleep_cli.Built, cohort: Path, asked: str, tmp_path: Path, ending: str, least: int
) -> None:
    again = bleep_cli.build_reference(cohort, backbone=asked, views=1, device="cpu")
    one, two = (bleep_cli.write(b, tmp_path / f"{i}{ending}") for i, b in enumerate((built, again)))
    assert_same_files(one, two, least=least)


def command(*words: object, seed: str) -> None:
    """``bleep`` with the hash seed of a name."""
    environment = {**os.environ, "PYTHONHASHSEED": str(sum(seed.encode()))}
    line = [sys.executable, "-m", "bleep_cli.cli", *map(str, words)]
    subprocess.run(line, check=True, capture_output=True, env=environment)


@pytest.mark.slow
def test_the_shipped_backbone_gives_the_same_files(cohort: Path, tmp_path: Path) -> None:
    """In processes of their own, whose sets and dictionaries are ordered differently."""
    for name in ("one", "two"):
        command("build-reference", cohort, "-o", tmp_path / f"{name}.zarr", "--views", 1, seed=name)
    assert_same_files(tmp_path / "one.zarr", tmp_path / "two.zarr", least=20)


@pytest.mark.slow
def test_real_sections_give_the_same_files(data_dir: Path, tmp_path: Path) -> None:
    """Two sections of her2st."""
    base, cohort = data_dir / "her2st", tmp_path / "cohort.toml"
    tables = [
        f'[[section]]\nid = "{i}"\ndonor = "C"\nmpp = 0.69\nimage = "{base}/images/{i}.jpg"\n'
        f'counts = "{base}/counts/{i}.tsv.gz"\npositions = "{base}/spots/{i}_selection.tsv"\n'
        for i in ("C2", "C5")
    ]
    cohort.write_text("\n".join(tables), encoding="utf-8")
    for name in ("one", "two"):
        command("build-reference", cohort, "-o", tmp_path / f"{name}.zarr", "--views", 1, seed=name)
    assert_same_files(tmp_path / "one.zarr", tmp_path / "two.zarr", least=20)
    assert bleep_cli.open_bundle(tmp_path / "one.zarr").n_spots > 300
