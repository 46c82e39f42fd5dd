"""Where a bundle's files lie: a folder, a zip, or what people make of them on the way.

Explorer and Finder zip a folder together with its name, and unzipping makes a folder around a folder: the one
bundle that lies a level down is meant then.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from bleep_cli.bundle.storage.arrays import META, Group, read_tree
from bleep_cli.bundle.storage.container import Container, Folder, Zip
from bleep_cli.errors import ReferenceError

NOT_OURS = "__MACOSX"  # the folder that Finder adds to a zip


def open_group(path: Path) -> tuple[Group, int]:
    """The group of the bundle at ``path``, for reading, or of the only one a level below it, and how many chunks
    it lacks (:func:`bleep_cli.bundle.storage.arrays.read_tree`).

    Raises ``ReferenceError`` for several bundles below; many others for what is none.
    """
    return read_tree(_container(path))


def _container(path: Path) -> Container:
    if path.is_file():
        return Zip(path, _in_zip(path))
    if not (path / META).is_file():
        inside = [
            child
            for child in sorted(path.iterdir())
            if (child / META).is_file() or (child.name.endswith(".zarr.zip") and child.is_file())
        ]
        child = _only(path.name, [child.name for child in inside])
        if child:
            return _container(path / child)
    return Folder(path)


def _in_zip(path: Path) -> str:
    """The folder of a zip that holds the bundle; empty for the zip itself."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if META in names:
        return ""
    return _only(
        path.name, [n.split("/")[0] for n in sorted(names) if n.count("/") == 1 and n.endswith(f"/{META}")]
    )


def _only(name: str, inside: list[str]) -> str:
    found = [child for child in inside if child != NOT_OURS]
    if len(found) > 1:
        raise ReferenceError(f"{name}: holds several bundles ({', '.join(found)}); name one of them")
    return found[0] if found else ""
