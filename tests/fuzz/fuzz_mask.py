"""Mask files, altered: GeoJSON, packed, and pictures of several formats."""

from __future__ import annotations

import gzip
import json
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
from doors import Samples
from PIL import Image

from bleep_cli.errors import UsageError
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.read import read_mask_file

SIZE = (40, 30)  # of the mask over the slide, (width, height) px


class Masks(Samples):
    """A mask of every kind."""

    def __init__(self, folder: Path) -> None:
        outline = json.dumps(_geojson()).encode()
        (folder / "m.geojson").write_bytes(outline)
        (folder / "m.geojson.gz").write_bytes(gzip.compress(outline, mtime=0))
        with zipfile.ZipFile(folder / "m.zip", "w") as archive:
            archive.writestr("m.geojson", outline)
        picture = np.zeros((30, 40), np.uint8)
        picture[5:25, 5:35] = 255
        for name in ("m.png", "m.tif", "m.bmp"):
            Image.fromarray(picture).save(folder / name)
        Image.fromarray(picture // 255).convert("P").save(folder / "palette.png")
        files = {path: partial(self._read, path) for path in folder.iterdir()}
        super().__init__(folder, files, UsageError)

    @staticmethod
    def _read(path: Path) -> None:
        mask = read_mask_file(path)
        if isinstance(mask, GeoJson):
            laid = mask.laid(SIZE, 1.0, (0.0, 0.0))
        else:
            mask.fits(SIZE)
            laid = mask.laid(SIZE, 1.0, (0, 0, *SIZE))
        assert laid.dtype == bool and laid.shape == SIZE[::-1]


def _geojson() -> dict[str, object]:
    outer, hole = [[2, 2], [30, 2], [30, 20], [2, 20], [2, 2]], [[5, 5], [9, 5], [9, 9], [5, 9], [5, 5]]
    kinds = [("Polygon", [outer, hole], "Tumor"), ("MultiPolygon", [[hole], [outer]], "Ignore*")]
    features = [
        {
            "type": "Feature",
            "geometry": {"type": kind, "coordinates": rings},
            "properties": {"objectType": "annotation", "classification": {"name": name}},
        }
        for kind, rings, name in kinds
    ]
    return {"type": "FeatureCollection", "features": features}


door = Masks
