"""A label is of a colour that tissue never has: no picture of any output, and no piece of the viewer, shows it."""

from __future__ import annotations

import base64
import io
import re
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image, UnidentifiedImageError

from bleep_cli import api
from bleep_cli.cli import app
from bleep_cli.slide.open import open_slide
from bleep_cli.viewer.pyramid import Pyramid

LABEL = (0, 255, 40)
NEAR = 48  # levels of a colour that JPEG and a figure's scaling may change it by
MPP = 4.0
BASE64 = re.compile(rb"[A-Za-z0-9+/]{200,}={0,2}")


def shows_label(pixels: np.ndarray) -> bool:
    """Whether any of [..., 3 or 4] pixels is of the label's colour."""
    return bool((np.abs(pixels[..., :3].astype(int) - LABEL).max(axis=-1) <= NEAR).any())


@pytest.fixture(scope="module", params=["half the size", "the same size", "labels that say so"])
def slide(request: pytest.FixtureRequest, query_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plain TIFF with a label that poses as a smaller copy, or as a second picture, and one that says what it
    is."""
    picture = tifffile.imread(query_slide)
    height, width = picture.shape[:2]
    half, whole = np.zeros((height // 2, width // 2, 3), np.uint8), np.zeros((height, width, 3), np.uint8)
    half[:], whole[:] = LABEL, LABEL
    path = tmp_path_factory.mktemp("labelled") / "labelled.tif"
    per_cm = (10_000 / MPP, 10_000 / MPP)
    with tifffile.TiffWriter(path) as file:
        tiled = {"photometric": "rgb", "metadata": None, "tile": (32, 32)}
        file.write(picture, **tiled, resolution=per_cm, resolutionunit="CENTIMETER")
        if request.param == "half the size":
            file.write(half, **tiled, subfiletype=1)
        elif request.param == "the same size":
            file.write(whole[: height // 3], **tiled)
        else:
            file.write(half, **tiled, subfiletype=1, description="label 1x1")
            file.write(half, **tiled, subfiletype=9)
        file.write(half[:40, :60], photometric="rgb", metadata=None, description="Label of the slide")
    return path


def pictures(path: Path) -> Iterator[np.ndarray]:
    """Every picture u8[h, w, 3 or 4] that a file or a store holds."""
    if path.suffix == ".h5ad":
        yield from (np.asarray(s["images"]["hires"]) for s in anndata.read_h5ad(path).uns["spatial"].values())
    elif path.suffix == ".zarr":
        for _, node in zarr.open_group(path, mode="r").members(max_depth=None):
            if isinstance(node, zarr.Array) and node.ndim == 3 and node.dtype == np.uint8:
                values = np.asarray(node[...])
                yield values if values.shape[-1] in (3, 4) else np.moveaxis(values, 0, -1)
    elif path.suffix == ".png":
        yield np.asarray(Image.open(path).convert("RGB"))
    else:
        for packed in BASE64.findall(path.read_bytes()):
            data = base64.b64decode(packed + b"==")
            with suppress(UnidentifiedImageError, zlib.error):
                yield np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def test_the_colour_is_seen_where_it_is(slide: Path, tmp_path: Path) -> None:
    with tifffile.TiffFile(slide) as file:
        label, tissue = file.pages[-1].asarray(), file.pages[0].asarray()
    assert shows_label(label) and not shows_label(tissue)
    Image.fromarray(label).save(tmp_path / "label.png")
    (tmp_path / "page.html").write_bytes(base64.b64encode((tmp_path / "label.png").read_bytes()))
    Image.fromarray(label).resize((20, 20)).save(tmp_path / "label.jpg", quality=80)
    assert all(
        shows_label(picture) for name in ("label.png", "page.html") for picture in pictures(tmp_path / name)
    )
    assert shows_label(np.asarray(Image.open(tmp_path / "label.jpg")))


@pytest.mark.slow
def test_no_output_shows_a_label(slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    def bleep(*words: object) -> None:
        assert not app([str(word) for word in words], standalone_mode=False)

    out = tmp_path / "out"
    formats = "h5ad,zarr,png,spatialdata,html,geojson,csv,parquet"
    bleep("predict", slide, "--ref", small_bundle, "--format", formats, "--device", "cpu", "-o", out)
    bleep("report", out / "labelled.h5ad", "-o", out / "again.html")
    bleep("plot", out / "labelled.h5ad", "--genes", "GENE1,GENE2", "-o", out / "figure.png")
    bleep("plot", out / "labelled.h5ad", "--genes", "GENE1", "-o", out / "figure.svg")
    bleep("qc", slide, "--ref", small_bundle, "-o", out / "qc.png")
    found = {path.name: list(pictures(path)) for path in sorted(out.iterdir())}
    assert {name for name, held in found.items() if held} == {
        *("labelled.h5ad", "labelled.zarr", "labelled.bleep.png", "labelled.spatialdata.zarr", "labelled.html"),
        *("again.html", "figure.png", "figure.svg", "qc.png"),
    }
    assert {name for name, held in found.items() if any(map(shows_label, held))} == set()


def test_no_piece_of_the_viewer_shows_a_label(slide: Path) -> None:
    with closing(open_slide(slide)) as opened:
        pyramid = Pyramid(opened)
        for level in range(pyramid.last_level + 1):
            width, height = pyramid.size(level)
            for x in range(-(-width // 512)):
                for y in range(-(-height // 512)):
                    assert not shows_label(pyramid.pixels(level, x, y))


@pytest.mark.slow
def test_the_page_of_compared_groups_holds_no_picture_of_a_slide(
    slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    rows = ["slide,patient,group"]
    prediction = api.Predictor(small_bundle).predict(slide)
    for place in range(4):
        api.write(replace(prediction, slide_id=f"p{place}"), tmp_path / f"p{place}.h5ad")
        rows.append(f"p{place},p{place},{'ab'[place % 2]}")
    (tmp_path / "groups.csv").write_text("\n".join(rows))
    api.compare_groups(sorted(tmp_path.glob("*.h5ad")), tmp_path / "groups.csv", tmp_path / "out")
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".html", ".csv"}
    assert list(pictures(tmp_path / "out" / "comparison.html")) == []
