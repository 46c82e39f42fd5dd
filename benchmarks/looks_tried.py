"""What was tried so that tiles of a slightly wrong scale or a paler scan are told (docs/reliability.md).

    python benchmarks/looks_tried.py COHORT --home C2,C3,C4 --away C5 [--tiles 90] [--json FILE]

Features of the shipped backbone, and plain statistics, of tiles of 155 µm (and 310 µm around them) are taken of
the sections ``--home``, and of ``--away`` as it is, with its scale stated × 0.7 and × 1.4, and with gamma 0.6; of
the changed ones ``--tiles``. An idea is blocks of numbers, each whitened on the home, whose distances to the ten
nearest tiles are scaled by those of left-out sections; the largest counts. Told are AUROC against the tiles as
they are, and the share of these that is called strange at 5 %.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from side_by_side import report
from strangeness import auroc, powers

from bleep_cli.base.assets import BACKBONE, asset
from bleep_cli.cohort.read import read_cohort
from bleep_cli.fitting.looks import stain_of
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.tiles.shared_fields import FieldReader
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_cli.towers.levels import LEVEL_DIMS, width_scale
from bleep_cli.types import F32, F64, U8, Section, TileSpec

SPEC, BATCH, NEAREST = TileSpec(224, (155.0, 310.0)), 8, 10
Numbers = Mapping[str, F64]
Block = tuple[str, int]  # its numbers and how many of their components
STAIN: Block = ("stain", 6)
IDEAS: dict[str, tuple[Block, ...]] = {
    "128 components of all levels": (("levels", 128), STAIN),
    "256 components": (("levels", 256), STAIN),
    "both fields side by side": (("both fields", 128), STAIN),
    "difference of the fields beside": (("levels", 128), STAIN, ("difference of fields", 64)),
    "power spectrum beside": (("levels", 128), STAIN, ("spectrum", 12)),
    "quantiles of colours beside": (("levels", 128), STAIN, ("quantiles", 18)),
    "quantiles of density beside": (("levels", 128), STAIN, ("density", 7)),
    "correlation of colours beside": (("levels", 128), STAIN, ("colours", 3)),
    "last level but one beside": (("levels", 128), STAIN, ("fine", 48)),
    "last level beside": (("levels", 128), STAIN, ("finest", 32)),
    "half of the components of the last level but one": (("halves", 64), STAIN),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--home", required=True)
    parser.add_argument("--away", required=True)
    parser.add_argument("--tiles", type=int, default=90)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sections = {s.id: s for s in read_cohort(given.cohort, only=[*given.home.split(","), given.away])}
    encoder = OnnxEncoder(asset(BACKBONE).read_bytes(), "cpu")
    home = [numbers(encoder, sections[name]) for name in given.home.split(",")]
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        changed = variants(sections[given.away], Path(folder) / "gamma.png")
        away = {
            name: numbers(encoder, section, given.tiles if name != "as it is" else None)
            for name, section in changed.items()
        }
    rows = [{"idea": idea} | told(home, away, blocks) for idea, blocks in IDEAS.items()]
    report(rows, given.json, home=given.home, away=given.away, tiles=given.tiles)


def variants(section: Section, file: Path) -> dict[str, Section]:
    """The section as it is and changed; the picture of another gamma is written to ``file``."""
    assert section.mpp is not None
    with Image.open(section.image) as opened:
        powers(0.6, 0.6, 0.6)(opened.convert("RGB")).save(file, compress_level=1)
    scales = {f"scale x{scale:g}": replace(section, mpp=section.mpp * scale) for scale in (0.7, 1.4)}
    return {"as it is": section, **scales, "gamma 0.6": replace(section, image=str(file))}


def numbers(encoder: OnnxEncoder, section: Section, most: int | None = None) -> Numbers:
    """f64[n, ...] by name, of the tiles around a section's spots, or of ``most`` of them."""
    with section_slide(section) as slide:
        grid = section_grid(section, slide.mpp, SPEC)
        rows = np.arange(len(grid))
        if most is not None and most < len(rows):
            rows = np.sort(np.random.default_rng(0).permutation(rows)[:most])
        reader, parts = FieldReader(slide, grid), []
        for start in range(0, len(rows), BATCH):
            some = rows[start : start + BATCH]
            tiles = np.empty((len(some), SPEC.px, SPEC.px, 6), np.uint8)
            reader.read(some, tiles)
            near, far = (np.ascontiguousarray(tiles[..., c : c + 3]) for c in (0, 3))
            parts.append((encoder.embed(near), encoder.embed(far), stain_of(tiles), *statistics(near)))
    return named(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def statistics(tiles: U8) -> tuple[F32, F32, F32, F32]:
    """Quantiles of the optical density by colour f32[b, 18] and of its mean over colours f32[b, 7], log power of
    that in half octaves f32[b, 12], and how the colours correlate f32[b, 3]."""
    density = -np.log((tiles.astype(np.float32) + 1) / 256)
    flat, grey = density.reshape(len(tiles), -1, 3), density.mean(axis=3)
    colours = np.quantile(flat, [0.05, 0.25, 0.5, 0.75, 0.95, 0.99], axis=1).transpose(1, 0, 2)
    levels = np.quantile(grey.reshape(len(tiles), -1), [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99], axis=1).T
    window = np.outer(np.hanning(SPEC.px), np.hanning(SPEC.px))
    power = np.abs(np.fft.rfft2((grey - grey.mean(axis=(1, 2), keepdims=True)) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(SPEC.px)[:, None], np.fft.rfftfreq(SPEC.px)[None])
    edges = 0.5 / 2.0 ** np.arange(0, 6.01, 0.5)[::-1]
    bands = [power[:, (radius >= a) & (radius < b)].mean(axis=1) for a, b in pairwise(edges)]
    centred = flat - flat.mean(axis=1, keepdims=True)
    spread = np.einsum("bni,bnj->bij", centred, centred) / centred.shape[1]
    sd = np.sqrt(np.maximum(np.einsum("bii->bi", spread), 1e-9))
    together = (spread / (sd[:, :, None] * sd[:, None]))[:, [0, 0, 1], [1, 2, 2]]
    return colours.reshape(len(tiles), -1), levels, np.log(np.stack(bands, axis=1) + 1e-9), together


def named(near: F32, far: F32, stain: F32, colours: F32, grey: F32, bands: F32, together: F32) -> Numbers:
    """What :data:`IDEAS` call them."""
    scale, ends = width_scale(LEVEL_DIMS), np.cumsum([0, *LEVEL_DIMS])
    near, far = near * scale, far * scale
    found = {"levels": near, "fine": near[:, ends[3] : ends[4]], "finest": near[:, ends[4] :], "stain": stain}
    found |= {"both fields": np.concatenate([near, far], axis=1), "difference of fields": near - far}
    found |= {"quantiles": colours, "density": grey, "spectrum": bands, "colours": together}
    return {name: np.asarray(values, np.float64) for name, values in found.items()}


def told(home: Sequence[Numbers], away: Mapping[str, Numbers], blocks: Sequence[Block]) -> dict[str, Any]:
    """AUROC of every change, and the share of unchanged tiles that are called strange."""
    own, others = [], {name: [] for name in away}  # type: ignore[var-annotated]
    for block in blocks:
        turn = turned(home, block)
        of_home = [turn(section) for section in home]
        left = [
            distances(section, np.concatenate([o for j, o in enumerate(of_home) if j != i]))
            for i, section in enumerate(of_home)
        ]
        middle, far = np.quantile(np.concatenate(left), [0.5, 0.95])
        own.append((np.concatenate(left) - middle) / (far - middle))
        for name, some in away.items():
            others[name].append((distances(turn(some), np.concatenate(of_home)) - middle) / (far - middle))
    bound = np.quantile(np.max(own, axis=0), 0.95)
    scores = {name: np.max(values, axis=0) for name, values in others.items()}
    usual = scores.pop("as it is")
    found = {name: round(auroc(usual, values), 2) for name, values in scores.items()}
    return found | {"strange as it is": f"{(usual > bound).mean():.0%}"}


def turned(home: Sequence[Numbers], block: Block) -> Any:
    """From numbers to a block's whitened components."""
    name, count = block
    if name == "halves":
        parts = [turned(home, (part, count)) for part in ("levels", "fine")]
        return lambda some: np.concatenate([part(some) for part in parts], axis=1)
    every = np.concatenate([section[name] for section in home])
    spread = 1.0 if every.shape[1] > 24 else np.maximum(every.std(axis=0), 1e-6)
    mean = every.mean(axis=0)
    _, size, axes = np.linalg.svd((every - mean) / spread, full_matrices=False)
    kept = min(count, len(every) // 4, int((size > 1e-6 * size[0]).sum()))
    weights = axes[:kept].T / (size[:kept] / np.sqrt(len(every)))
    return lambda some: (some[name] - mean) / spread @ weights


def distances(queries: F64, tiles: F64) -> F64:
    """f64[q]: the mean Euclidean distance to the ten nearest."""
    found = (queries**2).sum(axis=1)[:, None] + (tiles**2).sum(axis=1) - 2 * queries @ tiles.T
    nearest = np.partition(found, NEAREST - 1, axis=1)[:, :NEAREST]
    return np.asarray(np.sqrt(np.maximum(nearest, 0)).mean(axis=1))


if __name__ == "__main__":
    main()
