"""The reference bundle: what is written comes back, and what is damaged or foreign is refused at the door."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from made_nuclei import small_signature
from scipy import sparse

from bleep_cli.bundle import write as bundle_write
from bleep_cli.bundle.contents import BundleArrays
from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.bundle.learned.looks import Looks
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import OutputError, ReferenceError, UsageError
from bleep_cli.reference.parts import Built
from bleep_cli.towers.precision import Cost, OtherTower

# --- round trip


@pytest.mark.parametrize("ending", [".zarr", ".zarr.zip"])
def test_what_is_written_comes_back(small_built: Built, tmp_path: Path, ending: str) -> None:
    info, arrays = small_built.info, small_built.arrays
    info = replace(info, species="Homo sapiens", licence="CC0", citation="ü", training={"lr": 0.1, "a": [1]})
    arrays = replace(arrays, gene_columns={"heldout_r": np.linspace(-1, 1, 12, dtype=np.float32)})
    path = tmp_path / f"small{ending}"
    written = write_bundle(path, info, arrays)
    found = open_bundle(path)
    assert (found.name, found.content_sha256, found.info) == (path.name, written, info)
    assert_arrays(found, arrays)
    assert path.is_file() == (ending == ".zarr.zip")
    assert list(tmp_path.iterdir()) == [path]


def assert_arrays(found: Bundle, wanted: BundleArrays) -> None:
    assert found.n_spots == len(wanted.section) == 252
    np.testing.assert_array_equal(found.embeddings("image"), wanted.image_embeddings)
    np.testing.assert_array_equal(found.embeddings("expression"), wanted.expression_embeddings)
    np.testing.assert_array_equal(found.symbols, wanted.symbols)
    np.testing.assert_array_equal(found.gene_ids, wanted.gene_ids)
    np.testing.assert_array_equal(found.panel, wanted.panel)
    for column in ("section", "barcode", "donor"):
        np.testing.assert_array_equal(found.spots(column), getattr(wanted, column))
    np.testing.assert_array_equal(found.xy_l0(), wanted.xy_l0)
    assert found.tower("image") == wanted.image_tower
    assert found.tower("expression") == wanted.expression_tower
    assert list(found.gene_columns()) == list(wanted.gene_columns)
    for name, column in wanted.gene_columns.items():
        np.testing.assert_array_equal(found.gene_columns()[name], column)


def test_expression_dense_or_sparse_whole_or_some_columns(small_bundle: Path, small_built: Built) -> None:
    found, wanted = open_bundle(small_bundle), small_built.arrays.expression.toarray()
    columns = np.array([7, 2])
    dense, part = found.expression(None, 1 << 30), found.expression(columns, 1 << 30)
    assert isinstance(dense, np.ndarray) and dense.dtype == part.dtype == np.float32
    np.testing.assert_array_equal(dense, wanted)
    np.testing.assert_array_equal(part, wanted[:, columns])
    for values, goal in (
        (found.expression(None, 10), wanted),
        (found.expression(columns, 10), wanted[:, columns]),
    ):
        assert sparse.issparse(values) and values.format == "csr"
        np.testing.assert_array_equal(values.toarray(), goal)


def test_expression_in_many_chunks(small_built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = write_bundle(tmp_path / "a.zarr.zip", small_built.info, small_built.arrays)
    monkeypatch.setattr(bundle_write, "EXPRESSION_CHUNK", (100, 5))
    monkeypatch.setattr(bundle_write, "ROW_CHUNK", 30)
    many = write_bundle(tmp_path / "b.zarr", small_built.info, small_built.arrays)
    assert one == many  # the hash is of the content, not of its chunks
    found = open_bundle(tmp_path / "b.zarr")
    assert found.array("expression").chunks == (100, 5)
    assert found.array("embeddings/image").chunks == (30, 8)
    np.testing.assert_array_equal(found.expression(None, 1 << 30), small_built.arrays.expression.toarray())


def test_rows_on_disk_are_written_as_they_are_in_memory(small_built: Built, tmp_path: Path) -> None:
    """A bundle larger than memory is written from memory maps and from the bundle it grew from."""
    arrays = small_built.arrays
    one = write_bundle(tmp_path / "a.zarr", small_built.info, arrays)
    np.save(tmp_path / "e.npy", arrays.image_embeddings)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r", allow_pickle=False)
    stored = open_bundle(tmp_path / "a.zarr").expression_rows()
    again = replace(arrays, image_embeddings=mapped, expression=stored)
    assert write_bundle(tmp_path / "b.zarr", small_built.info, again) == one


def test_genes_by_symbol_or_id_in_the_asked_order(small_bundle: Path) -> None:
    found = open_bundle(small_bundle)
    assert found.gene_rows(None).tolist() == list(range(12))
    assert found.gene_rows(["GENE7", "GENE2", "GENE7"]).tolist() == [7, 2]
    with pytest.raises(UsageError, match=r"genes: GENE99, X not in small\.zarr; did you mean GENE9"):
        found.gene_rows(["GENE1", "GENE99", "X"])
    with pytest.raises(UsageError, match=r"genes: gene3, Gene4 not in small\.zarr; did you mean GENE3, GENE4\?"):
        found.gene_rows(["gene3", "Gene4"])


def test_genes_by_ids_of_whatever_version(small_built: Built, tmp_path: Path) -> None:
    ids = np.array([f"ENSG{i:011d}" for i in range(12)])
    write_bundle(tmp_path / "a.zarr", small_built.info, replace(small_built.arrays, gene_ids=ids))
    found = open_bundle(tmp_path / "a.zarr")
    assert found.gene_rows(["ENSG00000000007.12", "ENSG00000000002", "GENE7"]).tolist() == [7, 2]
    with pytest.raises(UsageError, match=r"genes: ENSG00000000077 not in a\.zarr; did you mean ENSG000000000"):
        found.gene_rows(["ENSG00000000077.1"])


# --- content hash


def test_hash_is_the_same_for_folder_and_zip_and_for_every_writing(small_built: Built, tmp_path: Path) -> None:
    names = ("a.zarr", "a.zarr.zip", "b.zarr.zip")
    hashes = {write_bundle(tmp_path / name, small_built.info, small_built.arrays) for name in names}
    assert len(hashes) == 1
    assert (tmp_path / "a.zarr.zip").read_bytes() == (tmp_path / "b.zarr.zip").read_bytes()


def test_zip_holds_every_name_once(small_built: Built, tmp_path: Path) -> None:
    write_bundle(tmp_path / "a.zarr.zip", small_built.info, small_built.arrays)
    names = zipfile.ZipFile(tmp_path / "a.zarr.zip").namelist()
    assert len(names) == len(set(names)) and "zarr.json" in names


def test_hash_is_the_documented_one(small_bundle: Path) -> None:
    """docs/bundle-format.md, "Content hash", written out again."""
    digest, root = hashlib.sha256(), zarr.open_group(small_bundle, mode="r")
    for file in sorted(small_bundle.glob("**/zarr.json"), key=lambda file: str(file.parent)):
        meta = json.loads(file.read_text())
        if meta["node_type"] == "array":
            name = file.parent.relative_to(small_bundle).as_posix()
            head = [name, meta["shape"], meta["attributes"]]
            digest.update(json.dumps(head, sort_keys=True).encode())
            values = root[name][...]
            text = meta["data_type"] == "string"
            digest.update("".join(f"{len(v)}:{v}" for v in values).encode() if text else values.tobytes())
    attrs = root.attrs.asdict()
    stated = attrs.pop("content_sha256")
    digest.update(json.dumps(attrs, sort_keys=True).encode())
    assert digest.hexdigest() == stated


def added(arrays: BundleArrays, name: str) -> object:
    """Of what a bundle may hold and these arrays do not, something; None for what they hold."""
    column, tiles = np.ones(12, np.float32), np.ones((3, 8), np.float16)
    scores = np.tile(np.array([-1, 1], np.float16), (12, 1))
    may: dict[str, object] = {
        "gene_columns": {"r": np.zeros(12, np.float32)},
        "signature": small_signature(sections=3),
        "looks": Looks(tiles, np.arange(3), np.zeros(3, np.float32), (0.0, 0.0), (1.0, 1.0), "donor"),
        "calibration": Calibration(np.array([0.1, 0.9], np.float32), scores, column, 200.0),
        "other_towers": {"int8": OtherTower(arrays.image_tower, Cost(1.0, 1.0, 0.0, "C"))},
    }
    return may.get(name)


def changed(arrays: BundleArrays, name: str) -> BundleArrays:
    """The arrays with one value of one of them changed."""
    value, new = getattr(arrays, name), added(arrays, name)
    if new is not None:
        return replace(arrays, **{name: new})
    if isinstance(value, bytes):
        return replace(arrays, **{name: value + b"\0"})
    other = value.copy()
    if value.dtype.kind == "U":
        other = other.astype(object)
        other[3] = "changed"
        other = other.astype(str)
    elif sparse.issparse(value):
        other.data[5] += 1
    else:
        other[3] = -other[3] if name.endswith("embeddings") else other[3] + 1
    return replace(arrays, **{name: other})


@pytest.mark.parametrize("name", [entry.name for entry in fields(BundleArrays)])
def test_hash_feels_every_array(small_built: Built, small_bundle: Path, tmp_path: Path, name: str) -> None:
    arrays = changed(small_built.arrays, name)
    after = write_bundle(tmp_path / "b.zarr.zip", small_built.info, arrays)
    assert after != open_bundle(small_bundle).content_sha256


@pytest.mark.parametrize(
    "change",
    [
        {"k": 7},
        {"key": "image"},
        {"aggregation": "weighted"},
        {"views": 1},
        {"licence": "CC0"},
        {"parent_sha256": "ab"},
        {"training": {"a": 1}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_hash_feels_the_attributes(
    small_built: Built, small_bundle: Path, tmp_path: Path, change: dict[str, Any]
) -> None:
    after = write_bundle(tmp_path / "b.zarr.zip", replace(small_built.info, **change), small_built.arrays)
    assert after != open_bundle(small_bundle).content_sha256


def test_hash_tells_names_apart_that_read_alike(small_built: Built, tmp_path: Path) -> None:
    arrays, hashes = small_built.arrays, set()
    for i, (first, second) in enumerate([("a\nb", "c"), ("a", "b\nc"), ("ab", "c")]):
        barcode = arrays.barcode.copy()
        barcode[:2] = first, second
        hashes.add(write_bundle(tmp_path / f"{i}.zarr.zip", small_built.info, replace(arrays, barcode=barcode)))
    assert len(hashes) == 3


# --- writing


def test_other_endings_are_refused(small_built: Built, tmp_path: Path) -> None:
    for name in ("a.h5ad", "a", "a.zip", "a.zarr.tar"):
        with pytest.raises(UsageError, match=r"a bundle is named \*\.zarr .* or \*\.zarr\.zip"):
            write_bundle(tmp_path / name, small_built.info, small_built.arrays)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [("barcode", "same number of spots"), ("symbols", "or genes"), ("xy_l0", "same number of spots")],
)
def test_arrays_that_do_not_fit_are_refused(small_built: Built, tmp_path: Path, name: str, reason: str) -> None:
    arrays = replace(small_built.arrays, **{name: getattr(small_built.arrays, name)[:-1]})
    with pytest.raises(ReferenceError, match=reason):
        write_bundle(tmp_path / "a.zarr", small_built.info, arrays)
    assert not list(tmp_path.iterdir())


def test_duplicate_symbols_are_refused(small_built: Built, tmp_path: Path) -> None:
    arrays = replace(small_built.arrays, symbols=np.array(["A"] * 12))
    with pytest.raises(ReferenceError, match="gene symbols of a bundle must be unique"):
        write_bundle(tmp_path / "a.zarr", small_built.info, arrays)


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_a_failure_half_way_leaves_nothing(
    small_built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    seen: list[str] = []

    def fail(root: Any, attrs: Any) -> str:
        seen.extend(path.name for path in tmp_path.iterdir())
        raise RuntimeError("power cut")

    monkeypatch.setattr(bundle_write, "content_sha256", fail)
    with pytest.raises(RuntimeError, match="power cut"):
        write_bundle(tmp_path / name, small_built.info, small_built.arrays)
    assert seen and all(part.startswith(".") and part.endswith(".bleep-tmp") for part in seen)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.zarr", "a.zarr.zip"])
def test_nothing_is_overwritten_without_force(small_built: Built, tmp_path: Path, name: str) -> None:
    path, info = tmp_path / name, small_built.info
    first = write_bundle(path, info, small_built.arrays)
    with pytest.raises(OutputError, match="exists already; force replaces it"):
        write_bundle(path, replace(info, k=3), small_built.arrays)
    assert open_bundle(path).content_sha256 == first
    second = write_bundle(path, replace(info, k=3), small_built.arrays, force=True)
    assert open_bundle(path).content_sha256 == second != first
    assert [entry.name for entry in tmp_path.iterdir()] == [name]
