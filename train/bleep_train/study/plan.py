"""What a study runs: protocol, methods, seeds, folds."""

from __future__ import annotations

from dataclasses import dataclass

from bleep_cli.errors import UsageError, option
from bleep_train.config.protocols import StudyProtocol
from bleep_train.methods.by_name import BLEEP, UNTRAINED, find_method
from bleep_train.methods.external import External
from bleep_train.study.saved import NULLS


@dataclass(frozen=True)
class StudyPlan:
    """What a study runs."""

    protocol: StudyProtocol
    """What is left out, and what may be seen of it."""
    methods: tuple[str, ...]
    """By name (``methods/by_name.py``)."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Of each method that a seed changes."""
    test: tuple[str, ...] = ()
    """Keeps the folds of these names; empty: all."""
    markers: tuple[str, ...] = ()
    """A gene set of their own."""
    external: tuple[External, ...] = ()
    """The files behind methods called ``external:NAME``."""

    def check(self) -> None:
        """Raises ``UsageError`` for methods that are not known or do not go together."""
        if not self.methods or not self.seeds:
            raise UsageError(f"{option('methods')} and {option('seeds')} need at least one entry each")
        for method in self.methods:
            if method not in NULLS and self.file_of(method) is None:
                find_method(method)
        if self.null_of is None:
            for null in (null for null in NULLS if null in self.methods):
                raise UsageError(
                    f"{option('methods')} {null}: needs a bleep method beside it, whose predictions it gives to "
                    "other spots"
                )

    @property
    def null_of(self) -> str | None:
        """The first bleep method: the one whose predictions are shuffled and shifted."""
        return next((m for m in self.methods if m.partition(":")[0] == BLEEP), None)

    def jobs(self) -> list[tuple[str, int]]:
        """(method, seed) of every job of a fold; the controls come after what they move."""
        ordered = sorted(dict.fromkeys(self.methods), key=lambda method: method in NULLS)
        return [(method, seed) for method in ordered for seed in self.seeds_of(method)]

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """The seeds a method runs with."""
        return self.seeds[:1] if method in UNTRAINED or self.file_of(method) else self.seeds

    def file_of(self, method: str) -> External | None:
        """The file whose predictions a method is; None for a method that predicts by itself."""
        return next((one for one in self.external if one.name == method), None)
