"""The tissue mask of a slide: found by colour, or a user's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.errors import SlideError, option
from bleep_cli.findings import Finding
from bleep_cli.tiles.lay_mask import lay_mask
from bleep_cli.tiles.mask_file.read import read_mask_file
from bleep_cli.tiles.tissue.find import clean
from bleep_cli.tiles.tissue.ground import Ground, survey
from bleep_cli.types import I64, Bool, Slide


@dataclass(frozen=True)
class Mask:
    """Where on a slide tissue is, on a raster over the whole of it."""

    tissue: Bool
    """bool[h, w]"""
    pieces: I64
    """i64[h, w] number of the connected piece, 1, 2, ... by falling area; 0 outside."""
    ground: Ground
    """What the slide shows on the same raster."""
    given: bool = False
    """Whether it is a user's."""
    findings: tuple[Finding, ...] = ()
    """How it was found or read."""


def find_tissue(
    slide: Slide, mask_file: Path | None = None, *, origin: Plane = "auto", classes: Sequence[str] = ()
) -> Mask:
    """The slide's tissue by its colour, or from ``mask_file``, of which ``origin`` and ``classes`` tell.

    Raises ``UsageError`` for a mask file that cannot be read or has other proportions than the slide,
    ``SlideError`` for a slide that cannot be read, shows no tissue, or is not touched by the mask.
    """
    if mask_file is None:
        return _by_colour(slide, survey(slide))
    given = read_mask_file(mask_file, classes)
    ground = survey(slide)
    tissue, findings = lay_mask(slide, ground, given, origin)
    told = (Finding(f.code, f.what, slide.name, f.mend) for f in given.findings)
    return Mask(tissue, label_pieces(tissue), ground, True, (*told, *findings))


def _by_colour(slide: Slide, ground: Ground) -> Mask:
    tissue = clean(ground.stained, ground.um_per_px, ground.ink.where)
    if not tissue.any():
        raise SlideError(
            f"{slide.name}: no tissue found; outline it with {option('mask')}, "
            f"or name the places with {option('at')}"
        )
    inked = ink_in_place(ground)
    findings: tuple[Finding, ...] = ()
    if inked.any():
        share = inked.sum() / (inked | tissue).sum()
        colours = " and ".join(ground.ink.colours)
        what = f"pen ink or paint ({colours}) covers {share:.1%} of what would be tissue and is left out"
        mend = f"outline the tissue with {option('mask')} to keep it"
        findings = (Finding("ink-left-out", what, slide.name, mend),)
    return Mask(tissue, label_pieces(tissue), ground, findings=findings)


def ink_in_place(ground: Ground) -> Bool:
    """Ink that would be taken for tissue, or hides it, bool[h, w]: all but specks of it."""
    whole = clean(ground.stained | ground.ink.where, ground.um_per_px)
    return np.asarray(whole & ground.ink.where, bool)


def label_pieces(tissue: Bool) -> I64:
    """Connected pieces, numbered by falling area (equal areas from the top left)."""
    from scipy import ndimage

    labels, count = ndimage.label(tissue, structure=np.ones((3, 3), int))
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    rank = np.zeros(count + 1, np.int64)
    rank[1 + np.argsort(-area, kind="stable")] = np.arange(1, count + 1)
    return np.asarray(rank[labels], np.int64)
