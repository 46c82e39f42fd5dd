"""TIFF slides, altered: opened and read at two scales."""

from __future__ import annotations

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from doors import Samples
from slide_files import RES, stained

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide

COMPRESSIONS = ("jpeg", "lzw", "deflate", "zstd", None)


class Slides(Samples):
    """Pyramids and single pictures, in tiles and strips, of every usual compression."""

    def __init__(self, folder: Path) -> None:
        picture = stained()
        for compression in COMPRESSIONS:
            options: dict[str, Any] = {"photometric": "rgb", "metadata": None, "compression": compression} | RES
            with tifffile.TiffWriter(folder / f"{compression}.tif") as file:
                file.write(picture, tile=(64, 64), subifds=1, **options)
                file.write(picture[::2, ::2], tile=(64, 64), subfiletype=1, **options)
        tifffile.imwrite(folder / "strips.tif", picture, photometric="rgb", rowsperstrip=16, **RES)
        tifffile.imwrite(folder / "a.ome.tif", picture, photometric="rgb", metadata={"axes": "YXS"}, **RES)
        files = {path: partial(self._read, path) for path in folder.iterdir()}
        super().__init__(folder, files, SlideError)

    @staticmethod
    def _read(path: Path) -> None:
        with closing(open_slide(path, 0.5)) as slide:
            width, height = slide.size_l0
            size = (min(width, 64), min(height, 64))
            for out in (size, (16, 16)):
                pixels = slide.read((0.0, 0.0), size, out)
                assert pixels.dtype == np.uint8 and pixels.shape == (*out[::-1], 3)


door = Slides
