"""Small files that claim, or unpack to, far more than a machine has: each made here, with the command that reads
it."""

from __future__ import annotations

import gzip
import json
import math
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import google_crc32c
import h5py
import numpy as np

ROOT = Path(__file__).parents[3]
DEMO = ROOT / "artifacts" / "demo-liver-phantom.zarr.zip"
SLIDE = ROOT / "artifacts" / "demo-slide.tif"
MIB = 1 << 20


def predict(slide: Path, *words: str | Path, ref: Path = DEMO) -> list[str]:
    """The command that predicts a slide; ``-o`` and the device are left to who runs it."""
    return ["predict", str(slide), "--ref", str(ref), *map(str, words)]


# --- slides


def tiff(path: Path, side: int, samples: int, tile: int, packed: bytes, um: float = 0.5) -> Path:
    """A TIFF of one square picture, deflated, whose tiles are all the same bytes; ``tile`` 0: one strip."""
    count = 1 if not tile else math.ceil(side / tile) ** 2
    per_cm = round(1e4 / um)
    tags: list[tuple[int, int, list[int]]] = [
        (256, 4, [side]),
        (257, 4, [side]),
        (258, 3, [8] * samples),
        (259, 3, [8]),  # deflate
        (262, 3, [2 if samples == 3 else 1]),
        (277, 3, [samples]),
        (282, 5, [per_cm, 1]),
        (283, 5, [per_cm, 1]),
        (296, 3, [3]),
    ]
    at = 8
    if tile:
        tags += [(322, 4, [tile]), (323, 4, [tile]), (324, 4, [at] * count), (325, 4, [len(packed)] * count)]
    else:
        tags += [(273, 4, [at]), (278, 4, [side]), (279, 4, [len(packed)])]
    tags.sort()
    directory = at + len(packed) + len(packed) % 2
    behind = directory + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, kind, numbers in tags:
        data = struct.pack(f"<{len(numbers)}{'H' if kind == 3 else 'I'}", *numbers)
        place = data.ljust(4, b"\0") if len(data) <= 4 else struct.pack("<I", behind + len(values))
        values += b"" if len(data) <= 4 else data
        entries += struct.pack("<HHI", tag, kind, len(numbers) // (2 if kind == 5 else 1)) + place
    body = packed + b"\0" * (len(packed) % 2) + struct.pack("<H", len(tags)) + entries + bytes(4) + values
    path.write_bytes(struct.pack("<2sHI", b"II", 42, directory) + body)
    return path


def deflated(size: int, value: int = 220) -> bytes:
    """So many equal bytes."""
    packer, part = zlib.compressobj(9), bytes([value]) * MIB
    parts = [packer.compress(part) for _ in range(size // MIB)]
    return b"".join((*parts, packer.compress(part[: size % MIB]), packer.flush()))


def strip(folder: Path) -> list[str]:
    """One strip of 20,000² px."""
    return predict(tiff(folder / "strip.tif", 20_000, 1, 0, deflated(20_000**2)))


def same_tile(folder: Path) -> list[str]:
    """Four entries on one tile of 16,000² px."""
    return predict(tiff(folder / "tile.tif", 32_000, 1, 16_000, deflated(16_000**2)))


def coarse(folder: Path) -> list[str]:
    """40,000² px at 20 µm per pixel: a slide of 80 cm."""
    return predict(tiff(folder / "coarse.tif", 40_000, 3, 1024, deflated(3 * MIB), um=20.0))


def coarse_fit(folder: Path) -> list[str]:
    """The same at the coarsest that the reference takes: 21 million cells."""
    return predict(tiff(folder / "coarse.tif", 40_000, 3, 1024, deflated(3 * MIB), um=13.0))


def coarse_mpp(folder: Path) -> list[str]:
    """The demo's slide at a hundred times its pixel size."""
    return predict(Path(shutil.copy(SLIDE, folder / "wrong.tif")), "--mpp", "50")


# --- text


def gzipped(path: Path, head: bytes, line: bytes, times: int) -> Path:
    """One line so many times."""
    lines = 100_000
    with gzip.GzipFile(path, "wb", 9, mtime=0) as file:
        file.write(head)
        for _ in range(times // lines):
            file.write(line * lines)
        file.write(line * (times % lines))
    return path


def positions(folder: Path) -> list[str]:
    """Positions of 440 MB in 430 kB."""
    return predict(SLIDE, "--at", gzipped(folder / "p.csv.gz", b"barcode,x,y\n", b"a,100,100\n", 44_000_000))


def positions_free(folder: Path) -> list[str]:
    """Positions of 8 MB, for which no ratio is asked: 1.4 million rows in 8 kB."""
    return predict(SLIDE, "--at", gzipped(folder / "p.csv.gz", b"barcode,x,y\n", b"a,9,9\n", 1_390_000))


def counts(folder: Path) -> list[str]:
    """Counts of 1.5 GB in 1.5 MB."""
    head = "\t".join(["", *(f"G{i}" for i in range(20_000))]).encode() + b"\n"
    row = b"s" + b"\t0" * 20_000 + b"\n"
    with gzip.GzipFile(folder / "m.tsv.gz", "wb", 9, mtime=0) as file:
        file.write(head)
        for _ in range(37_500):
            file.write(row)
    return section(folder, 'counts = "m.tsv.gz"')


def counts_free(folder: Path) -> list[str]:
    """Counts of 8 MB, for which no ratio is asked: 4 million zeros."""
    head = "\t".join(["", *(f"G{i}" for i in range(2_000))]).encode() + b"\n"
    rows = b"".join(b"s%d" % i + b"\t0" * 2_000 + b"\n" for i in range(2_000))
    (folder / "m.tsv.gz").write_bytes(gzip.compress(head + rows, 9, mtime=0))
    return section(folder, 'counts = "m.tsv.gz"')


def section(folder: Path, counted: str) -> list[str]:
    """The command that adds a section with those counts to the demo's reference."""
    shutil.copy(SLIDE, folder / "i.tif")
    (folder / "p.csv").write_text("barcode,x,y\nSPOT0-1,100,100\n")
    with_places = "" if counted.startswith("h5ad") else 'positions = "p.csv"\n'
    text = f'[[section]]\nid = "s"\ndonor = "d"\nimage = "i.tif"\n{counted}\n{with_places}'
    (folder / "cohort.toml").write_text(text)
    return ["build-reference", str(folder / "cohort.toml"), "--base", str(DEMO)]


# --- HDF5


def declared(folder: Path) -> list[str]:
    """A matrix of 10x's that declares 600 million values and stores none."""
    with h5py.File(folder / "m.h5", "w") as file:
        _names(file, 30_000, 30_000)
        for name in ("data", "indices"):
            file.create_dataset(f"matrix/{name}", (600_000_000,), "i4", chunks=(MIB,), compression="gzip")
        file["matrix/indptr"] = np.linspace(0, 600_000_000, 30_001).astype("i8")
    return section(folder, 'counts = "m.h5"')


def packed(folder: Path) -> list[str]:
    """The same with all of them stored, packed a thousand to one."""
    return _packed(folder, 600)


def packed_free(folder: Path) -> list[str]:
    """A matrix as large as may be packed so: 31 million values."""
    return _packed(folder, 30)


def _packed(folder: Path, chunks: int) -> list[str]:
    side = math.ceil(math.sqrt(chunks * MIB))
    with h5py.File(folder / "m.h5", "w") as file:
        _names(file, side, side)
        for name in ("data", "indices"):
            array = file.create_dataset(f"matrix/{name}", (chunks * MIB,), "i4", chunks=(MIB,), compression="gzip")
            zeros = zlib.compress(bytes(4 * MIB), 9)
            for number in range(chunks):
                array.id.write_direct_chunk((number * MIB,), zeros)
        file["matrix/indptr"] = np.linspace(0, chunks * MIB, side + 1).astype("i8")
    return section(folder, 'counts = "m.h5"')


def _names(file: h5py.File, genes: int, spots: int) -> None:
    matrix = file.create_group("matrix")
    matrix["shape"] = [genes, spots]
    matrix["barcodes"] = np.array([f"SPOT{i}-1" for i in range(spots)], "S")
    matrix["features/id"] = matrix["features/name"] = np.array([f"G{i}" for i in range(genes)], "S")


def endless(folder: Path) -> list[str]:
    """An h5ad of whose names libhdf5 never comes to the end."""
    crasher = ROOT / "tests" / "fuzz" / "crashers" / "endless-names.h5ad.gz"
    (folder / "m.h5ad").write_bytes(gzip.decompress(crasher.read_bytes()))
    return section(folder, 'h5ad = "m.h5ad"')


# --- bundles


def bundle(folder: Path) -> Path:
    """The demo's bundle as a folder."""
    with zipfile.ZipFile(DEMO) as file:
        file.extractall(folder / "b.zarr")
    return folder / "b.zarr"


CHUNK = "expression/c/0/0"


def zip_member(folder: Path) -> list[str]:
    """A chunk of 2 GB in a zip."""
    path = folder / "b.zarr.zip"
    bomb = zipfile.ZipInfo(CHUNK)
    bomb.compress_type = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(DEMO) as sound, zipfile.ZipFile(path, "w") as out:
        for entry in sound.infolist():
            if entry.filename != CHUNK:
                out.writestr(entry, sound.read(entry))
        with out.open(bomb, "w", force_zip64=True) as part:
            for _ in range(2000):
                part.write(bytes(MIB))
    return predict(SLIDE, ref=path)


def zstd_chunk(folder: Path) -> list[str]:
    """A chunk of 61 kB that zstd unpacks to 2.1 GB."""
    path = bundle(folder)
    blocks = 16_384
    frame = struct.pack("<IBBQ", 0xFD2FB528, 0xC0, 0x50, blocks << 17)
    one = (2 | (1 << 17) << 3).to_bytes(4, "little")[:3]  # a byte, repeated 131,072 times
    last = (1 | 2 | (1 << 17) << 3).to_bytes(4, "little")[:3]
    packed = frame + (one + b"\0") * (blocks - 1) + last + b"\0"
    crc = google_crc32c.value(packed)
    (path / CHUNK).write_bytes(packed + struct.pack("<I", crc))
    return predict(SLIDE, ref=path)


def symbols(folder: Path) -> list[str]:
    """300 million gene symbols, none of them stored."""
    path = bundle(folder)
    place = path / "genes" / "symbol" / "zarr.json"
    said = json.loads(place.read_text())
    said["shape"] = [300_000_000]
    place.write_text(json.dumps(said))
    return predict(SLIDE, ref=path)


def deep_bundle(folder: Path) -> list[str]:
    """A million brackets as the metadata of a bundle."""
    path = bundle(folder)
    (path / "zarr.json").write_text("[" * 1_000_000)
    return predict(SLIDE, ref=path)


# --- masks


def ring(folder: Path) -> list[str]:
    """A ring of a million corners."""
    turns = np.linspace(0, 2 * np.pi, 1_000_000)
    corners = np.stack([1000 + 900 * np.cos(turns), 1000 + 900 * np.sin(turns)], 1).round(2)
    return predict(SLIDE, "--mask", _mask(folder, corners))


def saw(folder: Path) -> list[str]:
    """A ring of a million corners whose edges each cross the slide."""
    corners = np.stack([np.linspace(0, 2000, 1_000_000), np.tile([0.0, 2000.0], 500_000)], 1).round(2)
    return predict(SLIDE, "--mask", _mask(folder, corners))


def deep_mask(folder: Path) -> list[str]:
    """A million brackets as a mask."""
    (folder / "m.geojson").write_text("[" * 1_000_000)
    return predict(SLIDE, "--mask", folder / "m.geojson")


def _mask(folder: Path, corners: np.ndarray) -> Path:
    corners[-1] = corners[0]
    path = folder / "m.geojson"
    path.write_text(json.dumps({"type": "Polygon", "coordinates": [corners.tolist()]}))
    return path


CRAFTED: Mapping[str, Callable[[Path], list[str]]] = {
    make.__name__: make
    for make in (
        *(strip, same_tile, coarse, coarse_fit, coarse_mpp),
        *(positions, positions_free, counts, counts_free),
        *(declared, packed, packed_free, endless),
        *(zip_member, zstd_chunk, symbols, deep_bundle),
        *(ring, saw, deep_mask),
    )
}
"""What makes a file in a folder and returns the command that reads it, by name."""


def sizes(folder: Path) -> Iterator[int]:
    """Bytes of every file that was made."""
    return (path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != "i.tif")
