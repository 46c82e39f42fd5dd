"""JSON files that appear whole, and those of others, read within limits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.files.unpacked import Most, read_unpacked


def read_json(path: Path, most: Most = "MOST_TABLE_BYTES") -> Any:
    """What a file of JSON in UTF-8 says, gzip taken off.

    Raises ``ValueError`` for what is none, is nested too deeply or larger than ``most``, ``OSError`` for what
    cannot be read.
    """
    try:
        return json.loads(read_unpacked(path, most).decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a document whole or not at all, replacing the one before."""
    with atomic_path(path, force=True) as temp:
        temp.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
