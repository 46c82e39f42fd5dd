"""What the tags leave open and only samples can tell: depth, the meaning of a fourth sample, three grey planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import SlideError
from bleep_cli.findings import Finding
from bleep_cli.slide.samples.depth import deep_format
from bleep_cli.slide.samples.pixels import PixelFormat
from bleep_cli.slide.tiff.claims import bits_used
from bleep_cli.slide.tiff.contents import Contents, Picture, is_smaller
from bleep_cli.slide.tiff.ifd import TiffBytes
from bleep_cli.slide.tiff.page import Page
from bleep_cli.slide.tiff.planes import colours_of
from bleep_cli.slide.tiff.tiles import raw_tile, seen
from bleep_cli.types import F64

PLACES = 8  # on each axis, where two pages are compared
PLACE_PX = 4  # of the smaller one
MOST_APART, LEAST_ALIKE = 12.0, 0.9  # of 255 on the mean, and their correlation, for one picture in two sizes

OTHERS_APART, OTHERS_ALIKE = 40.0, 0.5  # of 255, beyond which two pages are two pictures
SAYS_SOMETHING = 3.0  # standard deviation of 255, below which colours are one, and no correlation tells


def told(file: TiffBytes, picture: Picture, pages: Sequence[Page]) -> tuple[list[Page], tuple[Finding, ...]]:
    """The pages of a picture with their formats settled, and what is to be said of that.

    SlideError where the samples are no colours.
    """
    base = pages[0]
    deep = base.dtype.itemsize == 2
    if not (deep or base.doubt):
        return list(pages), ()
    samples = seen(file, pages)
    fmt = base.fmt
    findings: tuple[Finding, ...] = ()
    if deep:
        fmt, findings = deep_format(fmt, samples, bits_used(picture.planes[0], picture.ome))
    if base.doubt == "planes":
        white = fmt.white if deep else 255
        findings += colours_of(file, picture.channels, samples, white)
    if base.doubt == "alpha":
        fmt, finding = _alpha(fmt, samples)
        findings += (finding,)
    like = {"doubt": base.doubt, "model": base.fmt.model}
    settled = [p if {"doubt": p.doubt, "model": p.fmt.model} != like else replace(p, fmt=fmt) for p in pages]
    return settled, findings


def _alpha(fmt: PixelFormat, samples: NDArray[Any]) -> tuple[PixelFormat, Finding]:
    """What a fourth sample without a meaning is: alpha, unless it would hide all of the picture."""
    if samples[:, 3].any() or not samples[:, :3].any():
        what = "its fourth sample, which no tag explains, is taken as alpha"
        return fmt, Finding("alpha-assumed", what)
    what = "its fourth sample, which no tag explains, is 0 everywhere and left out: as alpha it would hide all"
    return replace(fmt, alpha=None), Finding("alpha-assumed", what)


def without_copies(file: TiffBytes, contents: Contents) -> Contents:
    """The contents without scenes that are the largest one made smaller and not marked as that."""
    largest, base = contents.scenes[contents.largest()]
    copies = [
        picture
        for picture, page in contents.scenes
        if picture is not largest
        and is_smaller(base, (page.width, page.height))
        and _same_picture(file, base, page)
    ]
    scenes = tuple(scene for scene in contents.scenes if scene[0] not in copies)
    words = tuple(f"{picture.words()}: the same made smaller, and not marked as that" for picture in copies)
    return replace(contents, scenes=scenes, not_read=contents.not_read + words)


def without_strangers(file: TiffBytes, pages: Sequence[Page]) -> tuple[list[Page], tuple[Finding, ...]]:
    """The pages of a pyramid without those that show something else than its base, such as the label; and what is
    to be said of them."""
    base, *smaller = pages
    kept = [page for page in smaller if not _another_picture(file, base, page)]
    lost = len(smaller) - len(kept)
    told = f"{lost} of its {len(smaller)} smaller copies show another picture, and are not read"
    return [base, *kept], (Finding("levels-left-out", told),) if lost else ()


def _another_picture(file: TiffBytes, base: Page, small: Page) -> bool:
    """Whether two tiled pages clearly differ at some places; what cannot be told is taken as the same."""
    if not (base.tiled and small.tiled) or base.fmt.model != small.fmt.model or base.samples != small.samples:
        return False
    try:
        a, b = _means(file, base, base.width / small.width), _means(file, small, 1.0)
    except SlideError:  # tiles that were never written, or are broken: whoever reads them is told
        return False
    white = 255 if base.dtype.itemsize == 1 else max(a.max(), b.max(), 1.0)
    a, b = a * 255 / white, b * 255 / white
    if np.abs(a - b).mean() > OTHERS_APART:
        return True
    told = min(a.std(), b.std()) > SAYS_SOMETHING
    return told and bool(np.corrcoef(a.ravel(), b.ravel())[0, 1] < OTHERS_ALIKE)


def _same_picture(file: TiffBytes, base: Page, small: Page) -> bool:
    """Whether two pages show the same at some places."""
    if base.fmt.model != small.fmt.model or base.samples != small.samples:
        return False
    a, b = _means(file, base, base.width / small.width), _means(file, small, 1.0)
    brightest = max(a.max(), b.max(), 1e-9)
    if np.abs(a - b).mean() * 255 / brightest > MOST_APART:
        return False
    flat = min(a.std(), b.std()) * 255 / brightest < 1
    return flat or bool(np.corrcoef(a.ravel(), b.ravel())[0, 1] >= LEAST_ALIKE)


def _means(file: TiffBytes, page: Page, scale: float) -> F64:
    """Mean samples f64[n, samples] of small squares at even places; of what lies in their middle's tile."""
    reach = max(1, round(PLACE_PX * scale / 2))
    cols, _ = page.grid
    at = (np.arange(PLACES) + 0.5) / PLACES
    middles = [(int(fx * page.width), int(fy * page.height)) for fy in at for fx in at]
    means, kept = [], {}
    for x, y in middles:
        index = y // page.tile_h * cols + x // page.tile_w
        if index not in kept:
            kept = {index: raw_tile(file, page, index)}  # neighbours come one after the other
        left, top = x % page.tile_w, y % page.tile_h
        part = kept[index][max(0, top - reach) : top + reach, max(0, left - reach) : left + reach]
        means.append(part.reshape(-1, part.shape[2]).mean(axis=0))
    return np.array(means)
