"""Results that survive a stop: one line of JSON per finished job, so that a grid goes on where it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import atomic_path

Row = dict[str, Any]


class Journal:
    """``results.jsonl``: rows ``{"job": {...}, ...}`` in the order they were finished.

    A line that was being written when the run was killed is dropped.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[Row] = []
        if path.exists():
            whole, _, torn = path.read_text(encoding="utf-8").rpartition("\n")
            self.rows = [json.loads(line) for line in whole.splitlines()]
            if torn:
                with atomic_path(path, force=True) as temp:
                    temp.write_text(whole + "\n" if whole else "", encoding="utf-8")

    def find(self, job: Mapping[str, Any]) -> Any:
        """The newest row whose job has all those values, None where there is none."""
        matching = (row for row in reversed(self.rows) if job.items() <= row["job"].items())
        return next(matching, None)

    def add(self, row: Mapping[str, Any]) -> None:
        """Appends a row, to the file too."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        self.rows.append(dict(row))


def fingerprint(document: Mapping[str, Any]) -> str:
    """Twelve hex digits that tell one configuration from another."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:12]
