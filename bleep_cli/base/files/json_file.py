"""JSON files that appear whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import atomic_path


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Writes a document whole or not at all, replacing the one before."""
    with atomic_path(path, force=True) as temp:
        temp.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
