"""A Visium folder made of the demo's slide, 1 µm per pixel: 2400 × 1800 px, spots 100 µm apart over its tissue."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import io, sparse

from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.mask import find_tissue

ROOT = Path(__file__).parents[1]
SIZE = (2400, 1800)
HIRES, LOWRES = 0.5, 0.125
GENES = 6


@dataclass(frozen=True)
class Sample:
    """The full-resolution picture and the array over it."""

    picture: Image.Image
    """2400 × 1800 px."""
    row: np.ndarray
    """i64[n] of every spot of the array on the picture."""
    column: np.ndarray
    """i64[n]"""
    xy: np.ndarray
    """f64[n, 2] (x, y) px."""
    inside: np.ndarray
    """bool[n] on tissue."""


def made_sample() -> Sample:
    """The demo's slide under an array of Visium."""
    slide = open_slide(ROOT / "artifacts" / "demo-slide.tif")
    try:
        whole = slide.read((0.0, 0.0), tuple(map(float, slide.size_l0)), SIZE)
        mask = find_tissue(slide)
    finally:
        slide.close()
    row, column = np.mgrid[0:20, 0:47].reshape(2, -1)
    on_array = (row + column) % 2 == 0
    row, column = row[on_array], column[on_array]
    xy = np.stack([30.0 + 50.0 * column, 40.0 + 50.0 * np.sqrt(3) * row], axis=1)
    x, y = (xy * 2 * mask.ground.scale).astype(int).T  # the mask's scale is of the slide's own pixels, 0.5 µm
    return Sample(Image.fromarray(whole), row, column, xy, mask.tissue[y, x])


def write_visium(folder: Path, sample: Sample, *, factors: dict[str, Any] | None = None) -> Path:
    """``outs`` with counts, positions, scale factors and the small pictures; ``factors`` in place of the usual."""
    outs = folder / "outs"
    spatial, matrix = outs / "spatial", outs / "filtered_feature_bc_matrix"
    spatial.mkdir(parents=True)
    matrix.mkdir()
    names = [f"SPOT{i:04d}-1" for i in range(len(sample.xy))]
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"]
    table = zip(names, sample.inside, sample.row, sample.column, sample.xy, strict=True)
    rows += [f"{name},{int(inside)},{r},{c},{y},{x}" for name, inside, r, c, (x, y) in table]
    (spatial / "tissue_positions.csv").write_text("\n".join(rows) + "\n")
    usual = {"tissue_hires_scalef": HIRES, "tissue_lowres_scalef": LOWRES, "spot_diameter_fullres": 65.0}
    (spatial / "scalefactors_json.json").write_text(json.dumps(usual if factors is None else factors))
    for name, scale in (("hires", HIRES), ("lowres", LOWRES)):
        resized(sample, scale).save(spatial / f"tissue_{name}_image.png", compress_level=1)
    counts = np.random.default_rng(3).poisson(60, (int(sample.inside.sum()), GENES))
    with gzip.open(matrix / "matrix.mtx.gz", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(counts.T), field="integer")
    features = "".join(f"ENSG{i:011d}\tGENE{i}\tGene Expression\n" for i in range(GENES))
    (matrix / "features.tsv.gz").write_bytes(gzip.compress(features.encode()))
    there = "".join(f"{name}\n" for name, inside in zip(names, sample.inside, strict=True) if inside)
    (matrix / "barcodes.tsv.gz").write_bytes(gzip.compress(there.encode()))
    return outs


def resized(sample: Sample, scale: float) -> Image.Image:
    """A smaller copy of the picture."""
    size = (round(SIZE[0] * scale), round(SIZE[1] * scale))
    return sample.picture.resize(size, Image.Resampling.BOX)


def write_cohort_of(folder: Path, image: str, *lines: str, source: str = 'spaceranger = "outs"') -> Path:
    """A cohort file of one section, "v"."""
    table = ["[[section]]", 'id = "v"', 'donor = "d"', f'image = "{image}"', source, *lines]
    path = folder / "cohort.toml"
    path.write_text("\n".join(table) + "\n", encoding="utf-8")
    return path
