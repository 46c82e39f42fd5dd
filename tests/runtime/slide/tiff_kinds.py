"""What TIFF files the tests have written by others: colours, compressions, layouts, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from tiff_oracles import on_white

from bleep_cli.types import U8

WIDTH, HEIGHT = 83, 61  # no multiple of any tile or strip
RNG = np.random.default_rng(5)
SAMPLES = RNG.integers(0, 256, (HEIGHT, WIDTH, 5), np.uint8)
DEEP = RNG.integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)


def photo() -> U8:
    """u8[h, w, 3]: slopes with a little noise, which JPEG keeps within a few levels."""
    slope, start = np.array((1, 0.5, -0.7)), np.array((20, 60, 200))
    bright = start + slope * np.add.outer(np.arange(HEIGHT) * 1.5, np.arange(WIDTH) * 1.2)[..., None]
    return (bright + RNG.normal(0, 4, bright.shape)).clip(0, 255).astype(np.uint8)


PHOTO = photo()
GREY = np.ascontiguousarray(PHOTO[..., 0])


@dataclass(frozen=True)
class Colour:
    """What tifffile is given."""

    samples: Any
    """u1 or u2 [h, w] or [h, w, s]"""
    photometric: str
    """TIFF's name of the colours."""
    extras: tuple[str, ...] = ()
    """Its names of the further samples."""
    palette: Any = None
    """u2[3, 256] of the photometric "palette"."""

    def shown(self) -> U8:
        """u8[h, w, 3] that a reader should make of it."""
        number = {"miniswhite": 0, "minisblack": 1, "rgb": 2, "palette": 3, "separated": 5}[self.photometric]
        samples = self.samples.reshape(HEIGHT, WIDTH, -1)
        kinds = [{"unspecified": 0, "assocalpha": 1, "unassalpha": 2}[extra] for extra in self.extras]
        return on_white(samples, samples.shape[2] - len(kinds), number, kinds, self.palette)


COLOURS = {
    "grey": Colour(SAMPLES[..., 0], "minisblack"),
    "grey from white": Colour(SAMPLES[..., 0], "miniswhite"),
    "grey with alpha": Colour(SAMPLES[..., :2], "minisblack", ("unassalpha",)),
    "palette": Colour(SAMPLES[..., 0], "palette", (), RNG.integers(0, 65536, (3, 256)).astype(np.uint16)),
    "rgb": Colour(SAMPLES[..., :3], "rgb"),
    "rgb with alpha": Colour(SAMPLES[..., :4], "rgb", ("unassalpha",)),
    "rgb times alpha": Colour(SAMPLES[..., :4], "rgb", ("assocalpha",)),
    "rgb and more": Colour(SAMPLES, "rgb", ("unspecified", "unassalpha")),
    "rgb of 16 bits": Colour(DEEP[..., :3], "rgb"),
    "rgb of 16 bits with alpha": Colour(DEEP, "rgb", ("unassalpha",)),
    "cmyk": Colour(SAMPLES[..., :4], "separated"),
}
LAYOUTS = {"tiles": {"tile": (32, 16)}, "strips": {"rowsperstrip": 7}, "one strip": {"rowsperstrip": HEIGHT}}
FILES = [("<", False), (">", False), ("<", True), (">", True)]  # byte order, BigTIFF
BYTE_CODECS = [(None, False), ("packbits", False)]
BYTE_CODECS += [(codec, sums) for codec in ("lzw", "zlib", "deflate", "lzma", "zstd") for sums in (False, True)]


PILLOW_MODES = {
    "L": SAMPLES[..., 0],
    "P": SAMPLES[..., 0],
    "RGB": SAMPLES[..., :3],
    "RGBA": SAMPLES[..., :4],
    "CMYK": SAMPLES[..., :4],
}


GREY_AND_MORE = {
    "photometric": "minisblack",
    "planarconfig": "contig",
    "extrasamples": ["unspecified"],
    "drop": 338,
}
TIFFFILE_REFUSED = {
    "grey of 16 bits": (DEEP[..., 0], {"photometric": "minisblack"}),
    "grey of 32 bits": (DEEP[..., 0].astype(np.uint32), {"photometric": "minisblack"}),
    "rgb of 32 bits": (DEEP[..., :3].astype(np.uint32), {}),
    "signed or float grey of 32 bits": (DEEP[..., 0].astype(np.float32), {"photometric": "minisblack"}),
    "signed or float rgb of 16 bits": (PHOTO.astype(np.float16), {}),
    "signed or float grey of 8 bits": (SAMPLES[..., 0].astype(np.int8), {"photometric": "minisblack"}),
    "signed or float rgb of 8 bits": (SAMPLES[..., :3].astype(np.int8), {}),
    "grey of 1 bits": (SAMPLES[..., 0] > 99, {"photometric": "minisblack"}),
    "inverted of 16 bits": (DEEP[..., 0], {"photometric": "miniswhite"}),
    "cmyk of 16 bits": (DEEP, {"photometric": "separated"}),
    "rgb of 16 bits is not read": (DEEP[..., :3], {"compression": "jpeg2000"}),
    "YCbCr other than JPEG": (PHOTO, {"photometric": "ycbcr"}),
    "TIFF colour model 8": (PHOTO, {"photometric": "cielab"}),
    "TIFF colour model 32803": (SAMPLES[..., 0], {"photometric": "cfa"}),
    "TIFF compression 50002": (PHOTO, {"compression": "jpegxl"}),
    "TIFF compression 34887": (PHOTO, {"compression": "lerc"}),
    "TIFF compression 34933": (PHOTO, {"compression": "png"}),
    "TIFF compression 34934": (PHOTO, {"compression": "jpegxr"}),
    "its orientation tag says 9": (PHOTO, {"extratags": [(274, 3, 1, 9, True)]}),
    "it holds 2 planes": (np.stack([GREY, GREY]), {"photometric": "minisblack"}),
    "2 samples per pixel and 0 extra ones": (SAMPLES[..., :2], GREY_AND_MORE),
}
LIBTIFF_REFUSED: list[tuple[str, str, dict[str, Any]]] = [
    ("grey of 1 bits", "1", {}),
    ("TIFF compression 3 ", "1", {"compression": "group3"}),
    ("TIFF compression 4 ", "1", {"compression": "group4"}),
    ("grey of 16 bits", "I;16", {}),
    ("signed or float grey of 32 bits", "F", {}),
    ("signed or float grey of 32 bits", "I", {}),
    ("TIFF colour model 8", "LAB", {}),
    ("YCbCr other than JPEG", "YCbCr", {}),
    ("JPEG with more than the colour samples", "RGBA", {"compression": "jpeg"}),
    ("it holds 4 planes", "L", {"save_all": True, "append_images": [Image.fromarray(GREY)] * 3}),
]
"""What the refusal says, Pillow's mode, and what else it is told."""
