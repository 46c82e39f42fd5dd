"""The files of a bundle, in a folder or in a zip: which there are, how large, and their bytes within a limit."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from bleep_cli.base.files.regular import read_regular
from bleep_cli.limits import (
    MOST_BUNDLE_DEPTH,
    MOST_BUNDLE_FILES,
    MOST_ZIPPED_RATIO,
    RATIO_FREE_ZIPPED,
)


class Container(Protocol):
    """Files by name. It raises ``OSError``, ``ValueError`` and zipfile's errors; the door makes ours of them."""

    @property
    def sizes(self) -> Mapping[str, int]:
        """Bytes of every file by its name within the bundle, folders parted by slashes."""

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes; ``ValueError`` for more than ``most``."""


class Folder:
    """The regular files below a folder. Pipes, devices and links to folders are none of a bundle's."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.sizes: dict[str, int] = {}
        self._walk("", 0)

    def _walk(self, below: str, depth: int) -> None:
        if depth > MOST_BUNDLE_DEPTH:
            raise ValueError(f"folders more than {MOST_BUNDLE_DEPTH} deep")
        with os.scandir(self._path / below) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    self._walk(f"{below}{entry.name}/", depth + 1)
                elif entry.is_file():
                    self.sizes[f"{below}{entry.name}"] = entry.stat().st_size
                    _check_count(len(self.sizes))

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes; ``ValueError`` for more than ``most``, or what is no file by now."""
        return read_regular(self._path / name, most)


class Zip:
    """The files of a zip, or of one folder in it, stored or deflated; each name once."""

    def __init__(self, path: Path, folder: str = "") -> None:
        self._zip = zipfile.ZipFile(path)
        self._files: dict[str, zipfile.ZipInfo] = {}
        start = f"{folder}/" if folder else ""
        for info in self._zip.infolist():
            if info.is_dir() or not info.filename.startswith(start):
                continue
            name = info.filename.removeprefix(start)
            if name in self._files:
                raise ValueError(f"two files of the name {name}")
            self._files[name] = info
            _check_count(len(self._files))
        self.sizes = {name: info.file_size for name, info in self._files.items()}

    def read(self, name: str, most: int) -> bytes:
        """A file's bytes; ``ValueError`` for more than ``most``, or far more than are stored."""
        info = self._files[name]
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
            raise ValueError("neither stored nor deflated, or encrypted")
        if info.file_size > max(RATIO_FREE_ZIPPED, MOST_ZIPPED_RATIO * info.compress_size):
            raise ValueError(f"{info.compress_size} bytes claim to hold {info.file_size}")
        if info.file_size > most:
            raise ValueError(f"{info.file_size} bytes, at most {most} are read")
        with self._zip.open(info) as file:
            return file.read()  # no more than it states: zipfile ends there, and compares its checksum


def _check_count(files: int) -> None:
    if files > MOST_BUNDLE_FILES:
        raise ValueError(f"more than {MOST_BUNDLE_FILES} files")
