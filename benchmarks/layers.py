"""Anatomical layers as truth where there are no counts: how well predicted markers of a layer tell its spots.

    python benchmarks/layers.py --ref NAME=BUNDLE [--ref ...] --layers FOLDER --images FOLDER --mpp 2.76
                                [--views 1] [--json FILE]

FOLDER of layers holds ``ID.tsv``: a row per layer, a column ``<x>_<y>`` per spot, 1 where the spot is of it;
the image is ``ID.jpg``, spot (x, y) of an array of 33 × 35 at ((x - 1) W / 32, (y - 1) H / 34). A section that
the bundle holds under that id gives the markers: of each layer the ten genes with the largest difference of
mean log1p between the layer's spots and the others. Every other image is predicted at its spots, and the mean
of the predicted markers ranks them: the area under the ROC curve of each layer against the rest, 0.5 by chance.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import rankdata
from side_by_side import report

from bleep_cli import PredictOptions, Predictor, open_bundle
from bleep_cli.api import Bundle
from bleep_cli.types import F32, Bool, Str

MARKERS = 10
COLUMNS, ROWS = 33, 35  # of the array


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", action="append", required=True, metavar="NAME=BUNDLE")
    parser.add_argument("--layers", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--mpp", type=float, required=True)
    parser.add_argument("--views", type=int)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    files = {file.stem: file for file in sorted(given.layers.glob("*.tsv"))}
    rows = []
    for named in given.ref:
        name, _, path = named.partition("=")
        rows += of_bundle(name, open_bundle(path), files, given.images, given.mpp, given.views)
    report(rows, given.json)


def of_bundle(
    name: str, bundle: Bundle, files: dict[str, Path], images: Path, mpp: float, views: int | None
) -> list[dict[str, Any]]:
    """A row per image that the bundle does not hold."""
    sections = set(bundle.spots("section").tolist())
    markers = chosen_markers(bundle, {i: f for i, f in files.items() if i in sections})
    genes = tuple(dict.fromkeys(gene for own in markers.values() for gene in own))
    predictor = Predictor(bundle, PredictOptions(genes=genes, views=views, mpp=mpp))
    rows = []
    for section, file in files.items():
        if section in sections:
            continue
        layers, spots, inside = read_layers(file)
        predicted = at_spots(predictor, images / f"{section}.jpg", spots)
        found = {
            layer: auc(predicted[:, [genes.index(gene) for gene in markers[layer]]].mean(axis=1), inside[i])
            for i, layer in enumerate(layers)
            if layer in markers and inside[i].any()
        }
        mean = float(np.mean(list(found.values())))
        rows.append(
            {"reference": name, "image": section, "spots": len(spots), "mean AUC": round(mean, 3)}
            | {layer: round(value, 3) for layer, value in found.items()}
        )
    return rows


def read_layers(file: Path) -> tuple[list[str], list[tuple[float, float]], Bool]:
    """Names of the layers, places (x, y) of the spots on the array, and bool[layers, spots]."""
    with file.open(encoding="utf-8", newline="") as handle:
        head, *body = csv.reader(handle, delimiter="\t")
    spots = [(float(x), float(y)) for x, _, y in (column.partition("_") for column in head if "_" in column)]
    inside = np.array([[value == "1" for value in row[1:]] for row in body], bool)
    return [row[0] for row in body], spots, inside


def chosen_markers(bundle: Bundle, files: dict[str, Path]) -> dict[str, list[str]]:
    """Of each layer the genes that mark it in the bundle's own sections."""
    if not files:
        raise SystemExit("no section of the bundle has a file of layers: there is nothing to take markers from")
    expression = bundle.expression(None, 1 << 32)
    dense = np.asarray(expression.toarray() if hasattr(expression, "toarray") else expression, np.float32)
    section, barcode = bundle.spots("section"), bundle.spots("barcode")
    layer_of = np.full(len(section), "", dtype=object)
    for name, file in files.items():
        layers, spots, inside = read_layers(file)
        of_spot = {f"{x:g}x{y:g}": layers[int(inside[:, i].argmax())] for i, (x, y) in enumerate(spots)}
        for i in np.flatnonzero(section == name):
            layer_of[i] = of_spot.get(str(barcode[i]), "")
    return {
        str(layer): top(dense, layer_of == layer, (layer_of != layer) & (layer_of != ""), bundle.symbols)
        for layer in sorted(set(layer_of) - {""})
    }


def top(expression: F32, inside: Bool, outside: Bool, symbols: Str) -> list[str]:
    """The genes whose mean is largest inside against outside."""
    difference = expression[inside].mean(axis=0) - expression[outside].mean(axis=0)
    return [str(symbols[i]) for i in np.argsort(-difference, kind="stable")[:MARKERS]]


def at_spots(predictor: Predictor, image: Path, spots: list[tuple[float, float]]) -> F32:
    """log1p f32[spots, genes] at the array's places on an image."""
    from PIL import Image

    with Image.open(image) as opened:
        width, height = opened.size
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        at = Path(folder) / "at.csv"
        with at.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(["barcode", "x", "y"])
            for x, y in spots:
                writer.writerow([f"{x:g}x{y:g}", (x - 1) * width / (COLUMNS - 1), (y - 1) * height / (ROWS - 1)])
        prediction = predictor.predict(image, at=at, progress=False)
    predicted = np.concatenate([block for _, block in prediction.blocks()])
    slot = {str(barcode): i for i, barcode in enumerate(prediction.grid.tile_id)}
    return predicted[[slot[f"{x:g}x{y:g}"] for x, y in spots]]


def auc(score: F32, inside: Bool) -> float:
    """Area under the ROC curve: the chance that a spot inside scores above one outside."""
    ranks, n = rankdata(score)[inside], int(inside.sum())
    return float((ranks.sum() - n * (n + 1) / 2) / (n * (len(score) - n)))


if __name__ == "__main__":
    main()
