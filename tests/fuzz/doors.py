"""The doors that are fuzzed, by name: one file each beside this one, and one line here."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol

from bleep_cli.base.text import printable

DOORS = ("bundle", "bundle_values", "index", "tower", "encoders")
"""Modules ``fuzz_NAME`` here, each with a function ``door(folder)`` that makes its corpus in the folder."""


class Door(Protocol):
    """A reader of untrusted input, and sound input for it."""

    def attempt(self, rng: random.Random) -> str:
        """Alters sound input and reads it: the class of the error of ours that refused it, or "read".

        Any other exception is a fault of the reader, and so is an answer that is wrong.
        """


@dataclass(frozen=True)
class Fault:
    """What a reader must not do."""

    seed: int
    """Of the attempt: it does the same again."""
    error: Exception


def find(name: str) -> Callable[[Path], Door]:
    """What makes the door of that name."""
    made: Callable[[Path], Door] = import_module(f"fuzz_{name}").door
    return made


def fuzz(door: Door, seeds: range, seconds: float = float("inf")) -> tuple[Mapping[str, int], list[Fault]]:
    """Attempts with these seeds, until the time is over: how many ended how, and the faults."""
    ended: Counter[str] = Counter()
    faults = []
    until = time.monotonic() + seconds
    for seed in seeds:
        if time.monotonic() > until:
            break
        try:
            ended[door.attempt(random.Random(seed))] += 1
        except Exception as error:
            ended["FAULT"] += 1
            faults.append(Fault(seed, error))
    return ended, faults


def told(error: Exception, folder: Path) -> str:
    """The class of a refusal, which has to be one line without folders: else it is a fault."""
    text = str(error)
    text.encode("utf-8")  # else it could not be printed
    if len(text.splitlines()) != 1 or str(folder) in text or printable(text) != text:
        raise AssertionError(f"a refusal that is not one plain line: {text!r}") from error
    return type(error).__name__
