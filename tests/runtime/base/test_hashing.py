"""The hash of a file, at once and beside other work."""

import hashlib
import threading
from pathlib import Path

import pytest

from bleep_cli.base import hashing
from bleep_cli.base.hashing import READ_BYTES, FileHash, file_sha256


@pytest.fixture(params=[0, 1, READ_BYTES, 2 * READ_BYTES + 3], ids=["empty", "a byte", "a buffer", "buffers"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(i * i % 251 for i in range(1000)) * (request.param // 1000 + 1))
    with path.open("rb+") as handle:
        handle.truncate(request.param)
    return path


def test_it_is_sha256_begun_before_or_not(file: Path) -> None:
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    begun = FileHash(file)
    begun.begin()
    assert file_sha256(file) == FileHash(file).digest() == begun.digest() == begun.digest() == wanted


def test_a_file_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"slide")
    asked = []
    whole = hashing.file_sha256
    monkeypatch.setattr(hashing, "file_sha256", lambda *args: (asked.append(args), whole(*args))[1])
    found = FileHash(path)
    for _ in range(2):
        found.begin()
        assert found.digest() == hashlib.sha256(b"slide").hexdigest()
    assert len(asked) == 1


def test_stopped_in_the_middle_no_thread_is_left_and_the_hash_can_still_be_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"slide")
    reached, whole = threading.Event(), hashing.file_sha256

    def waits(file, stopped):
        reached.set()
        while not stopped():
            pass
        return whole(file, stopped)

    monkeypatch.setattr(hashing, "file_sha256", waits)
    found = FileHash(path)
    found.begin()
    assert reached.wait(60)
    found.stop()
    assert not [thread for thread in threading.enumerate() if thread.name == "bleep-hash"]
    monkeypatch.undo()
    assert found.digest() == hashlib.sha256(b"slide").hexdigest()
    with pytest.raises(InterruptedError):
        file_sha256(path, lambda: True)


def test_a_file_that_cannot_be_read_is_told_to_whoever_asks(tmp_path: Path) -> None:
    found = FileHash(tmp_path / "none")
    found.begin()
    with pytest.raises(FileNotFoundError):
        found.digest()
