"""What is left out at a time: donors where there are several, else sections, else strips of one section."""

from __future__ import annotations

from typing import Literal

import numpy as np

from bleep_cli.types import F64, I64, Str

By = Literal["donor", "section", "block"]
STRIPS = 5
SQUARES = 4  # along each edge of a section


def groups_of(donor: Str, section: Str, xy_l0: F64) -> tuple[By, I64]:
    """What is held out, and the group i64[n] of every spot, numbered as they come.

    ``donor`` and ``section`` str[n], ``xy_l0`` f64[n, 2] in level-0 px, which only a lone section is cut by.
    """
    for by, names in (("donor", donor), ("section", section)):
        group = _numbered(names)
        if group.max(initial=0) > 0:
            return ("donor" if by == "donor" else "section"), group
    return "block", strips(xy_l0[:, int(np.ptp(xy_l0, axis=0).argmax())])


def strips(along: F64, count: int = STRIPS) -> I64:
    """The strip 0 to ``count`` - 1 of spots at f64[n], equally many in each: few spots have a neighbour in
    another."""
    rank = np.argsort(np.argsort(along, kind="stable"), kind="stable")
    return np.asarray(rank * count // max(1, len(along)), np.int64)


def neighbourhoods(section: Str, xy_l0: F64) -> I64:
    """The neighbourhood i64[n] of every spot: each section cut into 4 × 4 of about equally many spots."""
    out = np.zeros(len(section), np.int64)
    for i, name in enumerate(dict.fromkeys(section.tolist())):
        rows = np.flatnonzero(section == name)
        across = strips(xy_l0[rows, 0], SQUARES)
        for strip in range(SQUARES):
            inside = across == strip
            down = strips(xy_l0[rows[inside], 1], SQUARES)
            out[rows[inside]] = (i * SQUARES + strip) * SQUARES + down
    return out


def _numbered(names: Str) -> I64:
    number = {name: i for i, name in enumerate(dict.fromkeys(names.tolist()))}
    return np.array([number[name] for name in names.tolist()], np.int64)
