"""Every kind of slide file that is made here, who would write it, and what becomes of it.

The tests open each sample and compare its pixels (tests/runtime/slide/test_slide_table.py); docs/slide-formats.md
is printed from the same rows (tools/pages/slide_formats.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from slide_files import (
    CODECS,
    DARK,
    GREY,
    GREYS,
    LOSSLESS,
    ON_WHITE,
    OTHER,
    PADDED,
    PIC,
    RGB_CHANNEL,
    STAINS,
    TILES,
    TRANSPARENT,
    UNNAMED,
    H,
    Make,
    W,
    coloured,
    deep,
    dicom,
    dicom_folder,
    exif,
    flat,
    named,
    ome,
    ome_image,
    ome_planes,
    oriented,
    page_name,
    pages,
    png16,
    stained,
    stored,
    svs,
    tiff,
    two_series,
    without,
)

from bleep_cli.types import U8

LOSSY = 40
"""Levels that a JPEG may be from its picture."""


@dataclass(frozen=True)
class Sample:
    """One file."""

    what: str
    """What is particular about it."""
    make: Make
    """Writes it into an empty folder and says what is to be opened."""
    says: tuple[str, ...]
    """The codes of the findings, in any order; of a refusal words of its message."""
    shown: U8 | None
    """u8[h, w, 3] that is to be read; None where it is to be refused."""
    apart: int
    """Levels that the pixels may be apart."""
    options: dict[str, Any]
    """Arguments of ``open_slide``."""
    format: str = "TIFF"
    writer: str = "tifffile"

    @property
    def id(self) -> str:
        return f"{self.format}, {self.writer}: {self.what}"


def read(what: str, make: Make, *says: str, shown: U8 = PIC, apart: int = 1, **options: Any) -> Sample:
    """A file that is read, with these findings."""
    return Sample(what, make, says, shown, apart, options)


def refused(what: str, make: Make, *says: str, **options: Any) -> Sample:
    """A file that is refused with these words."""
    return Sample(what, make, says, None, 0, options)


def by(format: str, writer: str, *samples: Sample) -> list[Sample]:
    """The samples as of another format or writer than tifffile's TIFF."""
    return [replace(sample, format=format, writer=writer) for sample in samples]


def _codecs() -> list[Sample]:
    return [
        read(f"RGB, {words}", tiff(PIC, tile=(32, 32), compression=codec, compressionargs=LOSSLESS.get(codec)))
        for codec, words in CODECS.items()
    ]


def _pixels() -> list[Sample]:
    four, zero = TRANSPARENT, np.dstack([PIC, 0 * PIC[..., 0]])
    cmyk = 255 - np.dstack([PIC, np.full((H, W), 255, np.uint8)])
    return [
        read("RGB, JPEG", tiff(PIC, tile=(32, 32), compression="jpeg"), apart=LOSSY),
        read("RGB, BigTIFF, big-endian", tiff(PIC, bigtiff=True, byteorder=">")),
        read("RGB in one strip", tiff(PIC, rowsperstrip=H)),
        read("RGB in planes (PlanarConfiguration 2)", tiff(PIC.transpose(2, 0, 1), planarconfig="separate")),
        read("CMYK", tiff(cmyk, photometric="separated")),
        read("grey", tiff(PIC[..., 1], **GREYS), "slide-grey", shown=GREY),
        read("grey, 0 is white", tiff(255 - PIC[..., 1], photometric="miniswhite"), "slide-grey", shown=GREY),
        read("RGB whose three colours are alike", tiff(GREY), "slide-grey", shown=GREY),
        read("RGB, mostly dark", tiff(DARK), "slide-dark", shown=DARK),
        read("RGB, all of it black (refused for prediction)", tiff(PIC // 16), "slide-black", shown=PIC // 16),
        read("RGB with alpha", tiff(four, extrasamples=["unassalpha"]), shown=ON_WHITE),
        read(
            "fourth sample unexplained",
            without(tiff(four, extrasamples=["unspecified"]), 338),
            "alpha-assumed",
            shown=ON_WHITE,
        ),
        read(
            "fourth sample unexplained and 0",
            without(tiff(zero, extrasamples=["unspecified"]), 338),
            "alpha-assumed",
        ),
        refused("grey of 16 bits", tiff(deep(16)[..., 0], **GREYS), "grey of 16 bits is not read"),
        refused("floating point", tiff(PIC.astype(np.float32)), "signed or float rgb of 32 bits"),
        refused("RGB, JPEG XL", tiff(PIC, compression="jpegxl"), "TIFF compression 50002 is not read"),
        refused("CIELab", tiff(PIC, photometric="cielab"), "TIFF colour model 8 is not read"),
        *by("TIFF", "Pillow (libtiff)", read("RGB, LZW", flat(PIC, "a.tif", compression="tiff_lzw"))),
        *by(
            "PNG",
            "Pillow",
            read("RGB", flat(PIC, "a.png"), apart=0),
            read("grey", flat(PIC[..., 1], "a.png"), "slide-grey", shown=GREY),
        ),
        *by("JPEG", "Pillow", read("colour", flat(PIC, "a.jpg", quality=95), apart=LOSSY)),
        *by("BMP", "Pillow", read("RGB, mpp given", flat(PIC, "a.bmp"), mpp=0.5)),
        *by("WebP", "Pillow", read("RGB, lossless, mpp given", flat(PIC, "a.webp", lossless=True), mpp=0.5)),
        *by(
            "DICOM",
            "by hand",
            read("a file of a series of two levels", dicom, apart=LOSSY),
            read("the folder of one series", dicom_folder, apart=LOSSY),
            refused("a folder of two series", two_series, "holds 2 DICOM series"),
        ),
        *by("Aperio SVS", "tifffile", read("slide, thumbnail, label and macro", svs, apart=LOSSY)),
    ]


def _depths() -> list[Sample]:
    stated = {"extratags": [(281, 3, 3, (4095, 4095, 4095), True)]}
    said = ome(ome_image(PIC, RGB_CHANNEL, [0], Type="uint16", SignificantBits=12))
    brightest = np.round(PIC * (255.0 / PIC.max())).astype(np.uint8)
    beside_white = np.where(PADDED == 65535, 255, PIC).astype(np.uint8)
    planar = {"planarconfig": "separate"}
    return [
        read("RGB, 16 bits", tiff(deep(16), **TILES)),
        read("RGB, 12 bits of 16, the upper ones", tiff(deep(12) << 4)),
        *(read(f"RGB, {n} bits of 16", tiff(deep(n), **TILES), "depth-guessed") for n in (8, 10, 12, 14)),
        read("RGB, 12 bits of 16, said by MaxSampleValue", tiff(deep(12), **stated), "depth-stated"),
        read(
            "RGB, 16 bits, values to 25 500 only", tiff(PIC.astype("u2") * 100), "depth-guessed", shown=brightest
        ),
        read("RGB, 12 bits of 16 beside pure white", tiff(PADDED), "depth-guessed", shown=beside_white),
        read("RGB in planes, 12 bits of 16", tiff(deep(12).transpose(2, 0, 1), **planar), "depth-guessed"),
        *by(
            "OME-TIFF",
            "tifffile",
            read("RGB, 12 bits of 16, said by SignificantBits", tiff(deep(12), said), "depth-stated"),
        ),
        *by(
            "PNG",
            "imagecodecs",
            read("RGB, 16 bits", png16(deep(16)), mpp=0.5),
            read("RGB, 12 bits of 16", png16(deep(12)), "depth-guessed", mpp=0.5),
        ),
    ]


def _planes() -> list[Sample]:
    three, dark = ([image[..., i].copy() for i in range(3)] for image in (PIC, DARK))
    jpeg = GREYS | {"tile": (32, 32), "compression": "jpeg"}
    told = [(plane, GREYS | page_name(name)) for plane, name in zip(three, ("Red", "Green", "Blue"), strict=True)]
    not_rgb = ("not red, green and blue", "stained with H&E")
    focus = pages(*((three[1], GREYS) for _ in range(3)))
    twelve = ome_planes(deep(12), named("Red", "Green", "Blue"), Type="uint16", SignificantBits=12)
    return [
        read("three grey pages without names", pages(*((p, GREYS) for p in three)), "planes-guessed"),
        read("three grey pages, tiled, JPEG", pages(*((p, jpeg) for p in three)), "planes-guessed", apart=LOSSY),
        read("three grey pages named Red, Green, Blue", pages(*told), "planes-named"),
        read("three grey samples a pixel", tiff(PIC, planarconfig="contig", **GREYS), "planes-guessed"),
        refused("three dark grey pages", pages(*((p, GREYS) for p in dark)), "dark, as fluorescence is", *not_rgb),
        refused("three grey pages alike", focus, "all alike, as focus planes", *not_rgb),
        refused("two grey pages", pages(*((p, GREYS) for p in three[:2])), "it holds 2 planes"),
        refused("five grey pages", pages(*((p, GREYS) for p in three + three[:2])), "it holds 5 planes"),
        refused("four grey samples a pixel", tiff(TRANSPARENT, planarconfig="contig", **GREYS), "4 grey channels"),
        *by(
            "OME-TIFF",
            "as bioformats2raw",
            read("three planes without names", ome_planes(PIC, UNNAMED), "planes-guessed"),
            read("three planes named in order", ome_planes(PIC, named("Red", "Green", "Blue")), "planes-named"),
            read("three planes named B, R, G", ome_planes(PIC, named("B", "R", "G"), "brg"), "planes-named"),
            read("three planes with stated colours", ome_planes(PIC, coloured()), "planes-named"),
            read("three planes of 12 bits", twelve, "planes-named", "depth-stated"),
            refused(
                "three planes DAPI, FITC, Cy3", ome_planes(DARK, STAINS), "DAPI, FITC, Cy3", "not fluorescence"
            ),
            refused("three dark planes", ome_planes(DARK, UNNAMED), "dark, as fluorescence is", *not_rgb),
        ),
    ]


def _turned(n: int) -> list[Sample]:
    image, says = stored(n), () if n == 1 else ("slide-turned",)
    return [
        read(f"orientation {n}, tiles", tiff(image, **TILES, **oriented(n)), *says),
        read(f"orientation {n}, strips", tiff(image, rowsperstrip=7, **oriented(n)), *says),
        *by("PNG", "Pillow", read(f"EXIF orientation {n}", flat(image, "a.png", exif=exif(n)), *says)),
        *by(
            "JPEG",
            "Pillow",
            read(f"EXIF orientation {n}", flat(image, "a.jpg", quality=95, exif=exif(n)), *says, apart=LOSSY),
        ),
    ]


def _orientations() -> list[Sample]:
    webp = flat(stored(6), "a.webp", lossless=True, exif=exif(6))
    return [
        *(sample for n in range(1, 9) for sample in _turned(n)),
        *by("WebP", "Pillow", read("EXIF orientation 6", webp, "slide-turned", mpp=0.5)),
        refused("orientation 9, which is none", tiff(PIC, **oriented(9)), "its orientation tag says 9"),
    ]


def _scenes() -> list[Sample]:
    macro, half = DARK[:24, :32].copy(), PIC[::2, ::2].copy()
    both, other_half = pages((PIC, {}), (OTHER, {})), stained(5, W // 2, H // 2)
    series = ome(ome_image(OTHER, RGB_CHANNEL, [0], "left"), ome_image(PIC, RGB_CHANNEL, [1], "right"))
    labelled = ome(ome_image(PIC, RGB_CHANNEL, [0], "slide"), ome_image(OTHER, RGB_CHANNEL, [1], "label image"))
    in_ome = pages((OTHER, {"description": series.encode()}), (PIC, {}))
    focus = ome(ome_image(PIC, RGB_CHANNEL, [0], SizeZ=3))
    return [
        read("two scenes, the larger first", both, "scenes-ignored"),
        read("two scenes, the larger last", pages((OTHER, {}), (PIC, {})), "scenes-ignored"),
        read("two scenes, the second chosen", both, shown=OTHER, scene=1),
        refused("two scenes, a third chosen", both, "scene 2 is none of its scenes", "1: 150 × 80 px", scene=2),
        read("two scenes of one size", pages((PIC, {}), (stained(2), {})), "scenes-ignored"),
        read("two scenes, one exactly half as large", pages((PIC, {}), (other_half, {})), "scenes-ignored"),
        read("a small page (macro, label) first", pages((macro, {}), (PIC, {}))),
        read("a large page named Macro first", pages((OTHER, page_name("Macro")), (PIC, {}))),
        read("the same at half size, not marked as a reduction", pages((PIC, {}), (half, {}))),
        read("a further page of floating point", pages((PIC, {}), (PIC.astype("f4"), {})), "scenes-unreadable"),
        *by(
            "OME-TIFF",
            "tifffile",
            read("two series, the larger last", in_ome, "scenes-ignored"),
            read("two series, one chosen by its name", in_ome, shown=OTHER, scene="left"),
            read("a slide and its label image", pages((PIC, {"description": labelled.encode()}), (OTHER, {}))),
            refused("three focus planes of RGB", tiff(PIC, focus), "names 3 planes"),
        ),
    ]


def _pixel_sizes() -> list[Sample]:
    def stating(um: float) -> str:
        return ome(ome_image(PIC, RGB_CHANNEL, [0], PhysicalSizeX=um, PhysicalSizeY=um))

    def per_cm(n: int) -> dict[str, Any]:
        return {"resolution": (n, n), "resolutionunit": "CENTIMETER"}

    unstated = ("states no microns per pixel", "mpp")
    none = {"resolution": None, "resolutionunit": None}
    return [
        read("mpp by its resolution, another given", tiff(PIC), "mpp-overrides", mpp=0.25),
        read("mpp by its resolution, nearly the same given", tiff(PIC), mpp=0.53),
        read("a printer's resolution, mpp given", tiff(PIC, **per_cm(118)), mpp=0.5),
        refused("a printer's resolution", tiff(PIC, **per_cm(118)), *unstated),
        refused("29 µm per pixel by its resolution, as of a printer", tiff(PIC, **per_cm(345)), *unstated),
        *by(
            "OME-TIFF",
            "tifffile",
            refused(
                "contradictory mpp", tiff(PIC, stating(0.5), **per_cm(40000)), "OME-XML states 0.5", "0.25", "mpp"
            ),
            read("29 µm per pixel", tiff(PIC, stating(29), **none)),
        ),
    ]


SAMPLES = (
    *_codecs(),
    *_pixels(),
    *_depths(),
    *_planes(),
    *_orientations(),
    *_scenes(),
    *_pixel_sizes(),
)
"""All of them."""
