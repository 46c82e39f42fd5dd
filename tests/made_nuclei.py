"""Made-up tissue whose scale can be seen: nuclei of one size, strewn over stroma."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.signatures.tiles import SCALES
from bleep_cli.types import Section

STROMA, NUCLEUS = (224, 170, 205), (92, 62, 150)
FINE = 4  # drawn so many times as fine, then averaged: edges as an objective gives them


def tissue(
    seed: int, *, mpp: float = 0.5, um: tuple[int, int] = (600, 500), nucleus_um: float = 8.0
) -> Image.Image:
    """RGB of (width, height) ``um``: ellipses of about ``nucleus_um`` µm on stroma that is mottled over 60 µm."""
    rng = np.random.default_rng(seed)
    width, height = (round(side / mpp) for side in um)
    coarse = rng.normal(0, 12, (um[1] // 60 + 2, um[0] // 60 + 2)).clip(-30, 30) + 128
    mottle = Image.fromarray(coarse.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    shade = np.asarray(mottle, np.float32)[..., None] - 128
    image = Image.fromarray(
        np.clip(np.array(STROMA) + shade + rng.normal(0, 2, (height, width, 3)), 0, 255).astype("u1")
    )
    cover = Image.new("L", (width * FINE, height * FINE))
    draw = ImageDraw.Draw(cover)
    count = round(um[0] * um[1] / 300)
    for x, y, long, thin in zip(
        rng.uniform(0, um[0], count),
        rng.uniform(0, um[1], count),
        rng.normal(1, 0.1, count),
        rng.normal(0.8, 0.1, count),
        strict=True,
    ):
        a, b = nucleus_um / 2 * long, nucleus_um / 2 * thin
        box = [(x - a) / mpp * FINE, (y - b) / mpp * FINE, (x + a) / mpp * FINE, (y + b) / mpp * FINE]
        draw.ellipse(box, fill=230)
    image.paste(Image.new("RGB", image.size, NUCLEUS), mask=cover.reduce(FINE))
    return image


def checks(seed: int, *, mpp: float = 0.5, um: tuple[int, int] = (600, 500)) -> Image.Image:
    """What is no tissue: a chessboard of the same colours, 20 µm a field, turned by ``seed`` µm."""
    y, x = np.mgrid[0 : round(um[1] / mpp), 0 : round(um[0] / mpp)] * mpp + seed
    odd = ((x // 20).astype(int) + (y // 20).astype(int)) % 2 == 1
    return Image.fromarray(np.where(odd[..., None], STROMA, NUCLEUS).astype("u1"))


def section(
    path: Path, image: Image.Image, mpp: float, name: str, donor: str = "D1", pitch_um: float = 100.0
) -> Section:
    """``image``, written losslessly to ``path``, as a section with a spot every ``pitch_um``."""
    image.save(path)
    x, y = (np.arange(pitch_um / 2, side * mpp, pitch_um) / mpp for side in image.size)
    xy = np.stack(np.meshgrid(x, y), axis=2).reshape(-1, 2)
    none = np.empty(0, str)
    return Section(name, donor, name, None, none, none, np.arange(len(xy)).astype(str), xy, str(path), mpp)


def small_signature(n: int = 12, sections: int = 1) -> Signature:
    """A signature of ``n`` tiles in 4 of 6 features, by numbers that mean nothing."""
    rng = np.random.default_rng(3)
    basis = np.linalg.qr(rng.normal(size=(6, 4)))[0].astype(np.float32)
    return Signature(
        tiles=rng.normal(size=(len(SCALES), n, 4)).astype(np.float16),
        rest=rng.uniform(0, 1, (len(SCALES), n)).astype(np.float32),
        section=np.sort(np.arange(n) % sections),
        mean=rng.normal(size=6).astype(np.float32),
        basis=basis,
        scales=SCALES,
        px=112,
        mpp=1.5,
        backbone_sha256="00",
    )
