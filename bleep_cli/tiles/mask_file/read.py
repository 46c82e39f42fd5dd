"""The door of mask files: what it is is told by its content, not by its name."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from bleep_cli.errors import UsageError, option
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.picture import Picture

MAX_BYTES = 1 << 30  # unpacked
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"


def read_mask_file(path: Path, classes: Sequence[str] = ()) -> GeoJson | Picture:
    """A mask, GeoJSON or a picture, plain or packed as gzip or as the only file of a zip.

    ``classes`` names the ones that are tissue, or the values of a label image. Raises ``UsageError`` for a file
    that is not there, cannot be read, marks nothing, or does not say what it marks.
    """
    if not path.is_file():
        raise UsageError(f"{option('mask')}: no file {path.name}")
    try:
        raw = _unpacked(path.read_bytes())
    except (OSError, EOFError, ValueError, zlib.error, zipfile.BadZipFile, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"{option('mask')}: {path.name} cannot be read: {reason}") from error
    named = {".json", ".geojson"} & {suffix.lower() for suffix in path.suffixes}
    return GeoJson(raw, path.name, classes) if named or _is_json(raw) else Picture(raw, path.name, classes)


def _unpacked(raw: bytes) -> bytes:
    if raw.startswith(GZIP):
        with gzip.open(io.BytesIO(raw)) as packed:
            return _bounded(packed)
    if raw.startswith(ZIP):
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            files = [name for name in archive.namelist() if not name.startswith("__MACOSX/") and name[-1] != "/"]
            if len(files) != 1:
                raise ValueError(f"it holds {len(files)} files; one mask is needed")
            with archive.open(files[0]) as member:
                return _bounded(member)
    return raw


def _bounded(packed: io.BufferedIOBase | IO[bytes]) -> bytes:
    raw = packed.read(MAX_BYTES + 1)
    if len(raw) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MB unpacked")
    return raw


def _is_json(raw: bytes) -> bool:
    head = raw[:64].decode(json.detect_encoding(raw[:64]), errors="replace")
    return head.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")
