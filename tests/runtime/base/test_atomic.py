"""Results appear whole or not at all, and only where they may."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bleep_cli.base.files.atomic import (
    OLD_SUFFIX,
    TEMP_SUFFIX,
    atomic_path,
    check_free,
    remove_leftovers,
    replacing,
)
from bleep_cli.errors import OutputError, SlideError


def write(final: Path, text: str, *, force: bool = False) -> None:
    with atomic_path(final, force) as temp:
        temp.write_text(text)


def write_store(final: Path, text: str, *, force: bool = False) -> None:
    with atomic_path(final, force) as temp:
        (temp / "c").mkdir(parents=True)
        (temp / "zarr.json").write_text("{}")
        (temp / "c" / "0").write_text(text)


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def test_a_file_appears_when_the_body_has_ended(tmp_path: Path) -> None:
    final = tmp_path / "new" / "folder" / "a.txt"
    with atomic_path(final) as temp:
        assert temp.parent == final.parent
        assert temp.name.startswith(".a.txt.")
        assert temp.name.endswith(TEMP_SUFFIX)
        temp.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert list(final.parent.iterdir()) == [final]


def test_a_folder_appears_when_the_body_has_ended(tmp_path: Path) -> None:
    write_store(tmp_path / "a.zarr", "whole")
    assert (tmp_path / "a.zarr" / "c" / "0").read_text() == "whole"
    assert names(tmp_path) == ["a.zarr"]


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    write(tmp_path / "a.txt", "ours")
    (tmp_path / "b.txt").write_text("usual")
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "b.txt").stat().st_mode


@pytest.mark.parametrize("error", [SlideError("torn slide"), KeyboardInterrupt(), ZeroDivisionError()])
@pytest.mark.parametrize("folder", [False, True])
def test_nothing_stays_when_the_body_raises(tmp_path: Path, error: BaseException, folder: bool) -> None:
    with pytest.raises(type(error)), atomic_path(tmp_path / "a") as temp:
        if folder:
            temp.mkdir()
            (temp / "part").touch()
        else:
            temp.touch()
        raise error
    assert not names(tmp_path)


@pytest.mark.parametrize("write_one", [write, write_store])
def test_an_existing_result_needs_force(tmp_path: Path, write_one) -> None:
    final = tmp_path / "a.zarr"
    write_one(final, "old")
    with pytest.raises(OutputError, match=r"^a\.zarr exists already; force replaces it$"):
        write_one(final, "new")
    write_one(final, "new", force=True)
    assert (final / "c" / "0" if final.is_dir() else final).read_text() == "new"
    assert names(tmp_path) == ["a.zarr"]


def test_force_replaces_a_store_by_a_file_and_the_reverse(tmp_path: Path) -> None:
    final = tmp_path / "a.zarr"
    write_store(final, "old")
    write(final, "file", force=True)
    assert final.read_text() == "file"
    write_store(final, "store", force=True)
    assert (final / "c" / "0").read_text() == "store"
    assert names(tmp_path) == ["a.zarr"]


def test_force_keeps_the_old_result_when_the_body_raises(tmp_path: Path) -> None:
    write_store(tmp_path / "a.zarr", "old")
    with pytest.raises(SlideError), atomic_path(tmp_path / "a.zarr", True) as temp:
        temp.mkdir()
        raise SlideError("torn slide")
    assert (tmp_path / "a.zarr" / "c" / "0").read_text() == "old"


def test_a_store_that_cannot_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final, rename = tmp_path / "a.zarr", Path.rename
    write_store(final, "old")

    def fail_for_the_new(self: Path, target: Path) -> Path:
        if self.name.endswith(TEMP_SUFFIX):
            raise OSError(errno.EIO, "boom", str(self))
        assert OLD_SUFFIX in self.name + target.name
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises(OutputError, match=r"^a\.zarr cannot be written: Input/output error; "):
        write_store(final, "new", force=True)
    assert (final / "c" / "0").read_text() == "old"
    assert names(tmp_path) == ["a.zarr"]


def test_force_never_deletes_a_folder_that_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="home is a folder but no Zarr store"):
        write(tmp_path / "home", "x", force=True)
    assert (tmp_path / "home" / "thesis.tex").exists()


def test_force_replaces_a_link_not_what_it_points_to(tmp_path: Path) -> None:
    write_store(tmp_path / "target.zarr", "old")
    (tmp_path / "link.zarr").symlink_to("target.zarr")
    write_store(tmp_path / "link.zarr", "new", force=True)
    assert not (tmp_path / "link.zarr").is_symlink()
    assert (tmp_path / "target.zarr" / "c" / "0").read_text() == "old"


def test_a_dangling_link_is_a_result_that_exists(tmp_path: Path) -> None:
    (tmp_path / "a.txt").symlink_to("nowhere")
    with pytest.raises(OutputError, match="force"):
        check_free(tmp_path / "a.txt")


@pytest.mark.parametrize("write_one", [write, write_store])
@pytest.mark.parametrize("links", [True, False])
def test_a_result_that_appears_meanwhile_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_one, links: bool
) -> None:
    if not links:  # as on file systems without hard links
        monkeypatch.delattr(os, "link")
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()), raising=False)
    final = tmp_path / "a"
    with pytest.raises(OutputError, match="a exists already; force"), atomic_path(final) as temp:
        temp.write_text("late") if write_one is write else temp.mkdir()
        final.write_text("early")
    assert final.read_text() == "early"
    assert names(tmp_path) == ["a"]


def test_file_systems_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError()))
    write(tmp_path / "a", "whole")
    assert (tmp_path / "a").read_text() == "whole"
    assert names(tmp_path) == ["a"]


def test_a_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for final in (tmp_path / "file" / "a.h5ad", tmp_path / "file" / "deeper" / "a.h5ad"):
        with pytest.raises(OutputError, match=r"^a\.h5ad cannot be written: file is not a folder; .* out$"):
            check_free(final)
        with pytest.raises(OutputError):
            write(final, "x")


def test_a_write_protected_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # the superuser of a test machine may write anywhere
    with pytest.raises(OutputError, match=r"^a\.h5ad cannot be written: .* is write-protected; .* out$"):
        check_free(tmp_path / "a.h5ad")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write")
def test_a_folder_that_cannot_be_made() -> None:
    with pytest.raises(OutputError, match=r"^a\.h5ad cannot be written: .*; choose another place with out$"):
        write(Path("/proc/bleep-test/a.h5ad"), "x")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk(tmp_path: Path, code: int) -> None:
    with pytest.raises(OutputError, match=r"a\.h5ad cannot be written: the disk is full; free some space"):  # noqa: SIM117
        with atomic_path(tmp_path / "a.h5ad") as temp:
            temp.touch()
            raise OSError(code, os.strerror(code), str(temp))
    assert not names(tmp_path)


def test_messages_hold_no_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError) as caught, atomic_path(tmp_path / "a.h5ad"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "patient"))
    assert str(caught.value) == "a.h5ad cannot be written: Permission denied; choose another place with out"


def test_a_long_name_still_has_a_temporary_one(tmp_path: Path) -> None:
    final = tmp_path / ("ä" * 120 + ".h5ad")
    write(final, "x")
    assert final.exists()


def test_two_writers_have_two_temporary_names(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a", True) as one, atomic_path(tmp_path / "a", True) as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "a").read_text() == "one"


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_killed_run_leaves_only_a_recognisable_name(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from bleep_cli.base.files.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temp:
    temp.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    run = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.h5ad")], check=False)
    assert run.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(".a.h5ad.")
    assert left.endswith(TEMP_SUFFIX)


def test_leftovers_of_one_process_at_one_result_are_removed(tmp_path: Path) -> None:
    final = tmp_path / "a.zarr"
    mine, other = f".a.zarr.12-00000000{TEMP_SUFFIX}", f".a.zarr.123-00000000{TEMP_SUFFIX}"
    old, neighbour = f".a.zarr.12-00000000{OLD_SUFFIX}", f".a.h5ad.12-00000000{TEMP_SUFFIX}"
    for name in (mine, other, old, neighbour):
        (tmp_path / name / "c").mkdir(parents=True)
    remove_leftovers(final, 12, replaced=False)
    assert {path.name for path in tmp_path.iterdir()} == {other, old, neighbour}
    remove_leftovers(final, 12, replaced=True)
    assert {path.name for path in tmp_path.iterdir()} == {other, neighbour}
    remove_leftovers(tmp_path / "absent" / "a.zarr", 12, replaced=True)


def test_a_file_that_can_be_made_again_is_replaced_without_asking(tmp_path: Path) -> None:
    final = tmp_path / "new" / "cache.npy"
    for text in ("first", "second"):
        with replacing(final) as temp:
            temp.write_text(text)
            assert not final.exists() or final.read_text() == "first"
        assert final.read_text() == text
    with pytest.raises(KeyboardInterrupt), replacing(final) as temp:
        temp.write_text("torn")
        raise KeyboardInterrupt
    assert final.read_text() == "second"
    assert names(final.parent) == ["cache.npy"]


def test_only_a_result_is_waited_for_until_it_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "fsync", full)
    with replacing(tmp_path / "cache") as temp:
        temp.write_text("whole")
    with pytest.raises(OutputError, match="the disk is full"), atomic_path(tmp_path / "result") as temp:
        temp.write_text("whole")
    assert names(tmp_path) == ["cache"]


def test_a_store_that_another_process_replaces_meanwhile_is_no_foreign_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, asked = tmp_path / "a.zarr", Path.is_file
    store.mkdir()
    (store / "zarr.json").write_text("old")

    def is_file(path: Path) -> bool:
        """While its marks are looked for the store is not there; then another one is."""
        if path == store / "zarr.json" and not (tmp_path / "old").exists():
            store.rename(tmp_path / "old")
        elif path == store / ".zgroup" and not store.exists():
            store.mkdir()
            (store / "zarr.json").write_text("new")
            return False
        return asked(path)

    monkeypatch.setattr(Path, "is_file", is_file)
    check_free(store, force=True)
    assert (store / "zarr.json").read_text() == "new"
