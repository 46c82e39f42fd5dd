"""What is wrong with several slides, told at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bleep_cli.errors import BleepError, UsageError, joined


class Problems:
    """What is wrong with several slides, gathered, so that all of it is told at once."""

    def __init__(self) -> None:
        self._found: list[BleepError] = []

    @contextmanager
    def of(self, where: str) -> Iterator[None]:
        """Keeps an error of the body, and where it is from."""
        try:
            yield
        except BleepError as error:
            self.add(error, where)

    def add(self, error: BleepError, where: str = "") -> None:
        """Keeps an error."""
        text = f"{where}: {error.text}" if where else error.text
        self._found.append(type(error)(text, origin=error.origin))

    def raise_all(self) -> None:
        """Raises one error that tells of all: of their class, or ``UsageError`` where there are several."""
        if self._found:
            kinds = {type(error) for error in self._found}
            kind = kinds.pop() if len(kinds) == 1 else UsageError
            raise kind(joined(error.text for error in self._found))
