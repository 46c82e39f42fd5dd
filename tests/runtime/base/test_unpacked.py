"""Files that are read whole: within limits, and only if they are files."""

from __future__ import annotations

import gzip
import os
import sys
from pathlib import Path

import pytest

from bleep_cli.base.files import unpacked as door
from bleep_cli.base.files.json_file import read_json
from bleep_cli.base.files.toml_file import read_toml
from bleep_cli.base.files.unpacked import read_unpacked, regular


def test_a_file_comes_out_as_it_is_packed_or_not(tmp_path: Path) -> None:
    for name, data in (("a", b"text"), ("b", gzip.compress(b"text")), ("c", b""), ("d", gzip.compress(b""))):
        (tmp_path / name).write_bytes(data)
    found = [read_unpacked(tmp_path / name, "MOST_TABLE_BYTES") for name in "abcd"]
    assert found == [b"text", b"text", b"", b""]


def test_a_bomb_is_refused_while_it_unpacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = tmp_path / "a.gz"
    bomb.write_bytes(gzip.compress(bytes(40 << 20), 9))
    with pytest.raises(ValueError, match=r"^what 40,\d+ bytes unpack to is over the limit MOST_TEXT_RATIO, 100 "):
        read_unpacked(bomb, "MOST_TEXT_BYTES")
    for most in ("MOST_TABLE_BYTES", "MOST_MASK_BYTES"):
        with pytest.raises(
            ValueError, match=r"^what 40,\d+ bytes unpack to is over the limit MOST_TABLE_RATIO, 30 "
        ):
            read_unpacked(bomb, most)
    monkeypatch.setattr(door.limits, "MOST_TABLE_BYTES", 1000)
    with pytest.raises(ValueError, match=r"^what it unpacks to is over the limit MOST_TABLE_BYTES"):
        read_unpacked(bomb, "MOST_TABLE_BYTES")
    (tmp_path / "b").write_bytes(bytes(1001))
    with pytest.raises(ValueError, match=r"^a file of 1,001 bytes is over the limit MOST_TABLE_BYTES"):
        read_unpacked(tmp_path / "b", "MOST_TABLE_BYTES")


@pytest.mark.skipif(sys.platform == "win32", reason="pipes and devices of POSIX")
def test_pipes_devices_and_folders_are_told_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="it is no file on a disk but a pipe or a device"):
            regular(path)
        with pytest.raises(ValueError, match="pipe or a device"):
            read_unpacked(path, "MOST_TABLE_BYTES")
    with pytest.raises(ValueError, match="it is a folder"):
        regular(tmp_path)


def test_what_is_nested_too_deeply_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * 100_000)
    (tmp_path / "a.toml").write_text("a = " + "[" * 100_000)
    for read, name in ((read_json, "a.json"), (read_toml, "a.toml")):
        with pytest.raises(ValueError, match="nested too deeply"):
            read(tmp_path / name)
