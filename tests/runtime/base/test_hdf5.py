"""HDF5 from outside is looked at by another process before it is opened: damage ends that one, not this."""

from __future__ import annotations

import gzip
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from bleep_cli.base.files import hdf5
from bleep_cli.base.files.hdf5 import is_hdf5, open_hdf5
from bleep_cli.base.files.stored_arrays import UnsoundError
from bleep_cli.cohort.read import read_section
from bleep_cli.errors import OutputError, ReferenceError
from bleep_cli.outputs.read import open_result

CRASHERS = Path(__file__).parents[2] / "fuzz" / "crashers"
NAMES = [f"name{i:04d}" for i in range(12)]


def _external_link(file: h5py.File, folder: Path) -> None:
    file["x"] = h5py.ExternalLink(str(folder / "other.h5"), "/secret")


def _external_storage(file: h5py.File, folder: Path) -> None:
    file.create_dataset("x", (4,), "u1", external=[(str(folder / "secret"), 0, 4)])


def _virtual(file: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(str(folder / "other.h5"), "secret", (4,))
    file.create_virtual_dataset("x", layout)


def _nothing_stored(file: h5py.File, _folder: Path) -> None:
    file.create_dataset("x", (600_000_000,), "i4")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_external_link, "x is in another file"),
        (_external_storage, "x is stored in another file"),
        (_virtual, "x is stored in another file"),
        (_nothing_stored, "x, of which 0 bytes declare 2,400,000,000, is over the limit MOST_HDF5_RATIO"),
    ],
)
def test_a_file_holds_its_own_bytes(tmp_path: Path, make: Callable[[h5py.File, Path], None], told: str) -> None:
    (tmp_path / "secret").write_bytes(b"four")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.arange(4, dtype="u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        make(file.create_group("deep"), tmp_path)
    with pytest.raises(UnsoundError, match=f"^deep/{told}"), open_hdf5(tmp_path / "a.h5"):
        pass


def test_groups_that_hold_each_other_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_group("a")["again"] = file["/"]
        file["soft"] = h5py.SoftLink("/nowhere")
    with open_hdf5(tmp_path / "a.h5") as file:
        assert set(file) == {"a", "soft"}


def endless(path: Path) -> Path:
    """A file with texts becomes one that libhdf5 does not come to the end of: a text of its heap takes no room."""
    data = bytearray(path.read_bytes())
    header = data.index(b"name0009") - 16
    data[header : header + 24] = bytes(24)
    path.write_bytes(data)
    return path


def texts(path: Path) -> Path:
    """A file of few texts, and an attribute of many."""
    with h5py.File(path, "w") as file:
        file["names"] = NAMES
        file["obs"], file["var"] = file["names"], file["names"]
    return path


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks for a second alone."""
    monkeypatch.setattr(hdf5, "HDF5_SECONDS", 1)


@pytest.mark.usefixtures("soon")
def test_a_structure_without_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = endless(texts(tmp_path / "a.h5"))
    told = "damaged HDF5: looking at its structure for 1 s is over the limit HDF5_SECONDS"
    with pytest.raises(UnsoundError, match=told), open_hdf5(path):
        pass
    monkeypatch.setattr(hdf5, "_verdict", None)  # it is not looked at again
    with pytest.raises(UnsoundError, match=told), open_hdf5(path):
        pass


@pytest.mark.usefixtures("soon")
def test_every_door_of_hdf5_tells_it(tmp_path: Path) -> None:
    path = endless(texts(tmp_path / "a.h5ad"))
    with pytest.raises(OutputError, match=r"^a\.h5ad is damaged: damaged HDF5"):
        open_result(path)
    entry = {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0}
    with pytest.raises(ReferenceError, match=r"^section s: .*damaged HDF5"):
        read_section(entry | {"h5ad": "a.h5ad"}, tmp_path)
    shutil.copy(path, tmp_path / "a.h5")
    (tmp_path / "p.csv").write_text("barcode,x,y\nname0001,1,1\n")
    with pytest.raises(ReferenceError, match=r"^section s: .*damaged HDF5"):
        read_section(entry | {"counts": "a.h5", "positions": "p.csv"}, tmp_path)


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("crasher", sorted(CRASHERS.glob("*.gz")), ids=lambda path: path.name)
def test_what_fuzzing_found(tmp_path: Path, crasher: Path) -> None:
    """Opened here, each would end this process or never end."""
    path = tmp_path / crasher.stem
    path.write_bytes(gzip.decompress(crasher.read_bytes()))
    with pytest.raises(UnsoundError, match="damaged HDF5"), open_hdf5(path):
        pass


def test_what_ends_the_other_process_does_not_end_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = {"raise SystemExit(3)": r"exit code 3\)", "import os; os.abort()": "ends the process that looks at it"}
    for number, (code, told) in enumerate(ends.items()):
        monkeypatch.setattr(hdf5, "_CHILD", code)
        with pytest.raises(UnsoundError, match=told), open_hdf5(texts(tmp_path / f"{number}.h5")):
            pass
    monkeypatch.setattr(hdf5, "_CHILD", "import of_nothing")
    with pytest.raises(RuntimeError, match="cannot start"), open_hdf5(texts(tmp_path / "a.h5")):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="where memory can be limited")
def test_memory_that_looking_takes_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One text of 30 MB, to which a hundred places refer: HDF5 would copy it a hundred times."""
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("big", data=np.array(["x" * 30_000_000] * 2, dtype=object), dtype=h5py.string_dtype())
        file.create_dataset("many", data=["y"] * 100, dtype=h5py.string_dtype())
    data = path.read_bytes()
    with h5py.File(path, "r") as file:
        big, many = (file[name].id.get_offset() for name in ("big", "many"))
    data = data[:many] + data[big : big + 16] * 100 + data[many + 1600 :]
    path.write_bytes(data)
    with pytest.raises(UnsoundError, match="MOST_HDF5_MEMORY"), open_hdf5(path):
        pass


def test_texts_are_not_larger_than_their_file(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("big", data=np.array(["x" * 3_000_000], dtype=object), dtype=h5py.string_dtype())
        file.create_dataset("many", data=["y"] * 20, dtype=h5py.string_dtype())
    with h5py.File(path, "r") as file:
        big, many = (file[name].id.get_offset() for name in ("big", "many"))
    data = path.read_bytes()
    path.write_bytes(data[:many] + data[big : big + 16] * 20 + data[many + 320 :])
    with pytest.raises(UnsoundError, match="the texts of many are larger than the file"), open_hdf5(path):
        pass


def test_a_chunk_is_limited(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("x", (10,), "i4", chunks=(1 << 27,), maxshape=(None,))
    told = "a chunk of 536,870,912 bytes of x is over the limit MOST_HDF5_CHUNK"
    with pytest.raises(UnsoundError, match=told), open_hdf5(tmp_path / "a.h5"):
        pass


def packed(file: h5py.File, name: str, chunks: int) -> None:
    """An array of zeros, 4 MB a chunk and stored in 4 kB each."""
    array = file.create_dataset(name, (chunks << 20,), "i4", chunks=(1 << 20,), compression="gzip")
    zeros = zlib.compress(bytes(4 << 20))
    for number in range(chunks):
        array.id.write_direct_chunk((number << 20,), zeros)


def test_all_arrays_together_are_held_against_the_file(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        packed(file, "x", 33)
    with open_hdf5(tmp_path / "a.h5") as file:
        assert not file["x"][-10:].any()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        packed(file, "y", 33)
    told = r"a file of \d+,\d+ bytes whose arrays declare over 276,824,064 is over the limit MOST_ARRAYS_RATIO"
    with pytest.raises(UnsoundError, match=told), open_hdf5(tmp_path / "a.h5"):
        pass


def test_values_that_cannot_be_read_are_left_to_who_needs_them(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("packed", data=np.arange(10_000), chunks=(1000,), compression="gzip")
        file["names"] = NAMES
    with h5py.File(path, "r") as file:
        at = file["packed"].id.get_chunk_info(3).byte_offset
    data = bytearray(path.read_bytes())
    data[at : at + 8] = b"\xff" * 8
    path.write_bytes(data)
    with open_hdf5(path) as file:
        assert list(file["names"].asstr()) == NAMES
        with pytest.raises(OSError, match="filter"):
            file["packed"][:]


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    path = texts(tmp_path / "a.h5")
    with open_hdf5(path) as file:
        assert set(file) == {"names", "obs", "var"}
    with h5py.File(path, "a") as file:
        file["x"] = h5py.ExternalLink("other.h5", "/secret")
    with pytest.raises(UnsoundError, match="x is in another file"), open_hdf5(path):
        pass


def test_a_file_that_is_replaced_meanwhile_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, verdict = texts(tmp_path / "a.h5"), hdf5._verdict

    def replaced(file: Path, size: int) -> str:
        found = verdict(file, size)
        shutil.copy(texts(tmp_path / "b.h5"), tmp_path / "c.h5")
        (tmp_path / "c.h5").replace(file)
        return found

    monkeypatch.setattr(hdf5, "_verdict", replaced)
    with pytest.raises(UnsoundError, match="changed while it was looked at"), open_hdf5(path):
        pass


def test_what_is_no_hdf5_needs_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.h5").write_bytes(b"no")
    assert not is_hdf5(tmp_path / "a.h5") and not is_hdf5(tmp_path) and not is_hdf5(tmp_path / "none")
    monkeypatch.setattr(subprocess, "run", None)
    with pytest.raises(OSError, match="signature"), open_hdf5(tmp_path / "a.h5"):
        pass
