"""The signature of a reference's sections, and of those that it grows by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bleep_cli.bundle.learned.signature import Signature, projected
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.signatures.tiles import (
    PX,
    SCALES,
    TileShape,
    backbone_sha256,
    evenly,
    read_tiles,
    shipped_features,
    signature_mpp,
    spread,
)
from bleep_cli.tiles.section import section_slide
from bleep_cli.towers.levels import LEVEL_DIMS
from bleep_cli.types import F32, I64, Progress, Section, TileSpec, no_progress

TILES = 128  # of all sections, while these are few
LEAST_TILES, MOST_TILES = 8, 32  # of one section
COMPONENTS = 64
COARSEST = 3.0  # µm per pixel up to which an image shows what tissue is made of
FINE_ENOUGH = 1.25  # how much coarser than half a tile's mpp an image may be


def signature_or_why(
    sections: Sequence[Section], spec: TileSpec, progress: Progress = no_progress
) -> tuple[Signature | None, tuple[Finding, ...]]:
    """The signature of the sections, with tiles around their spots; or None, and the finding that says why.

    Sections that are much coarser than most have no part in it.
    """
    try:
        mpps = [_mpp(section) for section in sections]
        middle = float(np.median(mpps))
        if middle > COARSEST:
            return None, (_missing(f"images of {middle:.3g} µm/px are too coarse for it"),)
        return _made(sections, mpps, signature_mpp(middle, spec.um[0]), progress), ()
    except (ReferenceError, UsageError) as error:  # embedded elsewhere, or an installation without the backbone
        return None, (_missing(error.text),)


def _missing(why: str) -> Finding:
    return Finding("signature-missing", f"the scale of slides will not be checked: {why}")


def _made(sections: Sequence[Section], mpps: Sequence[float], mpp: float, progress: Progress) -> Signature:
    shape = TileShape(PX, mpp)
    section, features = _features(sections, mpps, shape, SCALES, progress)
    flat = features.reshape(-1, features.shape[2])
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    basis = _components(flat - mean)
    tiles, rest = projected(features, mean, basis)
    return Signature(
        tiles=tiles.astype(np.float16),
        rest=rest,
        section=section,
        mean=mean,
        basis=basis,
        scales=SCALES,
        px=shape.px,
        mpp=shape.mpp,
        backbone_sha256=backbone_sha256(),
    )


def grow_signature(
    base: Signature | None, sections: Sequence[Section], first: int, progress: Progress = no_progress
) -> Signature | None:
    """The same with tiles of further sections, whose places in ``BundleInfo.sections`` begin at ``first``.

    None stays None: the images of the base are not here. Raises ``ReferenceError`` for an image that cannot be
    used, ``UsageError`` where this installation lacks the backbone.
    """
    if base is None or base.backbone_sha256 != backbone_sha256():
        return base
    shape = TileShape(base.px, base.mpp)
    section, features = _features(sections, [_mpp(s) for s in sections], shape, base.scales, progress)
    tiles, rest = base.project(features)
    return replace(
        base,
        tiles=np.concatenate([base.tiles, tiles.astype(np.float16)], axis=1),
        rest=np.concatenate([base.rest, rest], axis=1),
        section=np.concatenate([base.section, first + section]),
    )


def signature_of_some(base: Signature | None, places: Sequence[int]) -> Signature | None:
    """The same of the sections at ``places`` of ``BundleInfo.sections`` alone, in that order; None where it has no
    tile of them."""
    if base is None:
        return None
    kept = np.isin(base.section, places)
    if not kept.any():
        return None
    number = {place: i for i, place in enumerate(places)}
    section = np.array([number[int(place)] for place in base.section[kept]], np.int64)
    return replace(base, tiles=base.tiles[:, kept], rest=base.rest[:, kept], section=section)


def merged_signature(first: Signature | None, other: Signature | None, places: Sequence[int]) -> Signature | None:
    """``first`` with the tiles of ``other``, whose sections stand at ``places`` of ``BundleInfo.sections``, -1 for
    those that ``first`` has already; ``first`` alone where ``other`` is in another basis, or there is none."""
    if first is None or other is None or not _same_basis(first, other):
        return first
    section = np.array(places, np.int64)[other.section]
    new = section >= 0
    return replace(
        first,
        tiles=np.concatenate([first.tiles, other.tiles[:, new]], axis=1),
        rest=np.concatenate([first.rest, other.rest[:, new]], axis=1),
        section=np.concatenate([first.section, section[new]]),
    )


def _same_basis(a: Signature, b: Signature) -> bool:
    return (
        a.attrs() == b.attrs()
        and a.basis.shape == b.basis.shape
        and bool((a.basis == b.basis).all() and (a.mean == b.mean).all())
    )


def _mpp(section: Section) -> float:
    if section.mpp is not None:
        return section.mpp
    with section_slide(section) as slide:
        return slide.mpp


def _features(
    sections: Sequence[Section],
    mpps: Sequence[float],
    shape: TileShape,
    scales: Sequence[float],
    progress: Progress,
) -> tuple[I64, F32]:
    """The section of each tile, i64[n], and f32[s, n, d] their features at every scale."""
    usable = [i for i, mpp in enumerate(mpps) if mpp <= FINE_ENOUGH * shape.mpp / 2]
    kept = [usable[i] for i in evenly(len(usable), TILES // LEAST_TILES)]
    count = min(MOST_TILES, TILES // max(1, len(kept)))
    extractor, number = shipped_features(), []
    found: list[list[F32]] = [[np.empty((0, sum(LEVEL_DIMS)), np.float32)] for _ in scales]
    for done, place in enumerate(kept):
        progress("signature", done, len(kept))
        section = sections[place]
        chosen = section.xy_l0[spread(section.xy_l0, count)]
        with section_slide(section) as slide:
            for parts, scale in zip(found, scales, strict=True):
                parts.append(extractor.of(read_tiles(slide, chosen, shape, scale)))
        number.append(np.full(len(chosen), place, np.int64))
    progress("signature", len(kept), len(kept))
    return np.concatenate([np.empty(0, np.int64), *number]), np.stack([np.concatenate(parts) for parts in found])


def _components(centred: F32) -> F32:
    """f32[d, p]: the first principal components of f32[m, d], each with its largest entry positive."""
    _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    basis = vectors[:, ::-1][:, : min(COMPONENTS, len(centred))]
    largest = np.abs(basis).argmax(axis=0)
    return np.asarray(basis * np.sign(basis[largest, np.arange(basis.shape[1])]), np.float32)
