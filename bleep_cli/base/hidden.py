"""Names that must not be told, each with what stands in its place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

SHORTEST = 4
"""Letters of a name that is looked for within texts; a shorter one, such as "1", is only replaced where it is all
there is: it would be found in numbers and words that say something else."""


class Hidden:
    """Replaces names in texts: whole ones, as they are or within other words; ``_`` and ``-`` end a word."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = {name: shown for name, shown in names.items() if name}
        long = sorted((name for name in self._names if len(name) >= SHORTEST), key=len, reverse=True)
        any_of = "|".join(map(re.escape, long))
        self._pattern = re.compile(rf"(?<![^\W_])(?:{any_of})(?![^\W_])") if long else None

    def text(self, text: str) -> str:
        """The text without the names."""
        if text in self._names:
            return self._names[text]
        return self._pattern.sub(lambda found: self._names[found.group()], text) if self._pattern else text

    def value(self, value: Any) -> Any:
        """The same of all texts of a JSON-able value; keys stay."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {key: self.value(item) for key, item in value.items()}
        return [self.value(item) for item in value] if isinstance(value, list | tuple) else value
