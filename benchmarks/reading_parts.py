"""What reading a tile costs, part by part, and what decoding JPEG tiles at a smaller scale could save.

    python benchmarks/reading_parts.py [--side 8192] [--px 112] [--um 155 310 620 1240] [--repeats 7] [--json FILE]

One thread, its CPU time, medians; what is compared runs in turn. A made-up slide of 0.5 µm/px full of tissue is
read as a prediction reads it, once with levels 1, 4, 16 and once with 1, 2, 4, 16: with the second every field
finds a level that is less than twice too fine, which is more than a decoder could give that leaves out the fine
detail of a JPEG tile. Then the parts of the finest field: one of the slide's tiles decoded by imagecodecs (what
``bleep`` uses) and by Pillow at every scale of libjpeg-turbo's, and a tile resampled from both levels.

Last, for usual slides, the share of the resampled pixels of these fields that come from a level at least twice too
fine.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import imagecodecs
import numpy as np
from made_up import NATIVE_PX, write_slide
from PIL import Image
from side_by_side import median, report

from bleep_cli.slide.open import open_slide
from bleep_cli.slide.raster import LEVEL_SLACK
from bleep_cli.tiles.read import reading_order
from bleep_cli.tiles.shared_fields import FieldReader
from bleep_cli.types import Slide, TileGrid, TileSpec

BATCH = 8
PIECES = 40  # of a part in one measurement
STEPS_OF_FOUR, STEPS_OF_TWO = (1, 4, 16), (1, 2, 4, 16)
USUAL = {
    "levels 1, 4, 16 (Aperio, Leica)": (1, 4, 16, 32),
    "levels 1, 2, 4, ... (OME-TIFF, vips, Hamamatsu, MIRAX, Philips)": tuple(2**i for i in range(9)),
    "one level": (1,),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--px", type=int, default=112)
    parser.add_argument("--um", type=float, nargs="+", default=[155.0, 310.0, 620.0, 1240.0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    spec = TileSpec(arguments.px, tuple(arguments.um))
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        slides = {
            steps: write_slide(Path(name) / f"{len(steps)}.tif", arguments.side, steps=steps)
            for steps in (STEPS_OF_FOUR, STEPS_OF_TWO)
        }
        works: dict[str, Callable[[], float]] = {
            f"a tile read, levels {', '.join(map(str, steps))}": lambda path=path: reading(path, spec)
            for steps, path in slides.items()
        }
        works |= parts(slides[STEPS_OF_FOUR], spec)
        found: dict[str, list[float]] = {what: [] for what in works}
        for _ in range(arguments.repeats):
            for what, work in works.items():
                found[what].append(1e6 * work())
    rows = [{"what": what, "cpu_us": median(us, 0), "share": None} for what, us in found.items()]
    rows += [
        {"what": f"too fine, {mpp} µm/px, {words}", "cpu_us": None, "share": too_fine(spec, mpp, steps)}
        for words, steps in USUAL.items()
        for mpp in (0.25, 0.5)
    ]
    report(rows, arguments.json, px=spec.px, um=list(spec.um))


def cpu(work: Callable[[], object], pieces: int) -> float:
    """CPU seconds of one piece of the work."""
    start = time.thread_time()
    for _ in range(pieces):
        work()
    return (time.thread_time() - start) / pieces


def reading(path: Path, spec: TileSpec) -> float:
    """CPU seconds per tile, nothing of the slide decoded before."""
    with closing(open_slide(path)) as slide:
        grid = side_by_side(slide, spec)
        reader, order = FieldReader(slide, grid), reading_order(grid)
        out = np.empty((BATCH, spec.px, spec.px, 3 * len(spec.um)), np.uint8)

        def read() -> None:
            for start in range(0, len(order), BATCH):
                rows = order[start : start + BATCH]
                reader.read(rows, out[: len(rows)])

        return cpu(read, 1) / len(order)


def side_by_side(slide: Slide, spec: TileSpec) -> TileGrid:
    """Tiles over all of a slide."""
    edge = spec.um[0] / slide.mpp
    columns, rows = (int(size / edge) for size in slide.size_l0)
    row, col = np.divmod(np.arange(columns * rows), columns)
    centre = (np.stack([col, row], axis=1) + 0.5) * edge
    names = np.arange(len(row)).astype(str)
    return TileGrid(centre, row, col, names, names, spec, slide.mpp, spec.um[0])


def parts(path: Path, spec: TileSpec) -> dict[str, Callable[[], float]]:
    """What the finest field of a tile is made of."""
    with closing(open_slide(path)) as slide:
        edge = spec.um[0] / slide.mpp
        size = int(np.ceil(edge)) + 8
        fine = Image.fromarray(slide.read((1000, 1000), (size, size), (size, size)))
        native = slide.read((1024, 1024), (NATIVE_PX, NATIVE_PX), (NATIVE_PX, NATIVE_PX))
    stream = imagecodecs.jpeg8_encode(native, level=80)
    half = fine.reduce(2)
    return {
        "one of the slide's tiles decoded by imagecodecs": lambda: cpu(
            lambda: imagecodecs.jpeg8_decode(stream), PIECES
        ),
        **{
            f"... by Pillow, at 1/{scale}": lambda scale=scale: cpu(lambda: by_pillow(stream, scale), PIECES)
            for scale in (1, 2, 4, 8)
        },
        f"a tile resampled from {edge:.0f} px": lambda: cpu(lambda: resampled(fine, edge, spec.px), PIECES),
        f"... from {edge / 2:.0f} px": lambda: cpu(lambda: resampled(half, edge / 2, spec.px), PIECES),
    }


def by_pillow(stream: bytes, scale: int) -> np.ndarray:
    """The picture, decoded at 1/``scale``."""
    picture = Image.open(io.BytesIO(stream))
    picture.draft("RGB", (NATIVE_PX // scale, NATIVE_PX // scale))
    return np.asarray(picture)


def resampled(picture: Image.Image, edge: float, px: int) -> np.ndarray:
    """As the slide reader does."""
    box = (3.5, 3.5, 3.5 + edge, 3.5 + edge)
    return np.asarray(picture.resize((px, px), Image.Resampling.BILINEAR, box=box))


def too_fine(spec: TileSpec, mpp: float, steps: Sequence[int]) -> float:
    """The share of the pixels that are resampled which come from a level at least twice as fine as asked."""
    taken, fine = 0.0, 0.0
    for um in spec.um:
        scale = um / spec.px / mpp
        level = max(step for step in steps if step == 1 or step <= scale * LEVEL_SLACK)
        pixels = (um / mpp / level) ** 2 * (spec.um[0] / um) ** 2  # wide fields are shared
        taken += pixels
        fine += pixels * (scale / level >= 2)
    return round(fine / taken, 2)


if __name__ == "__main__":
    main()
