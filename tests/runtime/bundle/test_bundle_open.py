"""What is damaged or foreign is refused at the bundle's door, or when the damaged part is read."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from bundle_damage import edit, reattr, rewrite, seal, values_of

from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.errors import ReferenceError


def foreign(tmp_path: Path, what: str) -> Path:
    path = tmp_path / "ref.zarr"
    if what == "empty folder":
        path.mkdir()
    elif what == "folder of files":
        path.mkdir()
        (path / "zarr.json").write_text("{}")
    elif what == "broken zarr.json":
        path.mkdir()
        (path / "zarr.json").write_text("{")
    elif what == "a Zarr array":
        zarr.create_array(path, shape=(2,), dtype="f4")
    elif what == "another Zarr group":
        zarr.create_group(path, attributes={"encoding-type": "anndata", "encoding-version": "0.1.0"})
    elif what == "text file":
        path.write_text("no bundle")
    elif what == "empty file":
        path.write_bytes(b"")
    elif what == "some zip":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a.txt", "hello")
    return path


@pytest.mark.parametrize(
    "what",
    [
        "empty folder",
        "folder of files",
        "broken zarr.json",
        "a Zarr array",
        "another Zarr group",
        "text file",
        "empty file",
        "some zip",
    ],
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(ReferenceError, match=r"^ref\.zarr: not a reference bundle") as caught:
        open_bundle(foreign(tmp_path, what))
    assert str(tmp_path) not in str(caught.value)


def test_a_bundle_that_is_not_there_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError, match=r"^gone\.zarr: no such bundle; make one with bleep build-reference"):
        open_bundle(tmp_path / "gone.zarr")


def test_a_truncated_zip_is_refused(small_bundle: Path, tmp_path: Path) -> None:
    packed = Path(shutil.make_archive(str(tmp_path / "ref"), "zip", small_bundle))
    assert open_bundle(packed).n_spots == 252
    packed.write_bytes(packed.read_bytes()[:-2000])
    with pytest.raises(ReferenceError, match="not a reference bundle"):
        open_bundle(packed)


@pytest.mark.parametrize(("version", "shown"), [("2.0", "2.0"), ("10.1", "10.1"), ("", "unknown"), ("0.9", "0.9")])
def test_other_major_versions_are_refused(broken: Path, version: str, shown: str) -> None:
    reattr(broken, **{"encoding-version": version})
    with pytest.raises(ReferenceError, match=rf"bundle format {shown}, this bleep reads 1\.7; update"):
        open_bundle(broken)


def test_a_later_minor_version_is_read(broken: Path) -> None:
    reattr(broken, **{"encoding-version": "1.7", "a-new-attribute": 3})
    assert open_bundle(broken).n_spots == 252


def test_another_aggregation_than_those_there_are_is_refused(broken: Path) -> None:
    reattr(broken, aggregation="best")
    with pytest.raises(ReferenceError, match=r"aggregation 'best'"):
        open_bundle(broken)


ARRAYS = ["embeddings/image", "embeddings/expression", "expression", "genes/symbol", "genes/id", "genes/panel"]
ARRAYS += [f"spots/{column}" for column in ("section", "barcode", "donor", "x", "y")]
ARRAYS += ["encoders/image", "encoders/expression"]


@pytest.mark.parametrize("name", ARRAYS)
def test_a_missing_array_is_named(broken: Path, name: str) -> None:
    shutil.rmtree(broken / name)
    with pytest.raises(ReferenceError, match=rf"^broken\.zarr: no array {name}$"):
        open_bundle(broken)


@pytest.mark.parametrize(
    "name", [n for n in ARRAYS if n not in ("genes/panel", "expression") and "encoders" not in n]
)
def test_an_array_of_another_length_is_named(broken: Path, name: str) -> None:
    rewrite(broken, name, values_of(broken, name)[:-1])
    with pytest.raises(ReferenceError, match=rf"^broken\.zarr: {name} has shape \(\d+,( 8)?\), not"):
        open_bundle(broken)


def test_expression_without_genes_and_a_panel_beyond_them(broken: Path) -> None:
    rewrite(broken, "genes/panel", np.array([0, 12]))
    with pytest.raises(ReferenceError, match="genes/panel points outside the genes"):
        open_bundle(broken)
    rewrite(broken, "expression", np.zeros(252, np.float32))
    with pytest.raises(ReferenceError, match=r"expression has shape \(252,\)"):
        open_bundle(broken)


@pytest.mark.parametrize(
    "attrs",
    [
        {"tile": {"px": "wide", "um": [64.0]}},
        {"tile": {"px": 16, "um": []}},
        {"tile": {"px": 16, "um": [-1.0]}},
        {"tile": 3},
        {"key": "protein"},
        {"k": 0},
        {"sections": ["S0"]},
        {"expression": {"space": "log1p"}},
    ],
)
def test_broken_attributes_are_refused(broken: Path, attrs: dict[str, Any]) -> None:
    reattr(broken, **attrs)
    with pytest.raises(ReferenceError, match=r"^broken\.zarr: broken attribute"):
        open_bundle(broken)


def test_sections_that_do_not_add_up_are_refused(broken: Path) -> None:
    reattr(broken, sections=[{"id": "S0", "sha256": "", "donor": "D", "n": 251}])
    with pytest.raises(ReferenceError, match="its sections do not add up to its 252 spots"):
        open_bundle(broken)


# --- damage that shows when a part is read

READERS: dict[str, Callable[[Bundle], Any]] = {
    "embeddings/image": lambda b: b.embeddings("image"),
    "embeddings/expression": lambda b: b.index("expression"),
    "expression": lambda b: b.expression(None, 1 << 30),
    "genes/panel": lambda b: b.panel,
    "genes/symbol": lambda b: b.symbols,
    "spots/x": lambda b: b.xy_l0(),
    "spots/donor": lambda b: b.spots("donor"),
    "encoders/image": lambda b: b.tower("image"),
}


@pytest.mark.parametrize("where", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("name", READERS)
def test_a_flipped_bit_is_found_when_it_is_read(broken: Path, name: str, where: float) -> None:
    [file] = [entry for entry in (broken / name / "c").rglob("*") if entry.is_file()]
    data = bytearray(file.read_bytes())
    data[int(where * (len(data) - 1))] ^= 0x10
    file.write_bytes(bytes(data))
    with pytest.raises(ReferenceError, match=rf"broken\.zarr: .*{name} is damaged"):
        READERS[name](open_bundle(broken))


def test_a_truncated_chunk_is_found_when_it_is_read(broken: Path) -> None:
    file = broken / "expression/c/0/0"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ReferenceError, match="expression is damaged"):
        open_bundle(broken).expression(None, 1 << 30)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_embeddings_that_are_no_unit_vectors_are_refused(broken: Path, value: float) -> None:
    edit(broken, "embeddings/image", lambda v: v.__setitem__(5, value))
    with pytest.raises(ReferenceError, match="embeddings/image are no unit vectors"):
        open_bundle(broken).index("image")


@pytest.mark.parametrize("chunk", ["embeddings/image/c/0/0", "expression/c/0/0", "genes/id/c/0", "spots/x/c/0"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_lost_chunk_is_refused(broken: Path, chunk: str, zipped: bool) -> None:
    """Zarr would read zeros, or names that are empty."""
    (broken / chunk).unlink()
    path = Path(shutil.make_archive(str(broken), "zip", broken)) if zipped else broken
    with pytest.raises(ReferenceError, match=r"^broken[.a-z]+ is damaged, or part of it is missing: content hash"):
        open_bundle(path)


def test_every_chunk_is_stored_and_older_bundles_without_those_of_zeros_are_read(broken: Path) -> None:
    rewrite(broken, "genes/zeros", np.zeros(12, np.float32))
    seal(broken)
    assert (broken / "genes/zeros/c/0").is_file()
    (broken / "genes/zeros/c/0").unlink()
    bundle = open_bundle(broken)
    assert bundle.verified
    np.testing.assert_array_equal(bundle.gene_columns()["zeros"], 0)


def test_a_tower_that_is_not_the_hashed_one_is_refused(broken: Path) -> None:
    edit(broken, "encoders/image", lambda v: v.__setitem__(-1, v[-1] ^ 1))
    with pytest.raises(ReferenceError, match="the image tower does not match its hash"):
        open_bundle(broken).tower("image")
