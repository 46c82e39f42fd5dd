"""Python code for a process that cannot find some packages, as if they were not installed."""

from __future__ import annotations

from collections.abc import Iterable

CODE = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ABSENT else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""


def without(packages: Iterable[str], then: str) -> str:
    """Code that runs ``then`` where the packages cannot be found."""
    return CODE.replace("ABSENT", repr(sorted(packages))) + then
