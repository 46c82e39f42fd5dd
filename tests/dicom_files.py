"""DICOM whole-slide files, written element by element: one level of a series each."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np

from bleep_cli.types import U8

WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
JPEG = "1.2.840.10008.1.2.4.50"
LONG_FORM = ("OB", "SQ")
UNDEFINED = 0xFFFFFFFF
TILE = 64


def element(tag: tuple[int, int], kind: str, value: bytes, *, undefined: bool = False) -> bytes:
    """One element, explicit little-endian."""
    value += (b"\0" if kind in ("UI", "OB") else b" ") * (len(value) % 2)
    head = struct.pack("<HH2s", *tag, kind.encode())
    if kind in LONG_FORM:
        return head + struct.pack("<HI", 0, UNDEFINED if undefined else len(value)) + value
    return head + struct.pack("<H", len(value)) + value


def item(value: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value


def write_level(path: Path, image: U8, um: float, *, series: str, instance: str, number: int = 1) -> Path:
    """A level u8[h, w, 3] of ``um`` µm per pixel as a file of a series, tiled in JPEG."""
    h, w = image.shape[:2]
    rows, cols = -(-h // TILE), -(-w // TILE)
    padded = np.full((rows * TILE, cols * TILE, 3), 255, np.uint8)
    padded[:h, :w] = image
    frames = [
        imagecodecs.jpeg8_encode(padded[y : y + TILE, x : x + TILE].copy(), level=95)
        for y in range(0, rows * TILE, TILE)
        for x in range(0, cols * TILE, TILE)
    ]
    spacing = element((0x28, 0x30), "DS", f"{um / 1000:.6f}\\{um / 1000:.6f}".encode())
    shared = item(element((0x28, 0x9110), "SQ", item(spacing)))
    # a series that is only referred to stands before the file's own, as standard order has it
    referred = item(element((0x20, 0x0E), "UI", b"1.2.3.999"))
    ends = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
    uids = {0x16: WSI, 0x18: instance}
    dataset = [
        element((0x08, 0x08), "CS", b"ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
        *(element((0x08, tag), "UI", uid.encode()) for tag, uid in uids.items()),
        element((0x08, 0x60), "CS", b"SM"),
        element((0x08, 0x1115), "SQ", referred + ends, undefined=True),
        element((0x20, 0x0D), "UI", b"1.2.3.4"),
        element((0x20, 0x0E), "UI", series.encode()),
        element((0x20, 0x13), "IS", str(number).encode()),
        element((0x20, 0x52), "UI", b"1.2.3.5"),
        element((0x20, 0x9311), "CS", b"TILED_FULL"),
        element((0x28, 0x02), "US", struct.pack("<H", 3)),
        element((0x28, 0x04), "CS", b"YBR_FULL_422"),
        element((0x28, 0x06), "US", struct.pack("<H", 0)),
        element((0x28, 0x08), "IS", str(len(frames)).encode()),
        *(element((0x28, tag), "US", struct.pack("<H", TILE)) for tag in (0x10, 0x11)),
        *(
            element((0x28, tag), "US", struct.pack("<H", v))
            for tag, v in ((0x100, 8), (0x101, 8), (0x102, 7), (0x103, 0))
        ),
        element((0x48, 0x06), "UL", struct.pack("<I", w)),
        element((0x48, 0x07), "UL", struct.pack("<I", h)),
        element((0x5200, 0x9229), "SQ", shared),
    ]
    pixels = item(b"") + b"".join(item(frame + b"\0" * (len(frame) % 2)) for frame in frames) + ends
    meta = b"".join(
        [
            element((0x02, 0x01), "OB", b"\0\1"),
            *(
                element((0x02, tag), "UI", uid.encode())
                for tag, uid in ((0x02, WSI), (0x03, instance), (0x10, JPEG), (0x12, "1.2.3.6"))
            ),
        ]
    )
    length = element((0x02, 0x00), "UL", struct.pack("<I", len(meta)))
    body = b"".join(dataset) + element((0x7FE0, 0x10), "OB", pixels, undefined=True)
    path.write_bytes(bytes(128) + b"DICM" + length + meta + body)
    return path


def write_series(folder: Path, image: U8, um: float, series: str = "1.2.3.7", prefix: str = "") -> list[Path]:
    """Two levels of one series as ``a.dcm`` and ``b.dcm``, the second half as large."""
    folder.mkdir(parents=True, exist_ok=True)
    half = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
    half = half.reshape(half.shape[0] // 2, 2, -1, 2, 3).mean(axis=(1, 3)).astype(np.uint8)
    return [
        write_level(folder / f"{prefix}a.dcm", image, um, series=series, instance=f"{series}.1", number=1),
        write_level(folder / f"{prefix}b.dcm", half, 2 * um, series=series, instance=f"{series}.2", number=2),
    ]
