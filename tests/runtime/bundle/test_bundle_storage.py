"""Files of a bundle that were made to do harm: refused by one line, before memory or time is spent."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from pathlib import Path
from typing import Any

import google_crc32c
import imagecodecs
import numpy as np
import pytest
import zarr
from bundle_damage import seal, values_of
from bundle_refusal import refused

from bleep_cli.bundle.open import open_bundle
from bleep_cli.errors import ReferenceError

GOLDEN = Path(__file__).parents[2] / "golden"


# --- what zarr.json may say


def restate(path: Path, name: str, **changes: Any) -> None:
    file = path / name / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def grid(*sizes: int) -> dict[str, Any]:
    return {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": list(sizes)}}}


STATED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "a codec that is not known": (
        "expression",
        "codecs bytes, pickle, not",
        {"codecs": [{"name": "bytes"}, {"name": "pickle"}]},
    ),
    "a codec that cannot be printed": (
        "expression",
        r"codecs b\\ud800\\x1b, ",
        {"codecs": [{"name": "b\ud800\x1b"}]},
    ),
    "a codec twice": ("expression", "codecs", {"codecs": [{"name": "bytes"}, {"name": "zstd"}, {"name": "zstd"}]}),
    "chunks in chunks": ("expression", "codecs sharding_indexed", {"codecs": [{"name": "sharding_indexed"}]}),
    "chunks of nothing": ("expression", r"sizes \[0, 12\]", grid(0, 12)),
    "chunks of less than nothing": ("expression", "sizes", grid(-1, 12)),
    "a chunk of a terabyte": ("expression", "chunks of .* bytes, at most", grid(10**6, 10**6)),
    "chunks of other axes": ("expression", "of shape", grid(10)),
    "three hundred million names": ("genes/symbol", "claim to hold 1200000000", {"shape": [300_000_000]}),
    "a terabyte of values": ("expression", "claim to hold", {"shape": [10**9, 12]}),
    "a size that is no number": ("expression", "sizes", {"shape": ["many", 12]}),
    "a size beyond numbers": ("expression", "sizes", {"shape": [10**40, 12]}),
    "too many axes": ("expression", "no shape", {"shape": [1] * 40}),
    "a type that is not known": ("expression", "data_type", {"data_type": "object"}),
    "dates": ("spots/x", "data_type", {"data_type": {"name": "numpy.datetime64"}}),
    "another order of bytes": (
        "spots/x",
        "byte order",
        {"codecs": [{"name": "bytes", "configuration": {"endian": "middle"}}]},
    ),
    "chunks of other names": ("spots/x", "other names", {"chunk_key_encoding": {"name": "v2"}}),
    "transformers": ("spots/x", "other names", {"storage_transformers": [{"name": "x"}]}),
    "no codecs": ("spots/x", "TypeError|not iterable", {"codecs": None}),
    "version 2": ("spots/x", "not of Zarr version 3", {"zarr_format": 2}),
    "attributes that are none": ("spots/x", "not of Zarr version 3", {"attributes": [1]}),
}


@pytest.mark.parametrize("what", STATED)
def test_arrays_that_state_what_no_bundle_has(broken: Path, what: str) -> None:
    name, why, changes = STATED[what]
    restate(broken, name, **changes)
    refused(broken, rf"^broken\.zarr: not a reference bundle \({name}: .*({why})")


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xfe{", b"null", b"[" * 100_000, b'{"a":' * 100_000, b"1" * 10_000, b"{}" + b" " * (17 << 20)],
)
@pytest.mark.parametrize("name", ["", "genes", "expression"])
def test_zarr_json_that_is_none(broken: Path, name: str, data: bytes) -> None:
    (broken / name / "zarr.json").write_bytes(data)
    refused(broken, r"^broken\.zarr: not a reference bundle")


# --- what chunks hold


def put_chunk(path: Path, name: str, data: bytes) -> None:
    """Replaces an array's first chunk, with a checksum that fits."""
    [*_, file] = sorted((path / name / "c").rglob("0"))
    file.write_bytes(data + google_crc32c.value(data).to_bytes(4, "little"))


def packed(data: bytes) -> bytes:
    return bytes(imagecodecs.zstd_encode(data))


def texts(*values: bytes, count: int | None = None) -> bytes:
    head = struct.pack("<I", len(values) if count is None else count)
    return head + b"".join(struct.pack("<I", len(value)) + value for value in values)


GENES = [f"GENE{i}".encode() for i in range(12)]
CHUNKS: dict[str, tuple[str, bytes, str]] = {
    "a bomb of a gigabyte": ("expression", packed(bytes(1 << 30)), "too small"),
    "a bomb of names": ("genes/symbol", packed(bytes(1 << 30)), "too small"),
    "too little": ("expression", packed(bytes(100)), "100 bytes, not"),
    "no zstd": ("expression", b"no zstd at all", "ZSTD|Zstd|zstd|Unknown frame"),
    "nothing": ("expression", b"", "bytes, not|ZSTD|Zstd|zstd|size"),
    "four thousand million names": ("genes/symbol", packed(texts(count=2**32 - 1)), "4294967295 texts, not 12"),
    "a name longer than the chunk": ("genes/symbol", packed(texts(*GENES)[:-2]), "goes on beyond"),
    "names and more": ("genes/symbol", packed(texts(*GENES) + b"more"), "more than its texts"),
    "names that are no UTF-8": ("genes/symbol", packed(texts(b"\xff\xff", *GENES[1:])), "decode"),
    "a name with an escape": ("genes/symbol", packed(texts(b"\x1b[31mA", *GENES[1:])), "control characters"),
    "a name of two lines": ("genes/id", packed(texts(b"A\nbleep: done", *GENES[1:])), "control characters"),
    "a name with NUL": ("genes/symbol", packed(texts(b"A\0", *GENES[1:])), "control characters"),
    "a name that turns the line": (
        "genes/symbol",
        packed(texts("A\u202eB".encode(), *GENES[1:])),
        "control characters",
    ),
    "a name without end": ("genes/symbol", packed(texts(b"A" * 2000, *GENES[1:])), "name of 2000 characters"),
    "a name twice": ("genes/symbol", packed(texts(b"GENE1", *GENES[1:])), "holds a gene twice"),
}


@pytest.mark.parametrize("what", CHUNKS)
def test_chunks_with_a_fitting_checksum(broken: Path, what: str) -> None:
    name, data, why = CHUNKS[what]
    put_chunk(broken, name, data)
    refused(broken, rf"^broken\.zarr: .*{name}.*({why})", lambda bundle: bundle.read("expression"))


@pytest.mark.parametrize("what", ["a pipe", "a device", "a folder"])
@pytest.mark.parametrize("name", ["expression/c/0/0", "genes/symbol/c/0", "zarr.json"])
def test_what_is_no_file_is_not_waited_for(broken: Path, what: str, name: str) -> None:
    (broken / name).unlink()
    if what == "a pipe":
        os.mkfifo(broken / name)
    elif what == "a device":
        (broken / name).symlink_to("/dev/zero")
    else:
        (broken / name).mkdir()
    refused(broken, r"^broken\.zarr(:| is damaged)")


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(broken: Path) -> None:
    bundle = open_bundle(broken)
    (broken / "expression/c/0/0").unlink()
    os.mkfifo(broken / "expression/c/0/0")
    with pytest.raises(ReferenceError, match=r"expression is damaged .*0 is no file"):
        bundle.read("expression")


def test_folders_without_end_are_refused(broken: Path) -> None:
    (broken / "a").symlink_to(broken)  # is not followed
    assert open_bundle(broken).n_spots == 252
    (broken / "/".join("d" * 20)).mkdir(parents=True)
    refused(broken, "folders more than 16 deep")


# --- zips


def zipped(bundle: Path, out: Path, method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(out, "w", method) as archive:
        for file in sorted(bundle.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(bundle).as_posix())
    return out


def test_a_name_twice_in_a_zip(small_bundle: Path, tmp_path: Path) -> None:
    path = zipped(small_bundle, tmp_path / "twice.zarr.zip")
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("expression/c/0/0", b"another")
    refused(path, r"two files of the name expression/c/0/0")


def test_a_bomb_in_a_zip(broken: Path, tmp_path: Path) -> None:
    (broken / "zarr.json").write_bytes((broken / "zarr.json").read_bytes() + b" " * (8 << 20))
    path = zipped(broken, tmp_path / "bomb.zarr.zip", zipfile.ZIP_DEFLATED)
    refused(path, r"^bomb\.zarr\.zip: not a reference bundle \(its root: \d+ bytes claim to hold \d+\)")


def test_another_packing_in_a_zip(small_bundle: Path, tmp_path: Path) -> None:
    path = zipped(small_bundle, tmp_path / "lzma.zarr.zip", zipfile.ZIP_LZMA)
    refused(path, "neither stored nor deflated, or encrypted")


def test_flipped_bits_of_a_zip_are_told_or_harmless(small_bundle: Path, tmp_path: Path) -> None:
    data = zipped(small_bundle, tmp_path / "ref.zarr.zip").read_bytes()
    rng = np.random.default_rng(3)
    wanted = open_bundle(small_bundle)
    told = 0
    for place in rng.integers(0, len(data), 150):
        flipped = bytearray(data)
        flipped[place] ^= 1 << rng.integers(8)
        (tmp_path / "ref.zarr.zip").write_bytes(flipped)
        try:
            bundle = open_bundle(tmp_path / "ref.zarr.zip")
            bundle.check_content()
        except ReferenceError as error:
            told += 1
            assert str(tmp_path) not in str(error) and "\n" not in str(error)
            continue
        assert bundle.content_sha256 == wanted.content_sha256
    assert told > 100


# --- Zarr reads the same


@pytest.mark.parametrize("file", sorted(path.name for path in GOLDEN.glob("*.zarr.zip")))
def test_what_zarr_reads_is_what_is_read(file: str) -> None:
    root = zarr.open_group(zarr.storage.ZipStore(GOLDEN / file, mode="r"), mode="r")
    arrays = open_bundle(GOLDEN / file).root.arrays()
    assert len(arrays) > 12
    for name, array in arrays.items():
        theirs = root[name]
        assert (array.shape, array.chunks, dict(array.attrs)) == (
            theirs.shape,
            theirs.chunks,
            theirs.attrs.asdict(),
        )
        np.testing.assert_array_equal(array[...].astype(theirs.dtype), theirs[...])
        if array.ndim == 2 and array.shape[0] > 9:
            np.testing.assert_array_equal(array[3:9, 1:], theirs[3:9, 1:])
            np.testing.assert_array_equal(array[7:2], theirs[7:2])


def test_big_endian_values_without_codecs_are_read(broken: Path) -> None:
    wanted = values_of(broken, "spots/x")
    root = zarr.open_group(broken, mode="r+")
    del root["spots/x"]
    big = root.create_array("spots/x", shape=wanted.shape, dtype=">f8", chunks=(100,), compressors=None)
    big[...] = wanted
    seal(broken)
    np.testing.assert_array_equal(open_bundle(broken).xy_l0()[:, 0], wanted)
