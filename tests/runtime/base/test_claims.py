"""Results are claimed by one process at a time; nothing is left of a claim."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bleep_cli.base.files import claims
from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.files.claims import LOCK, claimed
from bleep_cli.errors import OutputError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such locks")
TAKEN = r"^a\.h5ad is being written by another run; wait for its end, or choose another place with out$"
OTHER = """
import sys
from pathlib import Path
from bleep_cli.base.files.claims import claimed
with claimed(map(Path, sys.argv[1:])):
    print("ready", flush=True)
    sys.stdin.read()
"""
REPLACER = """
import sys
from pathlib import Path
from bleep_cli.base.files.atomic import atomic_path
for _ in range(60):
    with atomic_path(Path(sys.argv[1]), force=True) as temp:
        temp.mkdir()
        for name in ("zarr.json", "b"):
            (temp / name).write_text(sys.argv[2])
"""


@contextmanager
def another(*paths: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has claimed the results."""
    command = [sys.executable, "-c", OTHER, *map(str, paths)]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        yield child
    finally:
        child.communicate()


def test_what_another_process_writes_is_refused_and_what_it_does_not_is_not(tmp_path: Path) -> None:
    with another(tmp_path / "a.h5ad", tmp_path / "a.zarr"):
        with pytest.raises(OutputError, match=TAKEN), claimed([tmp_path / "b.h5ad", tmp_path / "a.h5ad"]):
            raise AssertionError
        with claimed([tmp_path / "b.h5ad"]):
            assert [path.name for path in tmp_path.iterdir()] == [LOCK]
        assert (tmp_path / LOCK).exists()  # the other's
    assert not list(tmp_path.iterdir())
    with claimed([tmp_path / "a.h5ad"]):
        pass


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    with another(tmp_path / "a.h5ad") as child:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert (tmp_path / LOCK).exists()
    with claimed([tmp_path / "a.h5ad"]):
        pass
    assert not list(tmp_path.iterdir())


def test_folders_are_made_and_stay_if_there_is_something_in_them(tmp_path: Path) -> None:
    with claimed([tmp_path / "x" / "y" / "a.h5ad", tmp_path / "z" / "a.h5ad"]):
        (tmp_path / "z" / "a.h5ad").touch()
        assert (tmp_path / "x" / "y").is_dir()
    assert [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*"))] == ["z", "z/a.h5ad"]


def test_a_lock_that_was_taken_away_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last owner deletes the file after this process has opened it, and before it has locked it."""
    opened = claims._Claims._open

    def deleted_meanwhile(self: claims._Claims) -> None:
        opened(self)
        monkeypatch.setattr(claims._Claims, "_open", opened)
        (tmp_path / LOCK).unlink()

    monkeypatch.setattr(claims._Claims, "_open", deleted_meanwhile)
    with claimed([tmp_path / "a.h5ad"]):
        assert os.fstat(next(iter(claims._held))._file).st_ino == (tmp_path / LOCK).stat().st_ino
    assert not list(tmp_path.iterdir())


def test_where_nothing_can_be_locked_nothing_is_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with claimed([tmp_path / "file" / "a.h5ad"]):
        pass


def test_stores_that_replace_each_other_stay_whole(tmp_path: Path) -> None:
    final = tmp_path / "a.zarr"
    children = [subprocess.Popen([sys.executable, "-c", REPLACER, str(final), text]) for text in ("one", "two")]
    assert [child.wait() for child in children] == [0, 0]
    assert len({file.read_text() for file in final.iterdir()}) == 1 and len(list(final.iterdir())) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.zarr"]
    with atomic_path(final, force=True) as temp:
        temp.touch()
    assert final.is_file()
