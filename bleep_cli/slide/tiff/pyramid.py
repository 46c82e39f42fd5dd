"""Which directories of a TIFF file are its picture and the same made smaller."""

from __future__ import annotations

from collections.abc import Iterator

from bleep_cli.errors import SlideError
from bleep_cli.slide.raster import CONVERT, level_scale
from bleep_cli.slide.tiff.ifd import Ifd, TiffBytes, chain, read_ifd
from bleep_cli.slide.tiff.page import Page, read_page
from bleep_cli.slide.tiff.tags import SubfileType, Tag

MAX_SUBIFDS = 64


def read_pyramid(file: TiffBytes) -> tuple[Ifd, list[Page]]:
    """The directory of the main picture, and its pages from fine to coarse.

    The main picture is the first directory that is neither a reduction nor a mask. Its reductions are its
    SubIFDs and the directories marked as reductions, where their proportions fit; labels and macros are not.
    """
    ifds = list(chain(file))
    full = [ifd for ifd in ifds if not _kind(ifd) & (SubfileType.REDUCED | SubfileType.MASK)] or ifds[:1]
    base = full[0]
    page = read_page(base)
    for other in full[1:]:
        if other.one(Tag.IMAGE_WIDTH) >= page.width and other.one(Tag.IMAGE_LENGTH) >= page.height:
            raise file.bad(
                f"holds several full-size pages (channels, focus planes or slides); take one, {CONVERT}"
            )
    subs = [read_ifd(file, offset) for offset in base.ints(Tag.SUB_IFDS, ())[:MAX_SUBIFDS]]
    marked = [ifd for ifd in ifds if SubfileType.REDUCED in _kind(ifd)]
    pages = {page.width: page}
    for small in _readable([*subs, *marked]):
        if _is_reduction(page, small):
            pages.setdefault(small.width, small)
    return base, sorted(pages.values(), key=lambda p: -p.width)


def _kind(ifd: Ifd) -> SubfileType:
    return SubfileType(ifd.one(Tag.NEW_SUBFILE_TYPE, 0))


def _readable(ifds: list[Ifd]) -> Iterator[Page]:
    """Their pages; reductions that cannot be read are left out, the finer levels serve instead."""
    for ifd in ifds:
        try:
            if SubfileType.MASK not in _kind(ifd):
                yield read_page(ifd)
        except SlideError:
            continue


def _is_reduction(base: Page, small: Page) -> bool:
    """Whether a page is the base picture made smaller: the same proportions to within a pixel and a half."""
    if small.width >= base.width or small.height >= base.height or small.tiled != base.tiled:
        return False
    x, y = level_scale((base.width, base.height), (small.width, small.height))
    return abs(base.height / x - small.height) <= 1.5 or abs(base.width / y - small.width) <= 1.5
