"""What killed processes have left is swept by the next result in that folder; what is being written stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bleep_cli.base.files.atomic import OLD_SUFFIX, TEMP_SUFFIX, atomic_path, machine

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are not asked for there")
KILLED = """
import os, signal, sys
from pathlib import Path
from bleep_cli.base.files.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temp:
    temp.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_with_the_next_result(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a.h5ad"], check=False)
    assert killed.returncode == -9
    (left,) = tmp_path.iterdir()
    assert left.name.endswith(TEMP_SUFFIX)
    with atomic_path(tmp_path / "b.csv") as temp:
        temp.write_text("whole")
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]


def test_of_the_living_of_other_machines_and_what_is_complete_nothing_goes(tmp_path: Path) -> None:
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    pid, here, other = int(dead.stdout), machine(), "0000" if machine() != "0000" else "1111"
    kept = {
        f".a.{os.getpid()}-{here}00000000{TEMP_SUFFIX}",
        f".a.{pid}-{other}00000000{TEMP_SUFFIX}",
        f".a.{pid}-{here}00000000{OLD_SUFFIX}",
        f"a.{pid}-{here}00000000{TEMP_SUFFIX}",
    }
    for name in kept:
        (tmp_path / name).write_text("")
    (tmp_path / f".z.zarr.{pid}-{here}00000000{TEMP_SUFFIX}" / "c").mkdir(parents=True)
    with atomic_path(tmp_path / "b") as temp:
        temp.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {*kept, "b"}


KILLED_WHILE_IT_REPLACES = """
import os, signal, sys
from pathlib import Path
from bleep_cli.base.files import atomic
if sys.argv[2] == "before":
    renamed = Path.rename
    def rename(self, target):
        if self.name.endswith(atomic.TEMP_SUFFIX):
            os.kill(os.getpid(), signal.SIGKILL)
        return renamed(self, target)
    Path.rename = rename
else:
    remove = atomic._remove
    killed = lambda: os.kill(os.getpid(), signal.SIGKILL)
    atomic._remove = lambda path: killed() if atomic.OLD_SUFFIX in path.name else remove(path)
with atomic.atomic_path(Path(sys.argv[1]), force=True) as temp:
    temp.mkdir()
    (temp / "zarr.json").write_text("new")
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_a_killed_process_was_replacing_goes_once_a_new_one_stands(tmp_path: Path, when: str) -> None:
    store = tmp_path / "a.zarr"
    store.mkdir()
    (store / "zarr.json").write_text("old")
    killed = subprocess.run([sys.executable, "-c", KILLED_WHILE_IT_REPLACES, store, when], check=False)
    assert killed.returncode == -9
    (old,) = tmp_path.glob(f".*{OLD_SUFFIX}")
    assert (old / "zarr.json").read_text() == "old"
    assert store.exists() == (when == "after")
    with atomic_path(tmp_path / "b.csv") as temp:
        temp.write_text("another")
    assert old.exists() == (when == "before")  # the only one there is
    with atomic_path(store, force=True) as temp:
        temp.mkdir()
        (temp / "zarr.json").write_text("newer")
    assert {path.name for path in tmp_path.iterdir()} == {"a.zarr", "b.csv"}
    assert (store / "zarr.json").read_text() == "newer"
