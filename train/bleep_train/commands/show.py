"""Tables as a person sees them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from bleep_train.metrics.tables import MISSING, Table, markdown


def show(tables: Sequence[Table]) -> None:
    """Prints to stdout: drawn on a terminal, Markdown elsewhere."""
    if not sys.stdout.isatty():
        print(markdown(tables), end="")
        return
    from rich.console import Console
    from rich.table import Table as Drawn
    from rich.text import Text

    console = Console()
    for table in tables:
        drawn = Drawn(title=Text(table.title) if table.title else None, title_justify="left")
        for i, column in enumerate(table.columns):
            numbers = all(_is_number(row[i]) for row in table.rows)
            drawn.add_column(Text(column), justify="right" if numbers else "left")
        for row in table.rows:
            drawn.add_row(*(Text(cell) for cell in row))
        console.print(drawn)
        for note in table.notes:
            console.print(Text(note))


def _is_number(cell: str) -> bool:
    return cell in ("", MISSING) or cell.lstrip("[-+").replace(".", "")[:1].isdigit()
