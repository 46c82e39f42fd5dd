"""What is held out at a time, and what is trained on: folds of sections, of donors, and of a benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bleep_train.data.hest_bench import Bench


@dataclass(frozen=True)
class Fold:
    """What is held out, and what is trained on, as positions in the cohort."""

    name: str
    """Of the section or donor that is held out."""
    train: tuple[int, ...]
    """Sections trained on."""
    test: tuple[int, ...]
    """Sections held out."""


def leave_one_out(labels: Sequence[str]) -> list[Fold]:
    """One fold per label, in order of appearance: tested on its positions, trained on all others."""
    everything = range(len(labels))
    return [
        Fold(
            name,
            train=tuple(i for i in everything if labels[i] != name),
            test=tuple(i for i in everything if labels[i] == name),
        )
        for name in dict.fromkeys(labels)
    ]


def bench_folds(bench: Bench, ids: Sequence[str]) -> list[Fold]:
    """A fold per split of the benchmark, sections as positions in ``ids``."""
    slot = {name: i for i, name in enumerate(ids)}
    return [
        Fold(split.name, tuple(slot[i] for i in split.train), tuple(slot[i] for i in split.test))
        for split in bench.splits
    ]
