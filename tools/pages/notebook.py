"""Writes docs/tutorial.ipynb from docs/tutorial.md: its text, and its blocks as cells.

    python tools/pages/notebook.py > docs/tutorial.ipynb        (make cli)

A bash block becomes a cell that starts with ``%%bash -e``. No outputs are kept: it says what it prints when
it is run. Needs nothing but Python; identical text gives identical bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```$\n?", re.DOTALL | re.MULTILINE)
BASH = "%%bash -e\n"


def parts(page: str) -> Iterator[tuple[str, str]]:
    """("markdown", "bash" or "python", its text), in the order of the page; nothing is left out."""
    *pieces, last = BLOCK.split(page)  # text, language, block, text, ...
    for text, language, block in zip(pieces[::3], pieces[1::3], pieces[2::3], strict=True):
        yield "markdown", text
        yield language, block
    yield "markdown", last


def cells(page: str) -> Iterator[dict[str, Any]]:
    """The cells of nbformat 4.5."""
    kept = [(kind, text.strip("\n")) for kind, text in parts(page) if text.strip()]
    for number, (kind, text) in enumerate(kept):
        one = {"id": f"cell-{number}", "metadata": {}}
        source = (BASH if kind == "bash" else "") + text
        lines = {"source": source.splitlines(keepends=True)}
        if kind == "markdown":
            yield {"cell_type": "markdown", **one, **lines}
        else:
            yield {"cell_type": "code", **one, "execution_count": None, "outputs": [], **lines}


def notebook(page: str) -> str:
    """The whole file."""
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    document = {"cells": list(cells(page)), "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(notebook(PAGE.read_text(encoding="utf-8")), end="")
