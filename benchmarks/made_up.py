"""What the benchmarks run on: slides and references of any size, made of the demo's pixels and towers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset
from bleep_cli.bundle.contents import BundleArrays, BundleInfo, SectionRecord
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.types import F32, I64, U8, TileSpec

MPP = 0.5
NATIVE_PX = 256
ISLAND_PX = 4096  # edge of one piece of tissue; a multiple of a tile of the coarsest level
STEPS = (1, 4, 16)


def write_slide(
    path: Path, side: int, *, islands: int | None = None, seed: int = 0, steps: Sequence[int] = STEPS
) -> Path:
    """A side × side px pyramid (levels 1, 4, 16, or ``steps``; 256 px JPEG tiles; 0.5 µm/px) of the demo slide,
    repeated.

    With ``islands`` there are only that many pieces of ``ISLAND_PX``² of it, scattered; all other tiles are never
    written (white), so that the file stays small at any size.
    """
    with tifffile.TiffFile(asset(DEMO_SLIDE)) as source:
        stored = dict(zip(STEPS, (page.asarray() for page in source.pages), strict=False))
    levels = [stored[step] if step in stored else _smaller(stored[1], step) for step in steps]
    cells = max(1, side // ISLAND_PX)
    where = np.ones((cells + 1, cells + 1), bool)
    if islands is not None:
        where[:] = False
        chosen = np.random.default_rng(seed).permutation(cells * cells)[:islands]
        where[chosen // cells, chosen % cells] = True
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level, step in zip(levels, steps, strict=True):
            writer.write(
                _tiles(level, side // step, where, ISLAND_PX // step),
                shape=(side // step, side // step, 3),
                dtype=np.uint8,
                tile=(NATIVE_PX, NATIVE_PX),
                photometric="ycbcr",
                compression="jpeg",
                compressionargs={"level": 80},
                subfiletype=int(step > 1),
                resolution=(1e4 / (MPP * step), 1e4 / (MPP * step)),
                resolutionunit="CENTIMETER",
            )
    return path


def _smaller(picture: U8, step: int) -> U8:
    """The mean of every ``step`` × ``step`` pixels."""
    return np.asarray(Image.fromarray(picture).reduce(step))


def _tiles(level: U8, side: int, where: np.ndarray, island: int) -> Iterator[U8 | None]:
    for y in range(0, side, NATIVE_PX):
        for x in range(0, side, NATIVE_PX):
            if where[y // island, x // island]:
                rows = np.arange(y, y + NATIVE_PX) % level.shape[0]
                columns = np.arange(x, x + NATIVE_PX) % level.shape[1]
                yield level[rows[:, None], columns[None]]
            else:  # the writer takes the kind of data from the first tile
                yield None if x or y else np.full((NATIVE_PX, NATIVE_PX, 3), 255, np.uint8)


def write_reference(
    path: Path,
    spots: int,
    genes: int,
    *,
    tower: bytes | None = None,
    spec: TileSpec | None = None,
    vectors: F32 | None = None,
    seed: int = 0,
) -> Path:
    """A reference of ``spots`` × ``genes`` made-up counts around real embeddings, keyed by image, one view.

    ``tower`` and its tiles (``spec``) are the demo's unless given; ``vectors`` f32[m, d] are what the spots lie
    around, the demo's image embeddings unless given.
    """
    from scipy import sparse

    demo = open_bundle(asset(DEMO_BUNDLE))
    rng = np.random.default_rng(seed)
    vectors = demo.embeddings("image") if vectors is None else vectors
    around: I64 = rng.integers(0, len(vectors), spots)
    keys = vectors[around] + 0.02 * rng.standard_normal((spots, vectors.shape[1]), np.float32)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    counts = sparse.random(spots, genes, 0.15, format="csr", dtype=np.float32, rng=rng)
    names = np.array([f"GENE{i}" for i in range(genes)])
    spot = np.array([f"S{i}" for i in range(spots)])
    info = BundleInfo(
        tile=spec or demo.info.tile,
        sections=(SectionRecord("made-up", "0" * 64, "nobody", spots),),
        views=1,
        recommended_views=1,
        key="image",
    )
    arrays = BundleArrays(
        image_embeddings=keys,
        expression_embeddings=keys,
        expression=counts,
        symbols=names,
        gene_ids=names,
        panel=np.arange(min(genes, len(demo.panel))),
        section=np.full(spots, "made-up"),
        barcode=spot,
        donor=np.full(spots, "nobody"),
        xy_l0=rng.random((spots, 2)),
        image_tower=tower or demo.tower("image"),
        expression_tower=demo.tower("expression"),
    )
    write_bundle(path, info, arrays, force=True)
    return path
