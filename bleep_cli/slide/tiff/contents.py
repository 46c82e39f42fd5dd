"""Which directories of a TIFF file are its pictures, which are the same made smaller, and which are neither."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bleep_cli.errors import SlideError
from bleep_cli.limits import MOST_SUBIFDS
from bleep_cli.slide.raster import COLOUR_NEEDED, level_scale
from bleep_cli.slide.tiff.claims import description, page_name
from bleep_cli.slide.tiff.ifd import Ifd, TiffBytes, chain, read_ifd
from bleep_cli.slide.tiff.ome import Channel, Ome, read_ome
from bleep_cli.slide.tiff.page import Page, read_page
from bleep_cli.slide.tiff.planes import check_names, merged, named_order
from bleep_cli.slide.tiff.tags import Photometric, SubfileType, Tag

NOT_TISSUE = re.compile(r"\b(label|macro|thumbnail|overview|barcode|slide ?map)\b", re.IGNORECASE)
SAID_FIRST = re.compile(r"^\s*(label|macro|thumbnail|overview|barcode)\b", re.IGNORECASE | re.MULTILINE)
MACRO = 9  # NewSubfileType of a macro, or a label, of Aperio's
SMALL_SHARE, SMALL_PX = 1 / 16, 2048
"""A page of no more of the largest one's area, and no longer edge, is a label, a macro or a thumbnail."""


@dataclass(frozen=True)
class Picture:
    """One picture: a scene, or one that is not read."""

    place: int
    """Which main directory of the file it begins in, from 0."""
    planes: tuple[Ifd, ...]
    """Its directory; of grey planes of one picture each one's."""
    name: str
    """What the file calls it; empty where it does not."""
    ome: Ome | None = None
    """What the OME-XML says of it."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels as stored."""
        return self.planes[0].one(Tag.IMAGE_WIDTH), self.planes[0].one(Tag.IMAGE_LENGTH)

    @property
    def area(self) -> int:
        """In pixels."""
        return self.size[0] * self.size[1]

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What its planes are called, where it has several."""
        if self.ome is not None:
            return self.ome.channels
        return tuple(Channel(page_name(ifd), None) for ifd in self.planes)

    def words(self) -> str:
        """As a person is told of it."""
        width, height = self.size
        return f"{self.name or f'page {self.place}'} ({width} × {height} px)"


@dataclass(frozen=True)
class Contents:
    """What a file holds."""

    scenes: tuple[tuple[Picture, Page], ...]
    """The pictures that can be read, with their finest pages, in the order of the file; at least one."""
    not_read: tuple[str, ...]
    """Labels, macros and thumbnails in words."""
    unreadable: tuple[str, ...]
    """Pictures that would be scenes could they be read, in words, with the reason."""
    reductions: tuple[tuple[int, Ifd], ...]
    """The directories marked as reductions, with their place in the file."""

    def largest(self) -> int:
        """Index of the scene with the most pixels, the first of several."""
        return max(range(len(self.scenes)), key=lambda i: (self.scenes[i][0].area, -i))

    def pages(self, scene: int) -> list[Page]:
        """The pages of a scene from fine to coarse: its SubIFDs, and the marked reductions that are its own.

        Where several scenes fit, a reduction belongs to the one before it.
        """
        picture, page = self.scenes[scene]
        fitting = []
        for place, ifd in self.reductions:
            fit = [p for p, base in self.scenes if _is_reduction(base, ifd)]
            owner = next((p for p in reversed(fit) if p.place < place), next(iter(fit), None))
            if owner is picture:
                fitting.append(ifd)
        pages = {page.width: page}
        for small in (*_sub_pages(picture), *_readable(fitting)):
            if small.tiled == page.tiled and is_smaller(page, (small.width, small.height)):
                pages.setdefault(small.width, small)
        return sorted(pages.values(), key=lambda p: -p.width)


def read_contents(file: TiffBytes) -> Contents:
    """The pictures of a file. SlideError where none can be read, with the largest one's reason."""
    ifds = list(chain(file))
    full = [i for i, ifd in enumerate(ifds) if not kind_of(ifd) & (SubfileType.REDUCED | SubfileType.MASK)] or [0]
    pictures = [*_of_ome(ifds, file.name)]
    taken = {id(ifd) for picture in pictures for ifd in picture.planes}
    pictures += _of_pages([(i, ifds[i]) for i in full if id(ifds[i]) not in taken])
    pictures.sort(key=lambda picture: picture.place)
    tissue = [p for p in pictures if not _is_no_tissue(p)] or pictures
    biggest = max(picture.area for picture in tissue)
    tissue = [p for p in tissue if p.area >= biggest * SMALL_SHARE or max(p.size) > SMALL_PX]
    scenes, refused = [], {}
    for picture in tissue:
        try:
            scenes.append((picture, _base_page(file, picture)))
        except SlideError as error:
            refused[picture.place] = error
    if not scenes:
        raise refused[max(tissue, key=lambda p: (p.area, -p.place)).place]
    reductions = [(i, ifd) for i, ifd in enumerate(ifds) if SubfileType.REDUCED in kind_of(ifd)]
    apart = [(i, ifd) for i, ifd in reductions if _never_a_level(ifd) and SubfileType.MASK not in kind_of(ifd)]
    reductions = [(i, ifd) for i, ifd in reductions if not _never_a_level(ifd)]
    not_read = [p.words() for p in pictures if p.place not in _places(scenes) and p.place not in refused]
    unreadable = [_why_not(file, p, refused[p.place]) for p in tissue if p.place in refused]
    pages = [page for _, page in scenes]
    not_read += [
        Picture(i, (ifd,), _called(ifd)).words()
        for i, ifd in reductions
        if i not in _places(scenes) and not any(_is_reduction(page, ifd) for page in pages)
    ]
    not_read += [Picture(i, (ifd,), _called(ifd)).words() for i, ifd in apart if i not in _places(scenes)]
    return Contents(tuple(scenes), tuple(not_read), tuple(unreadable), tuple(reductions))


def _places(scenes: Sequence[tuple[Picture, Page]]) -> set[int]:
    return {picture.place for picture, _ in scenes}


def kind_of(ifd: Ifd) -> SubfileType:
    """Whether a directory is marked as a reduction, a page or a mask."""
    return SubfileType(ifd.one(Tag.NEW_SUBFILE_TYPE, 0))


def _of_ome(ifds: list[Ifd], file_name: str) -> Iterator[Picture]:
    """The images that an OME-XML names, of the size that their directories have."""
    taken: set[int] = set()
    for ome in read_ome(description(ifds[0]), file_name):
        places = [i for i in ome.ifds if i < len(ifds) and i not in taken]
        if not places or places[0] != ome.ifds[0]:
            continue
        picture = Picture(places[0], tuple(ifds[i] for i in places), ome.name, ome)
        if picture.size == ome.size:
            taken |= set(places)
            yield picture


def _of_pages(full: list[tuple[int, Ifd]]) -> Iterator[Picture]:
    """Directories that no OME-XML explains: each a picture, but grey ones of one size are planes of one."""
    planes: dict[tuple[int, int], list[tuple[int, Ifd]]] = {}
    for place, ifd in full:
        picture = Picture(place, (ifd,), _called(ifd))
        if _is_grey(ifd):
            planes.setdefault(picture.size, []).append((place, ifd))
        else:
            yield picture
    for pages in planes.values():
        name = _called(pages[0][1]) if len(pages) == 1 else ""
        yield Picture(pages[0][0], tuple(ifd for _, ifd in pages), name)


def _is_grey(ifd: Ifd) -> bool:
    """Whether a directory is one plane of grey that others may complete."""
    grey = ifd.one(Tag.PHOTOMETRIC, Photometric.RGB) == Photometric.BLACK_IS_ZERO
    return grey and ifd.one(Tag.SAMPLES_PER_PIXEL, 1) == 1


def _called(ifd: Ifd) -> str:
    """Its name; of a label, macro or thumbnail what its description begins a line with."""
    said = SAID_FIRST.search(description(ifd)[:512])
    return page_name(ifd) or (said.group(1).lower() if said else "")


def _is_no_tissue(picture: Picture) -> bool:
    return NOT_TISSUE.search(picture.name) is not None


def _why_not(file: TiffBytes, picture: Picture, error: SlideError) -> str:
    return f"{picture.words()}: {error.text.removeprefix(f'{file.name}: ')}"


def _base_page(file: TiffBytes, picture: Picture) -> Page:
    """The finest page of a picture, its planes together. SlideError where it cannot be read."""
    ome, ifds = picture.ome, picture.planes
    if ome is not None and ome.depths > 1:
        raise file.bad(f"its OME-XML names {ome.planes} planes (channels, depths or times); keep one RGB plane")
    count = max(len(ifds), 1 if ome is None else len(ome.channels))
    if count == 1:
        return read_page(ifds[0])
    if count != 3:
        source = "its OME-XML names" if ome is not None else "it holds"
        raise file.bad(f"{source} {count} planes (channels, depths or times); {COLOUR_NEEDED}; keep one RGB plane")
    check_names(file, picture.channels)
    if len(ifds) == 1:
        page = read_page(ifds[0])
        if page.samples < 3:
            raise file.bad(f"its OME-XML names {count} planes where one is stored; {COLOUR_NEEDED}")
        return page
    return merged(file, in_order(picture, [read_page(ifd, plane=True) for ifd in ifds]))


def in_order(picture: Picture, planes: Sequence[Page]) -> list[Page]:
    """Three pages as red, green and blue, by what they are called, else as they stand."""
    return [planes[i] for i in named_order(picture.channels) or (0, 1, 2)]


def _sub_pages(picture: Picture) -> Iterator[Page]:
    """The SubIFDs of a picture, those of its planes together; what cannot be read is left out."""
    first = picture.planes[0]
    subs = [
        [read_ifd(ifd.file, offset) for offset in ifd.ints(Tag.SUB_IFDS, ())[:MOST_SUBIFDS]]
        for ifd in picture.planes
    ]
    if len(subs) == 1:
        yield from _readable(subs[0])
        return
    for level in zip(*subs, strict=False):
        try:
            pages = [read_page(ifd, plane=True) for ifd in level]
            yield merged(first.file, in_order(picture, pages))
        except SlideError:
            continue


def _readable(ifds: list[Ifd]) -> Iterator[Page]:
    """Their pages; reductions that cannot be read are left out, the finer levels serve instead."""
    for ifd in ifds:
        try:
            if not _never_a_level(ifd):
                yield read_page(ifd)
        except SlideError:
            continue


def _never_a_level(ifd: Ifd) -> bool:
    """Whether a directory says that it is no copy of the tissue made smaller: a mask, a macro as Aperio marks it
    (a reduction of another kind, 9), or one that is called a label, macro or the like."""
    macro = int(kind_of(ifd)) & MACRO == MACRO
    return macro or SubfileType.MASK in kind_of(ifd) or NOT_TISSUE.search(_called(ifd)) is not None


def _is_reduction(base: Page, ifd: Ifd) -> bool:
    """Whether a directory that is marked as a reduction can be that of a page."""
    size = ifd.one(Tag.IMAGE_WIDTH), ifd.one(Tag.IMAGE_LENGTH)
    return (Tag.TILE_WIDTH in ifd.entries) == base.tiled and is_smaller(base, size)


def is_smaller(base: Page, size: tuple[int, int]) -> bool:
    """Whether a (width, height) is that of a page made smaller: its proportions to within a pixel and a half."""
    width, height = size
    if not (0 < width < base.width and 0 < height < base.height):
        return False
    x, y = level_scale((base.width, base.height), size)
    return abs(base.height / x - height) <= 1.5 or abs(base.width / y - width) <= 1.5
