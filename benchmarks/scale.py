"""How often a slide's wrong scale is found, and a right one doubted (docs/scale-check.md).

    python benchmarks/scale.py DATA [--tiles 48] [--crop 16] [--changes ...] [--only ...] [--json FILE]

DATA is the folder with her2st, her2st-other, mob-2k, mob-animals and slides. Every reference is of some sections,
every slide is one that took no part in it. Slides are weighed whole (up to ``--tiles`` tiles) and in crops of
``--crop`` tiles side by side, as they are and changed: other stains, gamma, JPEG of quality 50, blurred by a pixel
of their own. Told apart are slides of the reference's own tissue (its donor's, or another's), those of them that
are coarser than its images, and slides of other tissue; none should be doubted where its scale is right.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from side_by_side import report

from bleep_cli.bundle.contents import SectionRecord
from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.signatures.make import signature_or_why
from bleep_cli.signatures.scale import ERROR, FINE_ENOUGH, LEAST_TILES, ScaleCheck, Scales
from bleep_cli.signatures.tiles import Features, TileShape, read_tiles, spread
from bleep_cli.slide.open import open_slide
from bleep_cli.slide.raster import Level, RasterSlide
from bleep_cli.tiles.grid import grid_over_tissue
from bleep_cli.tiles.mask import find_tissue
from bleep_cli.types import F32, F64, U8, Section, TileSpec

SCALES = (0.5, 0.7, 1.0, 1.4, 2.0)
RGB = np.arange(256) / 255


@dataclass(frozen=True)
class Source:
    """A slide and its true scale."""

    path: Path
    mpp: float
    tissue: str
    donor: str


@dataclass(frozen=True)
class Trial:
    """A reference, and the slides that it is tried on."""

    name: str
    of: tuple[str, ...]
    um: float
    """Its tiles' smallest field of view."""
    on: tuple[str, ...]


def powers(*exponents: float) -> Callable[[Image.Image], Image.Image]:
    """Every channel to a power: optical density times a factor."""
    table = [round(255 * float(v**exponent)) for exponent in exponents for v in RGB]
    return lambda image: image.point(table)


def jpeg(image: Image.Image) -> Image.Image:
    """Compressed at quality 50."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=50)
    return Image.open(file).convert("RGB")


CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "as it is": lambda image: image,
    "gamma 0.6": powers(0.6, 0.6, 0.6),
    "gamma 1.7": powers(1.7, 1.7, 1.7),
    "bluer stain": powers(1.3, 0.9, 1.1),
    "redder stain": powers(0.75, 1.15, 0.9),
    "JPEG 50": jpeg,
    "blur 1 px": lambda image: image.filter(ImageFilter.GaussianBlur(1)),
}


class Picture:
    """A picture in memory as the raster of a slide."""

    def __init__(self, pixels: U8) -> None:
        self._pixels = pixels
        height, width = pixels.shape[:2]
        self.levels = (Level(width, height, (1.0, 1.0)),)
        self.bounds_l0 = (0, 0, width, height)

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """See :class:`bleep_cli.slide.raster.Raster`."""
        return self._pixels[y : y + h, x : x + w]

    def close(self) -> None:
        """Nothing is open."""


def sources(data: Path, made: Path) -> dict[str, Source]:
    """Every slide by name."""
    found = {s: Source(data / f"her2st/images/{s}.jpg", 0.69, "breast", "C") for s in ("C2", "C3", "C4", "C5")}
    found["A1"] = Source(data / "her2st-other/A1_2000px_masked.png", 3.2, "breast", "A")
    found["J2"] = Source(data / "slides/real/J2_breast_masked_2000px.png", 3.2, "breast", "J")
    found["CMU-1"] = Source(data / "slides/real/CMU-1-Small-Region.svs", 0.499, "skin", "CMU-1")
    found["instanseg"] = Source(data / "slides/real/instanseg_HE_example.tif", 0.5, "unknown", "instanseg")
    animals = {"01": "a", "04": "a", "06": "c", "07": "c", "08": "d", "09": "d"}
    for name, animal in animals.items():
        found[f"bulb {name}"] = Source(data / f"mob-animals/images/{name}.jpg", 2.76, "bulb", animal)
    for name in ("MOB1", "MOB2"):
        found[name] = Source(data / f"mob-2k/{name}.jpg", 4.45, "bulb", "2k")
    for donor in ("P1", "P2", "P4", "P5"):
        found[donor] = Source(phantom(made, donor), 0.5, "phantom", donor)
    return found


def phantom(folder: Path, donor: str) -> Path:
    """A synthetic section, rendered once."""
    from bleep_train.phantom.section import PhantomOptions, render_phantom

    path = folder / f"{donor}.png"
    if not path.exists():
        options = PhantomOptions(seed=7, donor=donor, section_id=f"{donor}-S1", size_um=(1800.0, 1400.0))
        Image.fromarray(render_phantom(options)).save(path)
    return path


BREAST, BULB, PHANTOM = (
    ("C2", "C3", "C4", "C5"),
    ("bulb 01", "bulb 04", "bulb 06", "bulb 09"),
    ("P1", "P2", "P4", "P5"),
)
ABROAD = {
    "breast": ("A1", "J2", "CMU-1", "instanseg", "P4"),
    "bulb": ("bulb 07", "bulb 08", "MOB1", "MOB2", "C5", "A1", "J2"),
    "phantom": ("CMU-1", "instanseg", "C5"),
}


def trials(known: dict[str, Source]) -> Iterator[Trial]:
    """References with one section, animal or donor left out, and of one section; all that is left is tried on."""
    for kind, names, um in (("breast", BREAST, 155.0), ("bulb", BULB, 267.0), ("phantom", PHANTOM, 112.0)):
        for out in names:
            kept = tuple(n for n in names if n != out and (kind == "breast" or known[n].donor != known[out].donor))
            away = tuple(n for n in ABROAD[kind] if known[n].donor not in {known[k].donor for k in kept})
            yield Trial(f"{kind}, {out} left out", kept, um, (out, *away))
    yield Trial("breast, C2 alone", ("C2",), 155.0, ("C3", "C4", "C5", *ABROAD["breast"]))
    yield Trial("CMU-1 alone", ("CMU-1",), 112.0, ("instanseg", "C5", "P4"))
    yield Trial("instanseg alone", ("instanseg",), 112.0, ("CMU-1", "C5", "P4"))


class Slides:
    """Features of slides' tiles, each read once."""

    def __init__(self, known: dict[str, Source], tiles: int) -> None:
        self.known, self._tiles, self._extractor = known, tiles, Features()
        self._kept: dict[tuple[str, float, str, float], F32] = {}

    @cache  # noqa: B019 - lives as long as the benchmark
    def centres(self, name: str) -> F64:
        """Of tiles of 64 µm over the tissue, or 200 µm where the slide is coarse."""
        source = self.known[name]
        slide = open_slide(source.path, source.mpp)
        um = max(64.0, 75 * source.mpp)
        grid = grid_over_tissue(slide, find_tissue(slide), TileSpec(64, (um,)), um, 0.9).grid
        slide.close()
        return grid.centre_l0[spread(grid.centre_l0, self._tiles)]

    def section(self, name: str) -> Section:
        """The slide as a section whose spots lie over its tissue."""
        source, xy, none = self.known[name], self.centres(name), np.empty(0, str)
        barcodes = np.arange(len(xy)).astype(str)
        return Section(name, source.donor, name, None, none, none, barcodes, xy, str(source.path), source.mpp)

    def features(self, name: str, mpp: float, change: str, scale: float) -> F32:
        """f32[m, d] of the slide's tiles, read at ``mpp`` with its scale stated ``scale`` times as large."""
        key = (name, mpp, change, scale)
        if key not in self._kept:
            self._fill(name, mpp, change)
        return self._kept[key]

    def _fill(self, name: str, mpp: float, change: str) -> None:
        source = self.known[name]
        opened = open_slide(source.path, source.mpp)
        width, height = opened.size_l0
        image = Image.fromarray(opened.read((0, 0), (width, height), (width, height)))
        opened.close()
        raster = Picture(np.asarray(CHANGES[change](image)))
        for scale in scales(change):
            slide = RasterSlide(source.path, raster, source.mpp * scale, "stated wrong")
            tiles = read_tiles(slide, self.centres(name), TileShape(112, mpp))
            self._kept[name, mpp, change, scale] = self._extractor.of(tiles)


def scales(change: str) -> tuple[float, ...]:
    """What a slide's mpp is multiplied by."""
    return SCALES if change == "as it is" else (0.5, 1.0, 2.0)


def crops(n: int, size: int) -> list[slice]:
    """All the tiles, and neighbours of that many, half overlapping."""
    return [slice(0, n), *(slice(first, first + size) for first in range(0, n - size + 1, size // 2))]


def reference_of(slides: Slides, trial: Trial) -> tuple[Scales, Signature, str]:
    """A trial's reference, its signature and its tissue."""
    sections = [slides.section(name) for name in trial.of]
    signature, _ = signature_or_why(sections, TileSpec(224, (trial.um,)))
    assert signature is not None
    records = [SectionRecord(s.id, s.sha256, s.donor, len(s.barcodes)) for s in sections]
    return Scales(signature, records), signature, slides.known[trial.of[0]].tissue


def run(slides: Slides, trial: Trial, crop: int, changes: list[str]) -> Iterator[dict[str, Any]]:
    """Every check of a trial."""
    reference, signature, home = reference_of(slides, trial)
    for name in trial.on:
        source = slides.known[name]
        fine = source.mpp <= FINE_ENOUGH * signature.mpp / 2
        tissue = "other" if source.tissue != home else "own" if fine else "own, coarser"
        for change in changes:
            for scale in scales(change):
                stated = source.mpp * scale
                found = slides.features(name, signature.mpp, change, scale)
                for part in crops(len(found), crop):
                    many = len(found[part]) >= LEAST_TILES
                    check = ScaleCheck("not checked")
                    if stated <= FINE_ENOUGH * signature.mpp and many:
                        check = reference.judge(found[part], stated)
                    off = abs(np.log2(check.estimate / source.mpp)) if check.estimate else None
                    yield {
                        "reference": trial.name,
                        "slide": name,
                        "tissue": tissue,
                        "change": change,
                        "scale": scale,
                        "whole": part == slice(0, len(found)),
                        "verdict": check.verdict,
                        "off": off,
                    }


def table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Doubted of all, by the tissue, the change and whether all of the slide was seen; how often the true mpp lies
    between the low and the high of the estimate."""
    groups: dict[tuple[str, str, bool], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        groups[row["tissue"], row["change"], row["whole"]].append(row)
    out = []
    for (tissue, change, whole), some in groups.items():
        line: dict[str, Any] = {"tissue": tissue, "change": change, "seen": "whole" if whole else "crop"}
        for scale in SCALES:
            at = [row["verdict"] for row in some if row["scale"] == scale]
            doubted, silent = at.count("doubtful"), at.count("not checked")
            told = f"{doubted}/{len(at)}" + (f" ({silent} not checked)" if silent else "")
            line[f"x{scale:g}"] = told if at else None
        off = [row["off"] for row in some if row["off"] is not None]
        line["estimate holds"] = f"{sum(o <= np.log2(ERROR) for o in off)}/{len(off)}" if off else None
        out.append(line)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tiles", type=int, default=48)
    parser.add_argument("--crop", type=int, default=16)
    parser.add_argument("--changes", nargs="+", choices=CHANGES, default=list(CHANGES))
    parser.add_argument("--only", nargs="+", help="parts of references' names")
    parser.add_argument("--made", type=Path, help="folder that keeps the synthetic sections")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        slides = Slides(sources(given.data, given.made or Path(folder)), given.tiles)
        for trial in trials(slides.known):
            if given.only and not any(part in trial.name for part in given.only):
                continue
            done = list(run(slides, trial, given.crop, given.changes))
            rows += done
            print(trial.name, file=sys.stderr)
            for line in table(done):
                print("  ", *line.values(), file=sys.stderr)
    report(table(rows), given.json, crop=given.crop)


if __name__ == "__main__":
    main()
