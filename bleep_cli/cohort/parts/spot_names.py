"""Spots that counts and positions call by different names: with and without the ending -1, 10_12 for 10x12."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from bleep_cli.types import I64, Str

ENDING = re.compile(r"[-._]\d+$")
BASES = re.compile(r"[ACGT]{10,}")
PLACE = re.compile(r"X?(\d+(?:\.\d+)?)[x_](\d+(?:\.\d+)?)")  # R writes an X before a name that begins with a digit


def _as_it_is(name: str) -> str:
    return name


def _without_ending(name: str) -> str:
    """R makes AAAC.1 of AAAC-1 where it is the name of a column."""
    return ENDING.sub("", name)


def _bases(name: str) -> str:
    """The barcode of a name that may say the sample, too; nothing where there is not exactly one."""
    found = BASES.findall(name)
    return str(found[0]) if len(found) == 1 else ""


def _place(name: str) -> str:
    """Column and row of a spot of ST, as whole numbers."""
    found = PLACE.fullmatch(name) or PLACE.fullmatch(_without_ending(name))
    return f"{round(float(found[1]))}x{round(float(found[2]))}" if found else ""


WAYS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("", _as_it_is),
    ("without their endings, such as -1", _without_ending),
    ("by their bases alone", _bases),
    ("by their place in the array", _place),
)
"""Ways to compare names, the exact one first, with what to say of them."""


def matched(names: Str, barcodes: Str) -> tuple[I64, str]:
    """(i64[n] the row of ``names`` str[m] for each of ``barcodes`` str[n], -1 where there is none; how compared).

    The exact comparison counts if any name is found by it; another only where names stay different by it on both
    sides, so that no spot gets the counts of another.
    """
    for told, way in WAYS:
        keys, wanted = ([way(str(name)) for name in side] for side in (names, barcodes))
        row = {key: i for i, key in enumerate(keys) if key}
        found = np.array([row.get(key, -1) for key in wanted], dtype=np.int64)
        if (found >= 0).any() and (not told or (_differ(keys) and _differ(wanted))):
            return found, told
    return np.full(len(barcodes), -1, dtype=np.int64), ""


def looks_like_a_spot(name: str) -> bool:
    """Whether a name is a barcode or a place in an array."""
    return bool(_bases(name) or _place(name))


def _differ(keys: list[str]) -> bool:
    full = [key for key in keys if key]
    return len(set(full)) == len(full)
