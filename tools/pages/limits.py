"""Prints the table of limits that docs/limits.md ends with."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from bleep_cli import limits


def rows() -> Iterator[tuple[str, str, str]]:
    """(name, value, why) of every limit, in the order of the file."""
    body = ast.parse(Path(limits.__file__).read_text(encoding="utf-8")).body
    for node, behind in pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(behind, ast.Expr):
            name = node.target.id
            yield name, f"{getattr(limits, name):,}", " ".join(ast.literal_eval(behind.value).split())


def table_of_limits() -> str:
    """The table in Markdown."""
    return "\n".join(
        [
            "| limit | at most | of what, and why |",
            "|---|---|---|",
            *(f"| `{n}` | {v} | {w} |" for n, v, w in rows()),
        ]
    )


if __name__ == "__main__":
    print(table_of_limits())
