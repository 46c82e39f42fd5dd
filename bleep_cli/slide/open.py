"""The one slide reader: RGB u8 at any scale, from any slide or picture, in bounded memory.

``open_slide`` looks at the content, not at the extension: vendor formats go to OpenSlide, plain and OME TIFF
to the reader in ``slide/tiff/``, flat pictures to ``flat.py``. What cannot be read for certain is refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bleep_cli.base.hashing import file_identity
from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.slide.facts import Scene
from bleep_cli.slide.look import look
from bleep_cli.slide.mpp import check_mpp, not_taken, overridden, settle_mpp
from bleep_cli.slide.pictures.kept import flat_raster
from bleep_cli.slide.raster import Raster, RasterSlide
from bleep_cli.slide.series import slide_in
from bleep_cli.slide.tiff.raster import TiffRaster, compressions
from bleep_cli.slide.turn import upright
from bleep_cli.slide.vendor import OpenSlideRaster, vendor
from bleep_cli.types import U8, Slide

CACHE_BYTES = 192 << 20
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
OVERVIEW_BAND_PX = 512
GIVEN = "given"
"""Where a pixel size was found that the user gave."""


def open_slide(
    path: str | Path,
    mpp: float | None = None,
    *,
    scene: int | str | None = None,
    mpp_if_unstated: float | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> RasterSlide:
    """Opens a slide, decodes some tiles and looks at their colours.

    Parameters
    ----------
    path
        A slide of a vendor format, a TIFF, OME-TIFF, PNG, JPEG or other picture; a DICOM slide by any of its
        files, or by the folder of its one series.
    mpp
        µm per level-0 pixel; overrides what the file states.
    scene
        Which of the pictures of a file, by its index from 0 or its name; None takes the largest.
    mpp_if_unstated
        µm per level-0 pixel of a file that states none, or none that can be; what a file states goes before it.
    cache_bytes
        Bound of the decoded tiles kept in memory. A flat picture is held decoded besides.

    Raises
    ------
    UsageError
        There is no such file, or ``mpp`` or ``mpp_if_unstated`` is not within 0.05 to 100.
    SlideError
        The file cannot be decoded or would be decoded by guessing; there is no such scene; it states no, an
        absurd or a contradictory pixel size and ``mpp`` is None (the message names ``--mpp``).
    """
    check_mpp(mpp)
    check_mpp(mpp_if_unstated)
    before = file_identity(Path(path))
    path, raster = open_raster(path, scene, cache_bytes)
    try:
        size, source, odd = pixel_size(path.name, raster.facts.chosen, mpp, mpp_if_unstated)
        return RasterSlide(path, raster, size, source, (*raster.facts.findings, *odd), before)
    except BaseException:
        raster.close()
        raise


def open_raster(
    path: str | Path, scene: int | str | None = None, cache_bytes: int = CACHE_BYTES
) -> tuple[Path, Raster]:
    """(the file that was opened, its pixels upright), whatever its pixel size and colours: what ``bleep inspect``
    takes. Its facts hold all findings but those of the pixel size, which ``open_slide`` settles."""
    path = Path(path)
    path, raster = _open_raster(path, scene, cache_bytes)
    try:
        raster = upright(raster)
        found = (*raster.facts.findings, *look(raster))
        raster.facts = replace(raster.facts, findings=tuple(replace(f, where=path.name) for f in found))
        return path, raster
    except BaseException:
        raster.close()
        raise


def pixel_size(
    name: str, scene: Scene, given: float | None, if_unstated: float | None = None
) -> tuple[float, str, tuple[Finding, ...]]:
    """(µm per level-0 pixel, where that was found, what is to be said of it). SlideError where it is not known."""
    if given is not None:
        return given, GIVEN, overridden(name, given, scene.claims)
    try:
        claim = settle_mpp(name, scene.claims, scene.objective)
    except SlideError:
        if if_unstated is None:
            raise
        return if_unstated, GIVEN, ()
    return claim.mpp, claim.source, () if if_unstated is None else not_taken(name, if_unstated, claim)


def refuse_black(slide: Slide) -> None:
    """Raises ``SlideError`` for a slide that is black all over: nothing is predicted on it, or learned of it."""
    black = next((finding for finding in slide.findings if finding.code == "slide-black"), None)
    if black is not None:
        raise SlideError(f"{slide.name}: is black: {black.what}; there is no tissue to be seen")


def _open_raster(path: Path, scene: int | str | None, cache_bytes: int) -> tuple[Path, Raster]:
    try:
        if not path.exists():
            raise UsageError(f"{path.name}: no such file")
        path = slide_in(path) if path.is_dir() else path
        if not path.is_file():
            raise SlideError(f"{path.name}: is not a file; name the slide's file itself")
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise SlideError(f"{path.name}: cannot be opened: {error.strerror}") from None
    if not head:
        raise SlideError(f"{path.name}: is empty")
    if vendor(path) is None and head[:4] in TIFF_MAGICS:
        return path, TiffRaster(path, cache_bytes, scene)
    raster = flat_raster(path) if vendor(path) is None else _vendor_raster(path, head, cache_bytes)
    if scene not in (None, 0, "0"):
        raster.close()
        raise SlideError(f"{path.name}: {option('scene')} {scene} is none of its scenes; it holds one picture")
    return path, raster


def _vendor_raster(path: Path, head: bytes, cache_bytes: int) -> OpenSlideRaster:
    """By OpenSlide, which keeps to itself how a level is compressed: of a TIFF the tags say it."""
    raster = OpenSlideRaster(path, cache_bytes)
    if head[:4] in TIFF_MAGICS:
        known = compressions(path)
        sizes = [(level.width, level.height) for level in raster.levels]
        stored = [
            replace(s, compression=known.get(size, s.compression))
            for s, size in zip(raster.facts.stored, sizes, strict=True)
        ]
        raster.facts = replace(raster.facts, stored=tuple(stored))
    return raster


def read_overview(
    slide: Slide, mpp: float, max_px: int = 8192, stopped: Callable[[], bool] = lambda: False
) -> tuple[U8, float]:
    """The whole slide at about ``mpp``, read in bands.

    Never finer than level 0, and coarser than asked where the longer edge would exceed ``max_px``.
    ``InterruptedError`` after the band at which ``stopped()`` becomes true.

    Returns
    -------
    image : ``u8[h, w, 3]``
        Starts at the slide's corner; its last column and row may reach beyond the slide (white there).
    mpp : float
        Exact µm per pixel of the image, on both axes: ``slide.mpp / mpp`` is its pixels per level-0 pixel.
    """
    width, height = slide.size_l0
    scale = max(mpp / slide.mpp, 1.0, max(width, height) / max_px)
    out = np.empty((math.ceil(height / scale), math.ceil(width / scale), 3), np.uint8)
    for top in range(0, len(out), OVERVIEW_BAND_PX):
        if stopped():
            raise InterruptedError
        band = out[top : top + OVERVIEW_BAND_PX]
        size = (out.shape[1] * scale, len(band) * scale)
        band[:] = slide.read((0.0, top * scale), size, (out.shape[1], len(band)))
    return out, slide.mpp * scale
