"""What a JPEG stream says before its pixels: read here, because its decoder believes all of it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from bleep_cli.limits import MOST_JPEG_SCANS

SOF_USUAL = {0xC0, 0xC1, 0xC2}
APP_JFIF, APP_EXIF, APP_ADOBE, START_OF_SCAN = 0xE0, 0xE1, 0xEE, 0xDA
SOF_OTHER = {0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}


@dataclass(frozen=True)
class JpegHeader:
    """The head of an 8-bit JPEG stream that its decoder can be given."""

    width: int
    """Pixels, at least 1."""
    height: int
    """Pixels, at least 1."""
    components: int
    """Samples per pixel: 1 grey, 3 colour, 4 CMYK; others are possible, and read by nobody."""
    marked: bool
    """Whether a JFIF or Adobe marker tells the colour space."""
    density: tuple[int, int, int]
    """(unit, x, y) of JFIF, pixels per inch (unit 1) or per cm (2); all 0 where there is none."""
    exif: bytes
    """Body of the EXIF segment; empty where there is none."""


def jpeg_header(data: bytes) -> JpegHeader:
    """Walks the markers up to the first scan. ValueError where broken, rare, or cut off."""
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG data")
    at, frame, density, marked, exif = 2, None, (0, 0, 0), False, b""
    while True:
        kind, body, at = _jpeg_segment(data, at)
        if kind in SOF_OTHER:
            raise ValueError("lossless or arithmetic JPEG")
        if kind in SOF_USUAL:
            frame = struct.unpack_from(">BHHB", body)
        elif kind == APP_JFIF and body[:5] == b"JFIF\0" and len(body) >= 12:
            marked, density = True, struct.unpack_from(">BHH", body, 7)
        elif kind == APP_ADOBE and body[:5] == b"Adobe":
            marked = True
        elif kind == APP_EXIF and body[:6] == b"Exif\0\0":
            exif = body
        elif kind == START_OF_SCAN:
            break
    # libjpeg pads a cut file with grey and says nothing: the end marker is the only witness
    if data.rfind(b"\xff\xd9", at) < 0:
        raise ValueError("truncated JPEG data")
    if data.count(b"\xff\xda", at) > MOST_JPEG_SCANS:
        raise ValueError("too many JPEG scans")
    if frame is None or frame[0] != 8 or not (frame[1] and frame[2] and frame[3]):
        raise ValueError("not an 8-bit JPEG with a size")
    return JpegHeader(frame[2], frame[1], frame[3], marked, density, exif)


def _jpeg_segment(data: bytes, at: int) -> tuple[int, bytes, int]:
    """(marker, body, offset behind it) of the marker segment at an offset."""
    while data[at : at + 2] == b"\xff\xff":
        at += 1
    if len(data) < at + 4 or data[at] != 0xFF:
        raise ValueError("broken JPEG header")
    end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    if end > len(data) or end < at + 4:
        raise ValueError("broken JPEG header")
    return data[at + 1], data[at + 4 : end], end
