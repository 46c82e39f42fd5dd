"""The errors a user can cause or meet, each with the exit code of its class.

::

    BleepError             1   a bug, or a class of its own below
    ├── UsageError         2   options that do not go together, a file that is not there
    ├── SlideError         3   a slide that cannot be read or holds nothing to predict on
    ├── ReferenceError     4   a bundle, cohort or section that is broken or does not fit
    ├── DeviceError        5   the asked-for device or its libraries are missing
    └── OutputError        6   a result that cannot be written or read back, or would overwrite one

A message says what was wrong, where (file name, never the whole path), and which parameter mends it. Parameters
are named by :func:`option`, so an error knows them: ``str(error)`` has them as Python calls them (``min_tissue``),
a command line words them its own way (``--min-tissue``) by :meth:`BleepError.worded`. Only the commands print.
"""

import re
from collections.abc import Callable, Iterable
from typing import ClassVar, Literal

Origin = Literal["call", "cohort file"]
"""Where the parameters of an error stand: in the call (or its options), or as keys of a cohort file."""

_OPEN, _CLOSE = "\ue000", "\ue001"  # private use: no text of a user's holds them
LINE_BREAK = "\ue002"  # between lines of our own; a newline in a user's text is shown, not obeyed
_OPTION = re.compile(f"{_OPEN}([a-z0-9_]+){_CLOSE}")


def option(name: str) -> str:
    """A parameter's name, to stand in the text of an error."""
    return f"{_OPEN}{name}{_CLOSE}"


def words(text: str, word: Callable[[str], str]) -> str:
    """A text with every parameter that it names by :func:`option` in somebody's own words."""
    return _OPTION.sub(lambda found: word(found.group(1)), text)


def plain_words(text: str) -> str:
    """The same as Python calls them."""
    return words(text, str).replace(LINE_BREAK, "\n")


def joined(texts: Iterable[str]) -> str:
    """The text of an error that has a line for each of several things."""
    return LINE_BREAK.join(texts)


class BleepError(Exception):
    """Base of every error that is reported to the user as one line.

    ``text`` may name parameters by :func:`option`; ``origin`` says where they stand.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, text: str = "", *, origin: Origin = "call") -> None:
        self.text, self.origin = text, origin
        super().__init__(plain_words(text))

    @property
    def options(self) -> tuple[str, ...]:
        """The parameters that the error names, in order: what is wrong, or what mends it."""
        return tuple(_OPTION.findall(self.text))

    @property
    def option(self) -> str | None:
        """The first of them."""
        return self.options[0] if self.options else None

    def worded(self, word: Callable[[str, Origin], str]) -> str:
        """The message with every parameter in the caller's own words."""
        return words(self.text, lambda name: word(name, self.origin))


class UsageError(BleepError):
    """Options or arguments that cannot be carried out."""

    exit_code = 2


class SlideError(BleepError):
    """A slide that cannot be opened, decoded, scaled or that holds no tissue."""

    exit_code = 3


class ReferenceError(BleepError):
    """A reference bundle, cohort file or section that is broken or does not fit."""

    exit_code = 4


class DeviceError(BleepError):
    """The asked-for execution device is not available."""

    exit_code = 5


class OutputError(BleepError):
    """An output that cannot be written, must not be overwritten, or is damaged."""

    exit_code = 6
