"""Files that others have made, read whole: no pipe or device that would never end, and no more than a limit."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a regular file. ``OSError``; ``ValueError`` for what is none, or has more than ``most``."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe would be waited for
    with os.fdopen(os.open(path, flags), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise ValueError(f"{path.name} is no file")
        if found.st_size > most:
            raise ValueError(f"{path.name} has more than the {most} bytes that are read")
        data = file.read(found.st_size + 1)  # what it may have at most is not taken from memory beforehand
        if len(data) > found.st_size:
            raise ValueError(f"{path.name} grows while it is read")
        return data
