"""Every output walked for names: none of an anonymous slide, and never a folder, a user, the text of a label."""

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
import pytest
import tifffile
import zarr

from bleep_cli.base.hashing import file_sha256
from bleep_cli.base.hidden import Hidden
from bleep_cli.commands.console import Console

MPP = 4.0  # of the made-up slide
FEW = "h5ad,csv,html"
FORMATS = "h5ad,zarr,png,geojson,csv,parquet,ometiff,spatialdata,html"
SLIDE, TABLE_NAME, MASK = "Meierova_Zdenka.tif", "Zdenka-of-ward-7", "Umriss-Meierova.geojson"
ALWAYS = {"folder": "Kowalczyk-Ward", "user": "drzhivago", "label": "S21-LABEL-4711"}
OF_FILES = {"slide": "Meierova", "table": "Zdenka", "mask": "Umriss"}
BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")


@pytest.fixture
def world(query_slide: Path, tmp_path: Path) -> Path:
    """A folder called by a patient, with a slide, its mask and a table of slides."""
    folder = tmp_path / ALWAYS["folder"]
    folder.mkdir()
    per_cm = (10_000 / MPP, 10_000 / MPP)
    with tifffile.TiffWriter(folder / SLIDE) as file:
        shared = {"photometric": "rgb", "metadata": None, "resolution": per_cm, "resolutionunit": "CENTIMETER"}
        file.write(tifffile.imread(query_slide), description=f"{ALWAYS['label']} of {SLIDE}", **shared)
        file.write(np.full((40, 60, 3), 200, np.uint8), description=f"label {ALWAYS['label']}", **shared)
    ring = [[0, 0], [300, 0], [300, 200], [0, 200], [0, 0]]
    (folder / MASK).write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    (folder / "Zdenkas.csv").write_text(f"slide,name,mask\n{SLIDE},{TABLE_NAME},{MASK}\n")
    return folder


def bleep(*words: object, home: Path) -> bytes:
    """What a command says on both streams; it has to end well, and nothing but our own lines stands on stderr."""
    user = ALWAYS["user"]
    environment = os.environ | {"USER": user, "LOGNAME": user, "HOME": str(home / user)}
    command = [sys.executable, "-W", "default", "-m", "bleep_cli.cli", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
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
        for packed in BASE64.findall(raw):
            data = base64.b64decode(packed + b"==")
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


@pytest.mark.slow
def test_no_output_names_a_slide_that_is_anonymous(world: Path, small_bundle: Path, tmp_path: Path) -> None:
    name = f"slide-{file_sha256(world / SLIDE)[:12]}"
    out = {what: tmp_path / f"out-{what}" for what in ("plain", "one", "table", "again")}
    one = (world / SLIDE, "--mask", world / MASK)
    common = ("--ref", small_bundle, "--format", FORMATS)
    lines = [("plain", bleep("predict", *one, *common, "-o", out["plain"], home=tmp_path))]
    assert found(ALWAYS, *lines, *contents(out["plain"])) == []
    assert len(found(OF_FILES, *lines, *contents(out["plain"]))) > 8  # the walk sees what there is to see
    hidden = [
        ("one", bleep("predict", *one, *common, "--anonymise", "-o", out["one"], home=tmp_path)),
        (
            "resumed",
            bleep("predict", *one, *common, "--anonymise", "--resume", "--json", "-o", out["one"], home=tmp_path),
        ),
        ("dry", bleep("predict", *one, *common, "--anonymise", "--dry-run", home=tmp_path)),
        (
            "table",
            bleep(
                "predict",
                "--slides",
                world / "Zdenkas.csv",
                "--ref",
                small_bundle,
                "--format",
                FEW,
                "--anonymise",
                "-o",
                out["table"],
                home=tmp_path,
            ),
        ),
    ]
    result = out["plain"] / f"{Path(SLIDE).stem}.h5ad"
    again = ("--anonymise", "-o")
    hidden += [
        ("convert", bleep("convert", result, "--format", FORMATS, *again, out["again"], home=tmp_path)),
        ("report", bleep("report", result, *again, out["again"] / "page.html", home=tmp_path)),
        ("plot", bleep("plot", result, "--genes", "GENE1", *again, out["again"] / "figure.svg", home=tmp_path)),
    ]
    written = [place for what in ("one", "table", "again") for place in contents(out[what])]
    assert found(ALWAYS | OF_FILES, *hidden, *written) == []
    assert f"{name}.h5ad" in dict(hidden)["one"].decode() and b"complete already" in dict(hidden)["resumed"]
    for what in ("one", "table", "again"):
        assert {f"{name}.h5ad", f"{name}.bleep.csv", f"{name}.html"} <= {path.name for path in out[what].iterdir()}


@pytest.mark.slow
def test_errors_do_not_name_it_either(world: Path, small_bundle: Path, tmp_path: Path) -> None:
    (world / SLIDE).write_bytes(b"II*\0" + bytes(40))
    command = [sys.executable, "-m", "bleep_cli.cli", "predict", str(world / SLIDE), "--anonymise"]
    done = subprocess.run(
        [*command, "--ref", str(small_bundle), "--json"], capture_output=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 3
    assert found(ALWAYS | OF_FILES, ("stderr", done.stderr), ("stdout", done.stdout)) == []


def test_names_are_replaced_as_whole_words() -> None:
    hidden = Hidden({"Meier.svs": "slide-1", "Meier": "slide-1", "7": "slide-7", "a.b": "x"})
    assert hidden.text("Meier.svs: 7 tiles of Meier_3x4, Meierhof") == "slide-1: 7 tiles of slide-1_3x4, Meierhof"
    assert hidden.value({"slide": "7", "n": 7, "in": ["Meier", {"Meier": None}]}) == {
        "slide": "slide-7",
        "n": 7,
        "in": ["slide-1", {"Meier": None}],
    }


def test_a_console_tells_no_hidden_name(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.hide({"Meier.svs": "slide-1"})
    console.say("Meier.svs: read")
    console.each({"slide": "Meier.svs"}, "Meier.svs → x")
    console.heed(as_json=True)
    console.data({"slide": "Meier.svs"}, [])
    assert "Meier" not in "".join(capsys.readouterr())
