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

from mutate import alter

from bleep_cli.base.text import printable
from bleep_cli.errors import BleepError

DOORS = (
    *("bundle", "bundle_values", "index", "tower", "encoders"),
    *("counts", "positions", "mask", "cohort", "results", "slide"),
)
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


def told(error: Exception, folder: Path, *, quotes: bool = False) -> str:
    """The class of a refusal, which has to be one line without folders: else it is a fault.

    With ``quotes`` it may quote a cell of a table as it is; the console makes that printable.
    """
    text = printable(str(error)) if quotes else str(error)
    text.encode("utf-8")  # else it could not be printed
    if len(text.splitlines()) != 1 or str(folder) in text or printable(text) != text:
        raise AssertionError(f"a refusal that is not one plain line: {text!r}") from error
    return type(error).__name__


class Samples:
    """Altered copies of sound files, read one after the other.

    ``files`` are sound files, each with what reads it and checks what came out; ``errors`` are the classes that a
    refusal may be of.
    """

    def __init__(self, folder: Path, files: dict[Path, Callable[[], object]], *errors: type[BleepError]) -> None:
        self._folder, self._files, self._errors = folder, files, errors

    def attempt(self, rng: random.Random) -> str:
        """Alters a file, reads it, and puts it back."""
        path = rng.choice(sorted(self._files))
        sound = path.read_bytes()
        try:
            alter(path, sound, rng)
            self._files[path]()
        except self._errors as error:
            return told(error, self._folder, quotes=True)
        finally:
            path.write_bytes(sound)
        return "read"
