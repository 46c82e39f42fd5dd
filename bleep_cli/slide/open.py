"""The one slide reader: RGB u8 at any scale, from any slide or picture, in bounded memory.

``open_slide`` looks at the content, not at the extension: vendor formats go to OpenSlide, plain and OME TIFF
to the reader in ``slide/tiff/``, flat pictures to ``flat.py``. What cannot be read for certain is refused.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from bleep_cli.base.text import file_text
from bleep_cli.errors import SlideError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.slide.flat import FlatRaster
from bleep_cli.slide.mpp import Claim, check_mpp, mpp_or
from bleep_cli.slide.raster import Raster, RasterSlide
from bleep_cli.slide.tiff.raster import TiffRaster
from bleep_cli.slide.vendor import OpenSlideRaster, vendor
from bleep_cli.types import U8, Slide

CACHE_BYTES = 192 << 20
TIFF_MAGICS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
OVERVIEW_BAND_PX = 512

__all__ = ["open_slide", "read_overview"]


def open_slide(
    path: str | Path,
    mpp: float | None = None,
    *,
    mpp_if_unstated: float | None = None,
    cache_bytes: int = CACHE_BYTES,
) -> Slide:
    """Opens a slide and decodes its first tile.

    Parameters
    ----------
    path
        A slide of a vendor format, a TIFF, OME-TIFF, PNG, JPEG or other picture; a DICOM slide by any of its
        files.
    mpp
        µm per level-0 pixel; overrides what the file states.
    mpp_if_unstated
        The same for a file that states none, or none that can be; what a file states goes before it.
    cache_bytes
        Bound of the decoded tiles kept in memory. A flat picture is held decoded besides.

    Raises
    ------
    UsageError
        There is no such file, or ``mpp`` or ``mpp_if_unstated`` is not within 0.05 to 20.
    SlideError
        The file cannot be decoded or would be decoded by guessing; it states no, an absurd or a
        contradictory pixel size and ``mpp`` is None (the message names ``--mpp``).
    """
    check_mpp(mpp)
    check_mpp(mpp_if_unstated)
    path = Path(path)
    raster, claims, objective = _open_raster(path, cache_bytes)
    try:
        findings: tuple[Finding, ...] = ()
        if mpp is None:
            mpp, findings = mpp_or(file_text(path.name), claims, objective, mpp_if_unstated)
        return RasterSlide(path, raster, mpp, findings)
    except BaseException:
        raster.close()
        raise


def _open_raster(path: Path, cache_bytes: int) -> tuple[Raster, tuple[Claim, ...], float | None]:
    """(pixels, claims of the pixel size, objective)."""
    try:
        if not path.exists():
            raise UsageError(f"{path.name}: no such file")
        if not path.is_file():
            raise SlideError(f"{path.name}: is not a file; name the slide's file itself")
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise SlideError(f"{path.name}: cannot be opened: {error.strerror}") from None
    if not head:
        raise SlideError(f"{path.name}: is empty")
    if vendor(path) is not None:
        slide = OpenSlideRaster(path, cache_bytes)
        return slide, slide.claims, slide.objective
    if head[:4] in TIFF_MAGICS:
        tiff = TiffRaster(path, cache_bytes)
        return tiff, tiff.claims, None
    flat = FlatRaster(path)
    return flat, flat.claims, None


def read_overview(slide: Slide, mpp: float, max_px: int = 8192) -> tuple[U8, float]:
    """The whole slide at about ``mpp``, read in bands.

    Never finer than level 0, and coarser than asked where the longer edge would exceed ``max_px``.

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
        band = out[top : top + OVERVIEW_BAND_PX]
        size = (out.shape[1] * scale, len(band) * scale)
        band[:] = slide.read((0.0, top * scale), size, (out.shape[1], len(band)))
    return out, slide.mpp * scale
