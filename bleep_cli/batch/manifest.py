"""What was written for a slide, told beside it: ``<slide>.bleep.json`` holds size and SHA-256 of every file, and
what they were made from. ``--resume`` believes it and nothing else.

It is written when all files of a slide are there, and tells of the last run that wrote them. The hash of a Zarr
folder is that of the names and hashes of its files. It holds no more names than the results do.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import replacing
from bleep_cli.base.files.json_file import read_json
from bleep_cli.base.hashing import fingerprint
from bleep_cli.base.text import file_text
from bleep_cli.batch.kinds import PICTURE, WRITERS, Paths
from bleep_cli.errors import OutputError, option
from bleep_cli.outputs.picture import PICTURE_SUFFIX
from bleep_cli.prediction.provenance import Identity

SUFFIX = ".bleep.json"
KIND, VERSION = "bleep-manifest", 1


@dataclass(frozen=True)
class Manifest:
    """Files of a slide as they were when they were written."""

    identity: Identity
    """What they were made from."""
    size: tuple[int, int]
    """(tiles, genes) of the prediction."""
    gene: str | None
    """Symbol of the picture's gene; None without a picture."""
    files: Mapping[str, Mapping[str, Any]]
    """``bytes`` and ``sha256`` by the names of files and folders."""

    def altered(self, paths: Paths) -> list[str]:
        """Names of those that are not what was written; all of them are read."""
        return [name for path in paths.values() if self.files.get(name := file_text(path.name)) != _print(path)]


def manifest_path(paths: Paths) -> Path:
    """Where the manifest of a slide's files lies."""
    kind, path = next(iter(paths.items()))
    suffix = PICTURE_SUFFIX if kind == PICTURE else WRITERS[kind].suffix
    return path.with_name(f"{path.name.removesuffix(suffix)}{SUFFIX}")


def check_manifest(paths: Paths) -> None:
    """Raises ``OutputError`` where something else has the name of the manifest."""
    path = manifest_path(paths)
    if path.exists() and read_manifest(paths) is None:
        name = file_text(path.name)
        raise OutputError(
            f"{name} exists already and does not say what was written; {option('force')} replaces it"
        )


def write_manifest(paths: Paths, identity: Identity, size: tuple[int, int], gene: str | None) -> Manifest:
    """Reads all files again and writes what they are. Raises ``OutputError`` where that cannot be."""
    with replacing(manifest_path(paths)) as temp:
        files = {file_text(path.name): fingerprint(path) for path in paths.values()}
        manifest = Manifest(identity, size, gene, files)
        text = json.dumps({"kind": KIND, "version": VERSION, **asdict(manifest)}, indent=1)
        temp.write_text(f"{text}\n", encoding="utf-8")
    return manifest


def read_manifest(paths: Paths) -> Manifest | None:
    """The manifest of a slide's files; None where there is none, or none that can be read."""
    try:
        said = read_json(manifest_path(paths))
        if (said["kind"], said["version"]) != (KIND, VERSION):
            return None
        tiles, genes = map(int, said["size"])
        return Manifest(Identity(**said["identity"]), (tiles, genes), said["gene"], dict(said["files"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _print(path: Path) -> Mapping[str, Any] | None:
    try:
        return fingerprint(path)
    except OSError:
        return None
