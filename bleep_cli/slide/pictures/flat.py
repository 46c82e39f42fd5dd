"""Flat pictures (PNG, JPEG, and what Pillow reads of BMP, GIF, WebP, PPM, JPEG 2000), decoded whole, once."""

from __future__ import annotations

import copy
import struct
import warnings
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.reasons import lacks_memory
from bleep_cli.errors import SlideError
from bleep_cli.findings import Finding
from bleep_cli.limits import MOST_PICTURE_BYTES, over
from bleep_cli.slide.claimed import CODEC_ERRORS, check_ratio
from bleep_cli.slide.facts import PLAIN, Facts, Scene, Stored
from bleep_cli.slide.jpeg_header import JpegHeader, jpeg_header
from bleep_cli.slide.mpp import Claim, resolution_claim
from bleep_cli.slide.raster import CONVERT, Level
from bleep_cli.slide.samples.depth import deep_format, spread
from bleep_cli.slide.samples.pixels import PixelFormat, Samples, to_rgb
from bleep_cli.slide.turn import WORDS, size_upright
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
WITH_ALPHA = {1: "grey", 2: "grey with alpha", 3: "RGB", 4: "RGB with alpha"}
ORIENTATION = 274


@dataclass(frozen=True)
class Decoded:
    """A picture as its decoder gives it."""

    pixels: Samples
    """``[h, w]`` or ``[h, w, samples]``."""
    format: str
    """Such as "PNG"."""
    compression: str
    """In words."""
    claims: tuple[Claim, ...] = ()
    """What is stated of its pixel size."""
    orientation: int = PLAIN
    """As EXIF counts: 1 is upright."""


class FlatRaster:
    """One decoded picture as a pyramid of one level. SlideError where it is broken, too large or not read."""

    def __init__(self, path: Path) -> None:
        self._name = path.name
        try:
            if path.stat().st_size > MOST_PICTURE_BYTES:
                raise self._too_large(path.stat().st_size)
            decoded = self._decode(path.read_bytes())
        except CODEC_ERRORS as error:
            what = error.strerror if isinstance(error, OSError) and error.strerror else error
            what = "there is not enough memory" if lacks_memory(error) else what
            raise SlideError(f"{self._name}: cannot be decoded: {what}") from None
        self._pixels = decoded.pixels.reshape(*decoded.pixels.shape[:2], -1)
        self._format, findings = self._pixel_format()
        h, w = self._pixels.shape[:2]
        self.levels: tuple[Level, ...] = (Level(w, h, (1.0, 1.0)),)
        self.bounds_l0 = (0, 0, w, h)
        deep = self._pixels.dtype == np.uint16
        self.facts = Facts(
            decoded.format,
            (Scene(0, "", size_upright((w, h), decoded.orientation), decoded.claims),),
            (Stored(None, decoded.compression),),
            colours=WITH_ALPHA[self._pixels.shape[2]],
            sample_type=str(self._pixels.dtype),
            bits=self._format.white.bit_length() if deep else 8,
            orientation=decoded.orientation,
            findings=findings,
        )

    def block(self, level: int, x: int, y: int, w: int, h: int) -> U8:
        """Pixels of the only level, ``u8[h, w, 3]``."""
        return to_rgb(self._pixels[y : y + h, x : x + w], self._format)

    def close(self) -> None:
        """The file is closed already."""

    @property
    def data(self) -> Samples:
        """``[h, w, samples]`` as they were decoded."""
        return np.ascontiguousarray(self._pixels)

    def with_pixels(self, pixels: Samples) -> FlatRaster:
        """The same picture with its samples from elsewhere."""
        other = copy.copy(self)
        other._pixels = pixels
        return other

    def _pixel_format(self) -> tuple[PixelFormat, tuple[Finding, ...]]:
        """What the samples mean; of 16 bits, which value of theirs is white."""
        fmt = BY_SAMPLES[self._pixels.shape[2]]
        if self._pixels.dtype != np.uint16:
            return fmt, ()
        return deep_format(fmt, spread(self._pixels), None)

    def _decode(self, data: bytes) -> Decoded:
        if data.startswith(PNG_MAGIC):
            return self._png(data)
        if data.startswith(JPEG_MAGIC):
            header = jpeg_header(data)
            if header.components in (1, 3):
                return self._jpeg(data, header)
        return self._pillow(data)

    def _png(self, data: bytes) -> Decoded:
        import imagecodecs

        bare, density, exif = _bare_png(data)
        width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
        samples = {2: 3, 3: 3, 4: 2, 6: 4}.get(colour, 1) + (b"tRNS" in bare[33:1024])
        self._check_size(width, height, samples * max(bits, 8) // 8, len(data))
        if bits == 16 and colour in (0, 4):
            raise ValueError("grey of 16 bits is not read; convert it to RGB of 8 bits")
        pixels = imagecodecs.png_decode(bare)
        if pixels.shape[:2] != (height, width):
            raise ValueError("broken PNG")
        x, y, unit = struct.unpack(">IIB", density)
        claims = tuple(resolution_claim((x, y), 1e6 if unit == 1 else None, "the PNG density"))
        return Decoded(pixels, "PNG", "deflate", claims, _exif_orientation(exif))

    def _jpeg(self, data: bytes, header: JpegHeader) -> Decoded:
        import imagecodecs

        self._check_size(header.width, header.height, header.components, len(data))
        out = "RGB" if header.components == 3 else "GRAYSCALE"
        pixels = imagecodecs.jpeg8_decode(data, outcolorspace=out)
        unit, x, y = header.density
        um = {1: 25400.0, 2: 10000.0}.get(unit)
        claims = tuple(resolution_claim((x, y), um, "the JPEG density"))
        return Decoded(pixels, "JPEG", "JPEG", claims, _exif_orientation(header.exif))

    def _pillow(self, data: bytes) -> Decoded:
        """Rarer formats: whole pictures of one frame, in modes whose colours are certain."""
        from PIL import Image, UnidentifiedImageError

        with warnings.catch_warnings(action="ignore"):
            try:
                with Image.open(BytesIO(data), formats=PILLOW_FORMATS) as image:
                    self._check_size(*image.size, 4, len(data))
                    if getattr(image, "n_frames", 1) != 1 or image.mode not in PILLOW_MODES:
                        raise ValueError(f"{image.format} of mode {image.mode} or of many frames is not read")
                    orientation = _upright_or(image.getexif().get(ORIENTATION, PLAIN))
                    pixels = np.asarray(image.convert(PILLOW_MODES[image.mode]))
                    return Decoded(pixels, image.format or "", image.format or "", (), orientation)
            except UnidentifiedImageError:
                raise ValueError("not a slide or picture of a known format") from None
            except (Image.DecompressionBombError, SyntaxError, EOFError, KeyError, IndexError) as error:
                raise ValueError(str(error)) from None

    def _check_size(self, width: int, height: int, samples: int, stored: int) -> None:
        if not (width and height):
            raise ValueError("the picture is empty")
        if width * height * samples > MOST_PICTURE_BYTES:
            raise self._too_large(width * height * samples)
        check_ratio(width * height * samples, stored)

    def _too_large(self, size: int) -> SlideError:
        told = over(f"a flat picture of {size:,} bytes, which is decoded whole,", "MOST_PICTURE_BYTES")
        return SlideError(f"{self._name}: {told}; {CONVERT}")


def _bare_png(data: bytes) -> tuple[bytes, bytes, bytes]:
    """(the PNG with its picture chunks only, the body of pHYs, that of eXIf).

    ValueError where a checksum or the end is wrong.

    The decoder itself only murmurs on stderr, about damage as about harmless colour profiles.
    """
    kept: list[bytes | memoryview] = [PNG_MAGIC]
    at, kind, density, exif = len(PNG_MAGIC), b"", bytes(9), b""
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
        elif kind == b"eXIf":
            exif = data[at + 8 : end - 4]
        at = end
    return b"".join(kept), density, exif


def _exif_orientation(exif: bytes) -> int:
    """Of the body of an EXIF segment or chunk; upright where there is none, or it cannot be read."""
    from PIL import Image

    found = Image.Exif()
    if not exif:
        return PLAIN
    try:
        with warnings.catch_warnings(action="ignore"):
            found.load(exif)
        return _upright_or(found.get(ORIENTATION, PLAIN))
    except (OSError, ValueError, TypeError, SyntaxError, KeyError, struct.error):
        return PLAIN  # unreadable EXIF asks for nothing


def _upright_or(stated: Any) -> int:
    """1 to 8; what is none of them asks for nothing, as in other readers."""
    return stated if isinstance(stated, int) and stated in WORDS else PLAIN
