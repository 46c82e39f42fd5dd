"""Tables as a person sees them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

from bleep_cli.commands.console import Console as Shown
from bleep_train.metrics.tables import MISSING, Table, markdown


def show(tables: Sequence[Table], console: Shown) -> None:
    """Prints to stdout: drawn on a terminal, Markdown elsewhere, JSON where asked for, nothing where quiet."""
    if console.as_json or console.quiet or not sys.stdout.isatty():
        console.data({"tables": [asdict(table) for table in tables]}, markdown(tables).splitlines())
        return
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    drawing = Console()
    for table in tables:
        drawn = Drawn(title=Text(table.title) if table.title else None, title_justify="left")
        for i, column in enumerate(table.columns):
            numbers = all(_is_number(row[i]) for row in table.rows)
            drawn.add_column(Text(column), justify="right" if numbers else "left")
        for row in table.rows:
            drawn.add_row(*(Text(cell) for cell in row))
        drawing.print(drawn)
        for note in table.notes:
            drawing.print(Text(note))


def _is_number(cell: str) -> bool:
    return cell in ("", MISSING) or cell.lstrip("[-+").replace(".", "")[:1].isdigit()
