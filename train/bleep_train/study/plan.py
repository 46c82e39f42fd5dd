"""What a study runs: protocol, methods, seeds, folds."""

from __future__ import annotations

from dataclasses import dataclass

from bleep_cli.errors import UsageError, option
from bleep_train.config.protocols import StudyProtocol
from bleep_train.methods.by_name import BLEEP, UNTRAINED, find_method
from bleep_train.study.saved import SHUFFLED


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

    def check(self) -> None:
        """Raises ``UsageError`` for methods that are not known or do not go together."""
        if not self.methods or not self.seeds:
            raise UsageError(f"{option('methods')} and {option('seeds')} need at least one entry each")
        for method in self.methods:
            if method != SHUFFLED:
                find_method(method)
        if SHUFFLED in self.methods and self.shuffled_from is None:
            raise UsageError(
                f"{option('methods')} shuffled: needs a bleep method beside it, whose predictions it shuffles"
            )

    @property
    def shuffled_from(self) -> str | None:
        """The first bleep method: the one whose predictions are shuffled."""
        return next((m for m in self.methods if m.partition(":")[0] == BLEEP), None)

    def jobs(self) -> list[tuple[str, int]]:
        """(method, seed) of every job of a fold; shuffling comes after what it shuffles."""
        ordered = sorted(dict.fromkeys(self.methods), key=lambda method: method == SHUFFLED)
        return [(method, seed) for method in ordered for seed in self.seeds_of(method)]

    def seeds_of(self, method: str) -> tuple[int, ...]:
        """The seeds a method runs with."""
        return self.seeds[:1] if method in UNTRAINED else self.seeds
