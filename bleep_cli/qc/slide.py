"""A slide judged: opened and its tiles laid as for a prediction, then one check after another."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from bleep_cli.base.files.atomic import check_free
from bleep_cli.base.hidden import Hidden
from bleep_cli.base.progress import reporting
from bleep_cli.base.text import counted
from bleep_cli.bundle.open import Bundle, bundle_of
from bleep_cli.choices import MIN_TISSUE, Device, Plane
from bleep_cli.errors import UsageError, option
from bleep_cli.limits import HASHED_UNASKED
from bleep_cli.outputs.anonymous import alias, names_of
from bleep_cli.outputs.picture import write_quality_png
from bleep_cli.prediction.excluded import LeftOut, left_out
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import check_resolution
from bleep_cli.qc.check import Check
from bleep_cli.qc.focus import focus_check
from bleep_cli.qc.stain import stain_check
from bleep_cli.qc.strange import WHY_NOT, beside, strange_check
from bleep_cli.qc.told import Judged, SlideQuality, picture_of, told
from bleep_cli.signatures.scale import check_scale, told_of
from bleep_cli.signatures.tiles import spread
from bleep_cli.slide.open import open_slide, refuse_black
from bleep_cli.tiles.grid import Laid, grid_over_tissue
from bleep_cli.tiles.mask import Mask, find_tissue, ink_in_place
from bleep_cli.tiles.read import read_rows
from bleep_cli.types import I64, Progress, Slide, TileSpec

SPEC = TileSpec(224, (112.0,))
"""Tiles, where no reference says which."""
EMBEDDED, LEAST_EMBEDDED = 200, 64  # tiles that the tower sees once; of eight views each fewer, down to the least
READ = 60  # tiles whose pixels are looked at
SHOWN = 0.5  # of a tile has to be tissue, to look at its focus and stain
INK = {"ink-left-out", "tiles-ink-left-out", "tiles-under-ink"}
NO_REFERENCE = "no reference was given"


def qc(
    slide: Path | str,
    ref: Bundle | Path | str | None = None,
    *,
    ref_sha256: str | None = None,
    ref_key: Path | str | None = None,
    mpp: float | None = None,
    scene: int | str | None = None,
    mask: Path | str | None = None,
    mask_class: Sequence[str] = (),
    origin: Plane = "auto",
    out: Path | str | None = None,
    device: Device = "auto",
    anonymise: bool = False,
    force: bool = False,
    progress: Progress | bool | None = None,
) -> SlideQuality:
    """Judges a slide, with a reference as one that this is to predict.

    What is called as an argument of :func:`bleep_cli.api.predict` is the same; without ``ref`` what takes a
    reference is not judged. ``out`` is a PNG of the slide with its tissue, ink and strange
    tiles, written whole or not at all. With ``anonymise`` the slide is called by its hash, and no file is named.
    Raises ``SlideError`` for a slide that nothing can be predicted on,
    ``ReferenceError``, ``UsageError``, ``DeviceError``, and ``OutputError`` for an ``out`` that exists, unless
    ``force``.
    """
    for name, condition in (("ref_sha256", ref_sha256), ("ref_key", ref_key)):
        if ref is None and condition is not None:
            raise UsageError(f"{option(name)} is of a {option('ref')}; give one")
    if out is not None:
        _check_out(Path(out), force, [Path(file) for file in (slide, mask) if file is not None])
    bundle = None if ref is None else bundle_of(ref, ref_sha256, ref_key)
    if bundle is not None and bundle.nbytes <= HASHED_UNASKED:
        bundle.check_content()
    with reporting(progress, Path(slide).name) as report, closing(open_slide(slide, mpp, scene=scene)) as opened:
        refuse_black(opened)
        outlined = None if mask is None else Path(mask)
        tissue = find_tissue(opened, outlined, origin=origin, classes=mask_class)
        judged = _judged(opened, tissue, bundle, device, report)
        judged = _without_names(judged, opened, (Path(slide), outlined)) if anonymise else judged
    if out is not None:
        write_quality_png(picture_of(judged), Path(out), force=force)
    return told(judged, None if out is None else Path(out))


def _without_names(judged: Judged, slide: Slide, files: tuple[Path, Path | None]) -> Judged:
    """What was found, without the names of the slide and its mask."""
    called, (file, mask) = alias("slide", slide.sha256), files
    names = {name: called for path in (file, Path(slide.name)) for name in names_of(path)}
    hidden = Hidden(names | dict.fromkeys(names_of(mask) if mask else (), "the mask"))
    return judged.hidden(called, hidden)


def _check_out(out: Path, force: bool, inputs: Sequence[Path]) -> None:
    """Before anything is computed: a PNG, and none that it is made of."""
    if out.suffix.lower() != ".png":
        raise UsageError(f"{option('out')} {out.name}: its ending has to be .png")
    if out.exists() and any(file.exists() and out.samefile(file) for file in inputs):
        raise UsageError(f"{option('out')} {out.name} would replace what it is made of; choose another name")
    check_free(out, force)


def _judged(slide: Slide, mask: Mask, bundle: Bundle | None, device: Device, progress: Progress) -> Judged:
    """All checks of an open slide with that tissue."""
    spec = SPEC if bundle is None else bundle.info.tile
    coarse = () if bundle is None else tuple(check_resolution(slide, spec))
    laid = grid_over_tissue(slide, mask, spec, spec.um[0], MIN_TISSUE)
    own = LeftOut() if bundle is None else left_out(bundle.info, PredictOptions(), slide)
    views = 1 if bundle is None else bundle.info.recommended_views
    count = max(EMBEDDED // views, LEAST_EMBEDDED)
    some = laid.grid.subset(spread(laid.grid.centre_l0, count))
    found = None if bundle is None else beside(bundle, slide, some, own.sections, device, progress)
    why_not = NO_REFERENCE if bundle is None else WHY_NOT
    shown, scale = _shown(laid), _scale_check(slide, laid, bundle)
    checks = (
        scale,
        stain_check(slide, read_rows(slide, laid.grid, shown), found, why_not),
        focus_check(slide, laid.grid.centre_l0[shown], known=scale.state != "bad"),
        _tissue_check(slide, mask, laid),
        _ink_check(mask, laid),
        Check("folds", "not judged: no measure here tells them from dense tissue", judged=False),
        strange_check(slide, found, why_not),
    )
    others = (*slide.findings, *coarse, *own.findings, *(f for f in laid.findings if f.code not in INK))
    return Judged(slide.name, slide.mpp, bundle, checks, others, mask, some, found)


def _shown(laid: Laid) -> I64:
    """Some tiles that are tissue for the most part, i64[n]; of all, where none is."""
    clear = np.flatnonzero(laid.obs["on_glass"] + laid.obs["under_ink"] <= 1 - SHOWN)
    rows = clear if len(clear) else np.arange(len(laid.grid))
    return np.asarray(rows[spread(laid.grid.centre_l0[rows], READ)], np.int64)


def _scale_check(slide: Slide, laid: Laid, bundle: Bundle | None) -> Check:
    stated = f"{slide.mpp:.3g} µm/px, {slide.mpp_source}"
    values = {"mpp": slide.mpp, "mpp_source": slide.mpp_source}
    if bundle is None:
        return Check("scale", f"{stated}; not checked: {NO_REFERENCE}", values, judged=False)
    everywhere = np.ones(len(laid.grid), bool)
    found = check_scale(slide, laid.grid, everywhere, bundle.signature(), bundle.info.sections)
    values |= found.plain()
    if found.verdict == "not checked":
        return Check("scale", f"{stated}; not checked: {found.reason}", values, judged=False)
    words = f"{stated}: {found.verdict}, its tissue speaks for {found.low:.2g} to {found.high:.2g}"
    return Check("scale", words, values, tuple(told_of(found, slide)))


def _tissue_check(slide: Slide, mask: Mask, laid: Laid) -> Check:
    area = float(mask.tissue.sum()) * mask.ground.um_per_px**2 / 1e6
    n, um = len(laid.grid), laid.grid.spec.um[0]
    pieces = int(mask.pieces.max())
    words = f"{area:.3g} mm² in {counted(pieces, 'piece')}, {counted(n, 'tile')} of {um:g} µm"
    return Check("tissue", words, {"area_mm2": round(area, 4), "pieces": pieces, "tiles": n})


def _ink_check(mask: Mask, laid: Laid) -> Check:
    """Pen ink, as a share of ink and tissue, and the tiles that it reaches."""
    inked = ink_in_place(mask.ground)
    share = float(inked.sum() / max((inked | mask.tissue).sum(), 1))
    colours = list(mask.ground.ink.colours)
    seen = f"{' and '.join(colours)} ink" if colours else "none seen"
    words = f"{seen}, {share:.1%} of ink and tissue together" if colours else seen
    findings = tuple(finding for finding in laid.findings if finding.code in INK)
    return Check("pen ink", words, {"share": round(share, 4), "colours": colours}, findings)
