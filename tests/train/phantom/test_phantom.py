"""The synthetic liver section: its files, its picture, its counts and its truth agree, and come out the same."""

from __future__ import annotations

import csv
import gzip
import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy.io import mmread

from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import OutputError, UsageError
from bleep_train.phantom import files as _phantom_write
from bleep_train.phantom import section as phantom
from bleep_train.phantom.genes import genes, informative_symbols
from bleep_train.phantom.section import (
    PhantomOptions,
    PhantomPaths,
    render_phantom,
    true_expression,
    write_phantom,
    write_phantom_cohort,
)
from bleep_train.phantom.shapes import thin
from bleep_train.phantom.tissue import COMPARTMENTS

OPTIONS = PhantomOptions(seed=3, donor="P1", section_id="P1-S1", size_um=(1400, 1000), spot_pitch_um=60)
SMALL = PhantomOptions(seed=3, donor="P1", section_id="tiny", size_um=(700, 600), mpp=1.0, fold=False)

Counts = NDArray[np.int64]


@pytest.fixture(scope="module")
def section(tmp_path_factory: pytest.TempPathFactory) -> PhantomPaths:
    return write_phantom(tmp_path_factory.mktemp("phantom"), OPTIONS)


def _lines(path: Path) -> list[str]:
    return gzip.decompress(path.read_bytes()).decode().splitlines()


def _counts(paths: PhantomPaths) -> Counts:
    with gzip.open(paths.outs / "filtered_feature_bc_matrix" / "matrix.mtx.gz") as packed:
        return np.asarray(mmread(packed, spmatrix=False).toarray().T, np.int64)


def _log1p(counts: Counts) -> NDArray[np.float64]:
    return np.asarray(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4))


def _spot_truth(paths: PhantomPaths) -> dict[str, NDArray[np.float64]]:
    rows = list(csv.DictReader(_lines(paths.truth_spots)))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name != "barcode"}


def _positions(paths: PhantomPaths) -> list[dict[str, str]]:
    with (paths.outs / "spatial" / "tissue_positions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _brightness(image: NDArray[np.uint8], xy: NDArray[np.float64], half: int = 40) -> NDArray[np.float64]:
    """Mean grey level of the square around each (x, y), NaN outside the image."""
    grey = image.mean(axis=2)
    squares = [grey[max(int(y) - half, 0) : int(y) + half, max(int(x) - half, 0) : int(x) + half] for x, y in xy]
    return np.array([square.mean() if square.size else np.nan for square in squares])


def _correlation(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return np.asarray((a * b).sum(axis=0) / np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0)))


@pytest.mark.slow
def test_same_options_same_bytes(tmp_path: Path) -> None:
    first, second = (write_phantom(tmp_path / name, SMALL).folder for name in ("a", "b"))
    files = sorted(p.relative_to(first) for p in first.rglob("*") if p.is_file())
    assert len(files) == 13
    for name in files:
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert not [p for p in tmp_path.rglob("*") if p.name.startswith(".")]


@pytest.mark.slow
def test_another_seed_or_section_is_another_tissue() -> None:
    pictures = [render_phantom(o) for o in (SMALL, replace(SMALL, seed=4), replace(SMALL, section_id="other"))]
    assert all((pictures[0] != other).mean() > 0.3 for other in pictures[1:])


def test_layout_is_space_rangers(section: PhantomPaths) -> None:
    assert (section.outs / "spatial" / "tissue_positions.csv").read_text().splitlines()[0] == (
        "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"
    )
    matrix = section.outs / "filtered_feature_bc_matrix"
    assert _lines(matrix / "matrix.mtx.gz")[0] == "%%MatrixMarket matrix coordinate integer general"
    barcodes = _lines(matrix / "barcodes.tsv.gz")
    positions = _positions(section)
    assert barcodes == sorted(row["barcode"] for row in positions if row["in_tissue"] == "1")
    assert len({row["barcode"] for row in positions}) == len(positions) > len(barcodes) > 100
    features = [line.split("\t") for line in _lines(matrix / "features.tsv.gz")]
    assert [f[1] for f in features] == [g.symbol for g in genes()]
    assert {f[2] for f in features} == {"Gene Expression"}
    assert _counts(section).shape == (len(barcodes), len(features))
    factors = json.loads((section.outs / "spatial" / "scalefactors_json.json").read_text())
    assert factors["spot_diameter_fullres"] == pytest.approx(110)
    with Image.open(section.outs / "spatial" / "tissue_hires_image.png") as hires:
        assert hires.width == round(2800 * factors["tissue_hires_scalef"])


def test_grid_is_staggered_with_the_pitch_asked_for(section: PhantomPaths) -> None:
    rows = _positions(section)
    row, col = (np.array([int(r[name]) for r in rows]) for name in ("array_row", "array_col"))
    xy = np.array([[float(r["pxl_col_in_fullres"]), float(r["pxl_row_in_fullres"])] for r in rows]) * OPTIONS.mpp
    assert ((row + col) % 2 == 0).all()
    gaps = np.linalg.norm(xy[:, None] - xy[None], axis=2)
    np.fill_diagonal(gaps, np.inf)
    np.testing.assert_allclose(gaps.min(axis=1), OPTIONS.spot_pitch_um, rtol=1e-3)
    assert xy.min() > 0
    assert (xy.max(axis=0) < OPTIONS.size_um).all()


def test_slide_states_mpp_levels_and_that_it_is_synthetic(section: PhantomPaths) -> None:
    with openslide.OpenSlide(section.image) as slide:
        assert slide.dimensions == (2800, 2000)
        assert slide.level_downsamples == pytest.approx((1, 4, 16), rel=0.01)
        assert float(slide.properties["openslide.mpp-x"]) == pytest.approx(0.5)
        assert "SYNTHETIC" in slide.properties["tiff.ImageDescription"]
    with tifffile.TiffFile(section.image) as tiff:
        page = tiff.pages.first
        assert page.is_tiled
        assert page.tags["ResolutionUnit"].value == 3
        assert page.compression == tifffile.COMPRESSION.JPEG
    assert section.image.stat().st_size < 1_300_000
    assert section.truth_grid.stat().st_size < 300_000
    assert "SYNTHETIC" in section.readme.read_text()


def test_spots_lie_on_the_picture_where_the_files_say(section: PhantomPaths) -> None:
    """x is the column and y the row: the slide is wider than high, and so is the grid."""
    image = tifffile.imread(section.image, key=0)
    rows = _positions(section)
    xy = np.array([[float(r["pxl_col_in_fullres"]), float(r["pxl_row_in_fullres"])] for r in rows])
    inside = np.array([r["in_tissue"] == "1" for r in rows])
    level = _brightness(image, xy)
    assert np.median(level[inside]) < 200
    assert np.median(level[~inside]) > 235
    assert image.shape[0] < xy[:, 0].max() < image.shape[1]
    truth = _spot_truth(section)
    bright = _brightness(image, np.column_stack([truth["x"], truth["y"]]), half=48)
    whole = truth["tissue"] > 0.99
    empty = truth["lumen"] + truth["fat"]
    assert _correlation(bright[whole], empty[whole]) > 0.6


def test_zonation_shows_in_the_picture(section: PhantomPaths) -> None:
    image = tifffile.imread(section.image, key=0)
    truth = _spot_truth(section)
    plain = (truth["tissue"] > 0.99) & (truth["hepatocyte"] > 0.97)
    bright = _brightness(image, np.column_stack([truth["x"], truth["y"]]))
    assert _correlation(bright[plain], truth["z"][plain]) > 0.5


def test_counts_follow_the_truth_and_nothing_else(section: PhantomPaths) -> None:
    measured = _log1p(_counts(section))
    told = np.array([g.informative for g in genes()])
    with np.load(section.truth_expression, allow_pickle=False) as truth:
        expected = truth["log1p"].astype(np.float64)
        assert truth["symbols"].tolist() == informative_symbols().tolist()
    follows = _correlation(measured[:, told], expected)
    assert np.median(follows) > 0.7
    by_symbol = dict(zip(informative_symbols().tolist(), follows.tolist(), strict=True))
    for marker in ("CYP3A4", "CYP2E1", "HAL", "ALB", "HAMP", "DCN", "ACTA2", "VWF"):
        assert by_symbol[marker] > 0.6, marker
    z = _spot_truth(section)["z"]
    idle = np.abs(_correlation(measured[:, ~told], np.repeat(z[:, None], (~told).sum(), axis=1)))
    assert (~told).sum() >= 200
    assert idle.mean() < 0.1
    assert idle.max() < 0.35


def test_truth_is_the_same_at_spots_on_the_grid_and_anywhere(section: PhantomPaths) -> None:
    truth = _spot_truth(section)
    symbols, at_spots = true_expression(OPTIONS, np.column_stack([truth["x"], truth["y"]]))
    with np.load(section.truth_expression, allow_pickle=False) as stored:
        np.testing.assert_allclose(at_spots, stored["log1p"], atol=2e-3)
    with np.load(section.truth_grid, allow_pickle=False) as grid:
        assert grid["log1p"].dtype == np.float16
        assert grid["symbols"].tolist() == symbols.tolist()
        _, there = true_expression(OPTIONS, grid["centre_l0"].astype(np.float64))
        np.testing.assert_allclose(there, grid["log1p"], atol=0.02)
    assert all((truth[name] >= 0).all() for name in COMPARTMENTS)
    total = np.sum([truth[name] for name in COMPARTMENTS], axis=0)
    np.testing.assert_allclose(total, 1, atol=1e-3)


def test_markers_sit_in_their_zone(section: PhantomPaths) -> None:
    truth = _spot_truth(section)
    symbols, expected = true_expression(OPTIONS, np.column_stack([truth["x"], truth["y"]]))
    plain = truth["hepatocyte"] > 0.97
    column = {s: expected[:, i] for i, s in enumerate(symbols.tolist())}
    assert np.corrcoef(column["CYP3A4"][plain], truth["z"][plain])[0, 1] > 0.8
    assert np.corrcoef(column["HAL"][plain], truth["z"][plain])[0, 1] < -0.8
    assert np.corrcoef(column["CYP3A4"], column["CYP2E1"])[0, 1] > 0.9
    assert np.corrcoef(column["DCN"], column["COL1A1"])[0, 1] > 0.9
    assert np.corrcoef(column["KRT7"], column["SOX9"])[0, 1] > 0.9


@pytest.mark.slow
def test_donors_differ_in_stain_and_library_size(tmp_path: Path) -> None:
    looks, libraries = [], []
    for donor in ("P1", "P3"):
        paths = write_phantom(tmp_path, replace(SMALL, seed=7, donor=donor, section_id=donor))
        image = tifffile.imread(paths.image, key=0).astype(float)
        tissue = image[image.mean(axis=2) < 215]
        looks.append(tissue.mean(axis=0))
        libraries.append(_counts(paths).sum(axis=1).mean())
    assert np.abs(looks[0] - looks[1]).max() > 8
    assert max(libraries) / min(libraries) > 1.25


def test_gene_table_is_honest(section: PhantomPaths) -> None:
    table = list(csv.DictReader(section.truth_genes.read_text().splitlines()))
    assert len({row["symbol"] for row in table}) == len({row["id"] for row in table}) == len(table) > 300
    assert all(row["id"].startswith(("ENSG00000", "PHANTOM-")) for row in table)
    informative = {row["symbol"] for row in table if row["informative"] == "1"}
    assert {"HAL", "CYP3A4", "VWF", "SOX9", "KRT7", "ANXA4", "ACTA2", "DCN", "PLIN2"} <= informative


@pytest.mark.slow
def test_cohort_is_read_by_the_runtime(tmp_path: Path) -> None:
    cohort = write_phantom_cohort(tmp_path / "c", 5, donors=("A", "B"), size_um=(700, 600))
    text = cohort.read_text()
    assert text.startswith("# SYNTHETIC")
    entries = tomllib.loads(text)["section"]
    assert [e["id"] for e in entries] == ["A-S1", "B-S1"]
    assert all("mpp" not in e and (cohort.parent / e["image"]).is_file() for e in entries)
    first = read_cohort(cohort)[0]
    truth = _spot_truth(phantom._paths(cohort.parent / "A-S1", "A-S1"))
    order = np.lexsort(first.xy_l0.T)
    expected = np.column_stack([truth["x"], truth["y"]])
    np.testing.assert_allclose(first.xy_l0[order], expected[np.lexsort(expected.T)], atol=1e-2)
    with pytest.raises(OutputError, match=r"cohort\.toml"):
        write_phantom_cohort(tmp_path / "c", 5)


def test_nothing_is_overwritten_and_a_failure_leaves_nothing(
    section: PhantomPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="P1-S1"):
        write_phantom(section.folder.parent, OPTIONS)

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(_phantom_write, "write_slide", full)
    with pytest.raises(OutputError):
        write_phantom(tmp_path, SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mpp": 0.0}, "mpp"),
        ({"size_um": (100.0, 900.0)}, "size_um"),
        ({"size_um": (900.0, 9000.0)}, "size_um"),
        ({"spot_diameter_um": 150.0}, "spot_diameter_um"),
        ({"steatosis": 1.5}, "steatosis"),
        ({"section_id": "../up"}, "letters"),
        ({"donor": 'a"b'}, "letters"),
    ],
)
def test_options_out_of_range_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(OPTIONS, **change)


def test_thin_keeps_what_a_walk_in_order_keeps() -> None:
    rng = np.random.default_rng(0)
    xy, radius = rng.uniform(0, 100, (400, 2)), rng.uniform(2, 6, 400)
    kept: list[int] = []
    for i in range(400):
        if all(np.linalg.norm(xy[i] - xy[j]) >= radius[i] + radius[j] for j in kept):
            kept.append(i)
    assert np.flatnonzero(thin(xy, radius)).tolist() == kept
