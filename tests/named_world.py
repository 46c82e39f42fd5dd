"""A folder called by a patient, with a slide, its mask and a table; and a walk over all that commands leave."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pyarrow.parquet as pq
import tifffile
import zarr

MPP = 4.0  # of the made-up slide
SLIDE, TABLE_NAME, MASK = "Meierova_Zdenka.tif", "Zdenka-of-ward-7", "Umriss-Meierova.geojson"
ALWAYS = {"folder": "Kowalczyk-Ward", "user": "drzhivago", "label": "S21-LABEL-4711"}
OF_FILES = {"slide": "Meierova", "table": "Zdenka", "mask": "Umriss"}
BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


def make_world(folder: Path, picture: Path) -> Path:
    """The folder, in ``folder``, its slide that of ``picture`` with a label."""
    world = folder / ALWAYS["folder"]
    world.mkdir()
    per_cm = (10_000 / MPP, 10_000 / MPP)
    with tifffile.TiffWriter(world / SLIDE) as file:
        shared = {"photometric": "rgb", "metadata": None, "resolution": per_cm, "resolutionunit": "CENTIMETER"}
        file.write(tifffile.imread(picture), description=f"{ALWAYS['label']} of {SLIDE}", **shared)
        file.write(np.full((40, 60, 3), 200, np.uint8), description=f"label {ALWAYS['label']}", **shared)
    ring = [[0, 0], [300, 0], [300, 200], [0, 200], [0, 0]]
    (world / MASK).write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    (world / "Zdenkas.csv").write_text(f"slide,name,mask\n{SLIDE},{TABLE_NAME},{MASK}\n")
    return world


def environment(home: Path) -> dict[str, str]:
    """That of a user with a name."""
    user = ALWAYS["user"]
    return os.environ | {"USER": user, "LOGNAME": user, "HOME": str(home / user)}


def bleep(*words: object, home: Path) -> bytes:
    """What a command says on both streams; it has to end well, and nothing but our own lines stands on stderr."""
    command = [sys.executable, "-W", "default", "-m", "bleep_cli.cli", *map(str, words)]
    done = subprocess.run(command, env=environment(home), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    said = done.stderr.decode().splitlines()
    assert [line for line in said if not line.startswith("bleep: ")] == []  # no warning of a library's
    return done.stdout + done.stderr


def contents(out: Path) -> Iterator[tuple[str, bytes]]:
    """(where, bytes) of all that is under a folder: names, bytes as they are, and what they pack."""
    for path in sorted(out.rglob("*")):
        yield path.name, path.name.encode()
        if path.is_file():
            for data in _unpacked(path):
                yield path.name, data
    for store in sorted(out.glob("*.zarr")):
        for name, node in zarr.open_group(store, mode="r").members(max_depth=None):
            if isinstance(node, zarr.Array) and node.dtype.kind not in "iufb":
                yield f"{store.name}/{name}", str(np.asarray(node[...]).tolist()).encode()


def packed(raw: bytes) -> Iterator[bytes]:
    """What stands in a text as base64."""
    for found in BASE64.findall(raw):
        yield base64.b64decode(found + b"==")


def _unpacked(path: Path) -> Iterator[bytes]:
    raw = path.read_bytes()
    yield raw
    yield raw.replace(b"\0", b"")  # of NumPy's texts, four bytes a letter
    if path.suffix == ".parquet":
        table = pq.read_table(path)
        yield f"{table.schema} {table.to_pydict()}".encode()
    if path.suffix == ".h5ad":
        with h5py.File(path) as file:
            found: list[str] = []
            file.visititems(lambda name, node: found.append(f"{name} {dict(node.attrs)} {_values(node)}"))
        yield " ".join(found).encode()
    if path.suffix == ".html":
        for data in packed(raw):
            yield data
            for bits in (-15, 15, 31):
                try:
                    yield zlib.decompress(data, bits)
                except zlib.error:
                    continue
    for start in (found.start() for found in re.finditer(re.escape(b"\x28\xb5\x2f\xfd"), raw)):
        try:
            yield bytes(imagecodecs.zstd_decode(raw[start:]))
        except RuntimeError:
            continue


def _values(node: h5py.Group | h5py.Dataset) -> str:
    return str(node[()]) if isinstance(node, h5py.Dataset) and node.dtype.kind in "OSU" else ""


def found(names: Mapping[str, str], *places: tuple[str, bytes]) -> list[str]:
    """Where any of the names stands, in any case of its letters."""
    return sorted(
        {
            f"{what} in {where}"
            for where, data in places
            for what, name in names.items()
            if name.lower().encode() in data.lower()
        }
    )
