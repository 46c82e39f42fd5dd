"""Flat pictures (PNG, JPEG, and what Pillow reads of BMP, GIF, WebP, PPM, JPEG 2000), decoded whole, once."""

from __future__ import annotations

import struct
import warnings
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

from bleep_cli.errors import SlideError
from bleep_cli.slide.jpeg_header import JpegHeader, jpeg_header
from bleep_cli.slide.limits import CODEC_ERRORS, MAX_DECODED_BYTES, check_ratio
from bleep_cli.slide.mpp import Claim, resolution_claim
from bleep_cli.slide.pixels import PixelFormat, Samples, to_rgb
from bleep_cli.slide.raster import CONVERT, Level
from bleep_cli.types import U8

PNG_MAGIC, JPEG_MAGIC = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
PNG_PICTURE = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
PILLOW_FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PPM", "WEBP")
PILLOW_MODES = {"1": "L", "L": "L", "P": "RGBA", "PA": "RGBA", "LA": "RGBA", "RGB": "RGB", "RGBA": "RGBA"}
PILLOW_MODES |= {"CMYK": "RGB", "YCbCr": "RGB", "RGBX": "RGB"}
BY_SAMPLES = {
    1: PixelFormat("grey"),
    2: PixelFormat("grey", alpha=1),
    3: PixelFormat("rgb"),
    4: PixelFormat("rgb", alpha=3),
}
ORIENTATION = 274
TURNED = "its EXIF orientation asks to turn it; save it upright first"


class FlatRaster:
    """One decoded picture as a pyramid of one level. SlideError where it is broken, too large or not read."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            if path.stat().st_size > MAX_DECODED_BYTES:
                raise self._too_large()
            pixels, self.claims = self._decode(path.read_bytes())
        except CODEC_ERRORS as error:
            what = error.strerror if isinstance(error, OSError) and error.strerror else error
            raise SlideError(f"{self._name}: cannot be decoded: {what}") from None
        self._pixels = pixels.reshape(*pixels.shape[:2], -1)
        self._format = BY_SAMPLES[self._pixels.shape[2]]
        h, w = self._pixels.shape[:2]
        self.levels: tuple[Level, ...] = (Level(w, h, (1.0, 1.0)),)
        self.bounds_l0 = (0, 0, w, h)

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """Pixels of the only level, ``u8[h, w, 3]``."""
        return to_rgb(self._pixels[y : y + h, x : x + w], self._format)

    def close(self) -> None:
        """The file is closed already."""

    def _decode(self, data: bytes) -> tuple[Samples, tuple[Claim, ...]]:
        if data.startswith(PNG_MAGIC):
            return self._png(data)
        if data.startswith(JPEG_MAGIC):
            header = jpeg_header(data)
            if header.components in (1, 3):
                return self._jpeg(data, header)
        return self._pillow(data), ()

    def _png(self, data: bytes) -> tuple[Samples, tuple[Claim, ...]]:
        import imagecodecs

        bare, density = _bare_png(data)
        width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
        samples = {2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 1) + (b"tRNS" in bare[33:1024])
        self._check_size(width, height, samples * max(bits, 8) // 8, len(data))
        if bits == 16 and colour in (0, 4):
            raise ValueError("grey of 16 bits is not read; convert it to RGB of 8 bits")
        pixels = imagecodecs.png_decode(bare)
        if pixels.shape[:2] != (height, width):
            raise ValueError("broken PNG")
        x, y, unit = struct.unpack(">IIB", density)
        return pixels, tuple(resolution_claim((x, y), 1e6 if unit == 1 else None, "the PNG density"))

    def _jpeg(self, data: bytes, header: JpegHeader) -> tuple[Samples, tuple[Claim, ...]]:
        import imagecodecs

        self._check_size(header.width, header.height, header.components, len(data))
        if header.exif and _exif_orientation(header.exif) not in (0, 1):
            raise ValueError(TURNED)
        out = "RGB" if header.components == 3 else "GRAYSCALE"
        pixels = imagecodecs.jpeg8_decode(data, outcolorspace=out)
        unit, x, y = header.density
        um = {1: 25400.0, 2: 10000.0}.get(unit)
        return pixels, tuple(resolution_claim((x, y), um, "the JPEG density"))

    def _pillow(self, data: bytes) -> U8:
        """Rarer formats: whole pictures of one frame, in modes whose colours are certain."""
        from PIL import Image, UnidentifiedImageError

        with warnings.catch_warnings(action="ignore"):
            try:
                with Image.open(BytesIO(data), formats=PILLOW_FORMATS) as image:
                    self._check_size(*image.size, 4, len(data))
                    if getattr(image, "n_frames", 1) != 1 or image.mode not in PILLOW_MODES:
                        raise ValueError(f"{image.format} of mode {image.mode} or of many frames is not read")
                    if image.getexif().get(ORIENTATION, 1) not in (0, 1):
                        raise ValueError(TURNED)
                    return np.asarray(image.convert(PILLOW_MODES[image.mode]))
            except UnidentifiedImageError:
                raise ValueError("not a slide or picture of a known format") from None
            except (Image.DecompressionBombError, SyntaxError, EOFError, KeyError, IndexError) as error:
                raise ValueError(str(error)) from None

    def _check_size(self, width: int, height: int, samples: int, stored: int) -> None:
        if not (width and height):
            raise ValueError("the picture is empty")
        if width * height * samples > MAX_DECODED_BYTES:
            raise self._too_large()
        check_ratio(width * height * samples, stored)

    def _too_large(self) -> SlideError:
        return SlideError(f"{self._name}: too large for a flat picture, which is decoded whole; {CONVERT}")


def _bare_png(data: bytes) -> tuple[bytes, bytes]:
    """(the PNG with its picture chunks only, the body of pHYs). ValueError where a checksum or the end is wrong.

    The decoder itself only murmurs on stderr, about damage as about harmless colour profiles.
    """
    kept: list[bytes | memoryview] = [PNG_MAGIC]
    at, kind, density = len(PNG_MAGIC), b"", bytes(9)
    view = memoryview(data)
    while kind != b"IEND":
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        first, kind = not kind, data[at + 4 : at + 8]
        if len(kind) < 4 or end > len(data) or (first and (kind != b"IHDR" or end != at + 25)):
            raise ValueError("broken or truncated PNG")
        if zlib.crc32(view[at + 4 : end - 4]).to_bytes(4, "big") != data[end - 4 : end]:
            raise ValueError("damaged PNG (checksum)")
        if kind in PNG_PICTURE:
            kept.append(view[at:end])
        elif kind == b"pHYs" and end == at + 21:
            density = data[at + 8 : at + 17]
        at = end
    return b"".join(kept), density


def _exif_orientation(exif: bytes) -> int:
    from PIL import Image

    found = Image.Exif()
    try:
        with warnings.catch_warnings(action="ignore"):
            found.load(exif)
        return int(found.get(ORIENTATION, 1))
    except (OSError, ValueError, TypeError, SyntaxError, KeyError, struct.error):
        return 1  # unreadable EXIF asks for nothing
