"""The door of mask files: what it is is told by its content, not by its name."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path

from bleep_cli.base.files.unpacked import read_unpacked
from bleep_cli.errors import UsageError, option
from bleep_cli.limits import MOST_MASK_BYTES, over
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.picture import Picture

ZIP = b"PK\x03\x04"


def read_mask_file(path: Path, classes: Sequence[str] = ()) -> GeoJson | Picture:
    """A mask, GeoJSON or a picture, plain or packed as gzip or as the only file of a zip.

    ``classes`` names the ones that are tissue, or the values of a label image. Raises ``UsageError`` for a file
    that is not there, cannot be read, marks nothing, or does not say what it marks.
    """
    if not path.exists():
        raise UsageError(f"{option('mask')}: no file {path.name}")
    try:
        raw = _unzipped(read_unpacked(path, "MOST_MASK_BYTES"))
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UsageError(f"{option('mask')}: {path.name} cannot be read: {reason}") from error
    named = {".json", ".geojson"} & {suffix.lower() for suffix in path.suffixes}
    return GeoJson(raw, path.name, classes) if named or _is_json(raw) else Picture(raw, path.name, classes)


def _unzipped(raw: bytes) -> bytes:
    """The only file of a zip, or what is none as it is."""
    if not raw.startswith(ZIP):
        return raw
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        files = [name for name in archive.namelist() if not name.startswith("__MACOSX/") and name[-1:] != "/"]
        if len(files) != 1:
            raise ValueError(f"it holds {len(files)} files; one mask is needed")
        with archive.open(files[0]) as member:
            inside = member.read(MOST_MASK_BYTES + 1)
    if len(inside) > MOST_MASK_BYTES:
        raise ValueError(over("what it unpacks to", "MOST_MASK_BYTES"))
    return inside


def _is_json(raw: bytes) -> bool:
    head = raw[:64].decode(json.detect_encoding(raw[:64]), errors="replace")
    return head.lstrip("\ufeff \t\r\n")[:1] in ("{", "[")
