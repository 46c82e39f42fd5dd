"""How slide files of every kind are made: pictures, and those who write them to a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from dicom_files import write_series
from numpy.typing import NDArray
from PIL import Image

from bleep_cli.types import U8

W, H = 160, 112
Make = Callable[[Path], Path]
"""Writes a file into an empty folder and says what is to be opened."""
RES = {"resolution": (20000, 20000), "resolutionunit": "CENTIMETER"}  # 0.5 µm
ORIENTATION = 274


def stained(seed: int = 0, w: int = W, h: int = H) -> U8:
    """Pink tissue with darker nuclei on bright glass, no symmetry: u8[h, w, 3], its green the darkest."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:h, :w]
    tissue = ((x - 0.4 * w) / (0.45 * w)) ** 2 + ((y - 0.55 * h) / (0.4 * h)) ** 2 < 1
    density = tissue * (0.5 + 0.3 * np.sin(x / 9.0 + y / 17.0))
    for cx, cy in rng.uniform((0.1 * w, 0.2 * h), (0.75 * w, 0.85 * h), (60, 2)):
        density += tissue * 0.9 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 6)
    light = np.exp(-density[..., None] * np.array([0.45, 1.0, 0.65]))
    return np.round(light * 244 + rng.uniform(0, 3, (h, w, 3))).clip(0, 255).astype(np.uint8)


PIC = stained()
OTHER = stained(1, 150, 80)
DARK = np.random.default_rng(3).gamma(0.6, 12, (H, W, 3)).clip(0, 255).astype(np.uint8)
GREY = np.repeat(PIC[..., 1:2], 3, axis=2)


def tiff(image: NDArray[Any], said: str = "", **options: Any) -> Make:
    """A TIFF of tifffile, with an OME-XML where one is said."""

    def make(folder: Path) -> Path:
        path = folder / ("a.ome.tif" if said else "a.tif")
        described = {"description": said.encode()} if said else {}
        tifffile.imwrite(path, image, **{"photometric": "rgb", "metadata": None} | RES | described | options)
        return path

    return make


def pages(*images: tuple[NDArray[Any], dict[str, Any]]) -> Make:
    """A TIFF of several directories, each with its own arguments."""

    def make(folder: Path) -> Path:
        with tifffile.TiffWriter(folder / "a.tif") as out:
            for image, options in images:
                out.write(image, **{"photometric": "rgb", "metadata": None} | RES | options)
        return folder / "a.tif"

    return make


def without(make: Make, tag: int) -> Make:
    """The same file with one of its tags renamed to a number that nobody knows."""

    def changed(folder: Path) -> Path:
        path = make(folder)
        raw = path.read_bytes()
        assert raw.count(tag.to_bytes(2, "little")) == 1
        path.write_bytes(raw.replace(tag.to_bytes(2, "little"), (65000).to_bytes(2, "little")))
        return path

    return changed


def ome(*images: str) -> str:
    """An OME-XML of these images."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">' + "".join(images) + "</OME>"
    )


def ome_image(image: NDArray[Any], channels: list[str], ifds: list[int], name: str = "", **more: Any) -> str:
    """An image of an OME-XML; ``channels`` are the attributes of each."""
    h, w = image.shape[:2]
    attributes = {"SizeX": w, "SizeY": h, "SizeC": 3, "SizeZ": 1, "SizeT": 1, "Type": "uint8"} | more
    attributes = {"DimensionOrder": "XYCZT", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5} | attributes
    data = "".join(f'<TiffData IFD="{ifd}" FirstC="{c}" PlaneCount="1"/>' for c, ifd in enumerate(ifds))
    listed = "".join(f'<Channel ID="Channel:{i}" {c}/>' for i, c in enumerate(channels))
    words = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return f'<Image ID="Image:0" Name="{name}"><Pixels {words}>{listed}{data}</Pixels></Image>'


RGB_CHANNEL = ['SamplesPerPixel="3"']


def ome_planes(image: NDArray[Any], channels: list[str], order: str = "rgb", **more: Any) -> Make:
    """Three grey pages with an OME-XML, each with a SubIFD, as bioformats2raw leaves an RGB slide."""
    text = ome(ome_image(image, channels, [0, 1, 2], **more))

    def make(folder: Path) -> Path:
        path = folder / "a.ome.tif"
        with tifffile.TiffWriter(path) as out:
            for i, colour in enumerate(order):
                plane = image[..., "rgb".index(colour)]
                common: dict[str, Any] = {"photometric": "minisblack", "tile": (32, 32), "metadata": None}
                said = {"description": text.encode()} if i == 0 else {}
                out.write(plane, subifds=1, compression="zlib", **common, **said)
                out.write(plane[::2, ::2].copy(), subfiletype=1, compression="zlib", **common)
        return path

    return make


def flat(image: NDArray[Any], name: str, **options: Any) -> Make:
    """A picture of Pillow's."""

    def make(folder: Path) -> Path:
        dense = {} if name.endswith((".bmp", ".webp")) else {"dpi": (50800, 50800)}
        Image.fromarray(image).save(folder / name, **dense, **options)
        return folder / name

    return make


def png16(image: NDArray[Any]) -> Make:
    """A PNG of 16 bits, which Pillow does not write."""

    def make(folder: Path) -> Path:
        import imagecodecs

        (folder / "a.png").write_bytes(imagecodecs.png_encode(image))
        return folder / "a.png"

    return make


def deep(bits: int) -> NDArray[np.uint16]:
    """The picture in so many bits of 16."""
    return np.round(PIC * ((2**bits - 1) / 255)).astype(np.uint16)


def stored(orientation: int, image: U8 = PIC) -> U8:
    """How a picture is stored that this orientation turns upright."""
    turned = {
        2: image[:, ::-1],
        3: image[::-1, ::-1],
        4: image[::-1],
        5: image.swapaxes(0, 1),
        6: np.rot90(image, 1),
        7: image[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(image, -1),
    }
    return np.ascontiguousarray(turned.get(orientation, image))


def oriented(orientation: int) -> dict[str, Any]:
    return {"extratags": [(ORIENTATION, 3, 1, orientation, True)]}


def exif(orientation: int) -> Image.Exif:
    found = Image.Exif()
    found[ORIENTATION] = orientation
    return found


def page_name(name: str) -> dict[str, Any]:
    return {"extratags": [(285, 2, 0, name, True)]}


def named(*names: str) -> list[str]:
    """Channels of an OME-XML by name."""
    return [f'Name="{name}" SamplesPerPixel="1"' for name in names]


def coloured() -> list[str]:
    """Channels that state to be red, green and blue."""
    return [f'Color="{colour}" SamplesPerPixel="1"' for colour in (-16776961, 16711935, 65535)]


def dicom(folder: Path) -> Path:
    return write_series(folder / "series", PIC, 0.5)[1]


def dicom_folder(folder: Path) -> Path:
    return write_series(folder / "series", PIC, 0.5)[0].parent


def two_series(folder: Path) -> Path:
    write_series(folder / "series", PIC, 0.5, "1.2.3.7")
    return write_series(folder / "series", OTHER, 0.5, "1.2.3.8", "x")[0].parent


def svs(folder: Path) -> Path:
    """Aperio's way: the slide, its thumbnail, a reduction, label and macro."""
    said = "Aperio Image Library v11.2.1\r\n160x112 [0,0 160x112] (64x64) JPEG/RGB Q=90|AppMag = 20|MPP = 0.5"
    tiles: dict[str, Any] = {"tile": (64, 64), "compression": "jpeg"}
    with tifffile.TiffWriter(folder / "a.svs") as out:
        out.write(PIC, photometric="rgb", metadata=None, description=said, **tiles)
        out.write(PIC[::4, ::4].copy(), photometric="rgb", metadata=None, description=said)
        for kind, number in (("label", 1), ("macro", 9)):
            said = f"Aperio Image Library v11.2.1\r\n{kind} 40x30"
            out.write(
                DARK[:30, :40].copy(), photometric="rgb", metadata=None, description=said, subfiletype=number
            )
    return folder / "a.svs"


UNNAMED = ['SamplesPerPixel="1"'] * 3
STAINS = named("DAPI", "FITC", "Cy3")
GREYS = {"photometric": "minisblack"}
TILES: dict[str, Any] = {"tile": (32, 32), "compression": "zlib"}
TRANSPARENT = np.dstack([PIC, np.where(np.arange(W) < 100, 255, 128).astype(np.uint8)[None].repeat(H, 0)])
ON_WHITE = np.round(PIC * (TRANSPARENT[..., 3:] / 255) + 255 - TRANSPARENT[..., 3:]).astype(np.uint8)
PADDED = deep(12)
PADDED[:, 120:] = 65535
CODECS: dict[str | None, str] = {
    None: "uncompressed",
    "packbits": "PackBits",
    "lzw": "LZW",
    "zlib": "deflate",
    "lzma": "LZMA",
    "zstd": "Zstandard",
    "webp": "WebP, lossless",
    "jpeg2000": "JPEG 2000, lossless",
}
LOSSLESS: dict[str | None, Any] = {"webp": {"lossless": True}, "jpeg2000": {"level": 0}}


def write_scn(path: Path, image: U8, size: tuple[int, int], corner: tuple[int, int], mpp: float = 0.5) -> Path:
    """A Leica SCN of ``size`` whose scanned part is the image, its top left at ``corner``; the rest is white."""
    height, width = image.shape[:2]
    macro = np.full((size[1] // 16, size[0] // 16, 3), 240, np.uint8)

    def part(name: str, shape: tuple[int, int], at: tuple[int, int], levels: list[U8], first: int) -> str:
        lines = [
            f'<dimension sizeX="{level.shape[1]}" sizeY="{level.shape[0]}" r="{i}" ifd="{first + i}"/>'
            for i, level in enumerate(levels)
        ]
        return (
            f'<image name="{name}"><pixels sizeX="{levels[0].shape[1]}" sizeY="{levels[0].shape[0]}">'
            f"{''.join(lines)}"
            f'</pixels><view sizeX="{nm(shape[0])}" sizeY="{nm(shape[1])}" '
            f'offsetX="{nm(at[0])}" offsetY="{nm(at[1])}"/>'
            "<scanSettings><objectiveSettings><objective>20</objective></objectiveSettings><illuminationSettings>"
            "<illuminationSource>brightfield</illuminationSource></illuminationSettings></scanSettings></image>"
        )

    def nm(px: int) -> int:
        return round(px * mpp * 1000)

    levels = [image, image[::4, ::4]]
    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f'<collection name="c" barcode="" sizeX="{nm(size[0])}" sizeY="{nm(size[1])}">'
        f"{part('macro', size, (0, 0), [macro], 0)}{part('main', (width, height), corner, levels, 1)}"
        "</collection></scn>"
    )
    options: dict[str, Any] = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg", "metadata": None}
    options |= {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, bigtiff=True) as out:
        out.write(macro, description=text, **options)
        for level in levels:
            out.write(level, **options)
    return path
