"""A folder of towers, its ``encoders.json`` altered."""

from __future__ import annotations

import random
from pathlib import Path

import made_world
from doors import told
from mutate import mutated

from bleep_cli.bundle.encoders_folder import MANIFEST, load_encoders
from bleep_cli.errors import ReferenceError


class EncodersFolder:
    """The folder that ``bleep-train export`` makes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "enc"
        made_world.encoders().save(self._folder)
        self._data = (self._folder / MANIFEST).read_bytes()

    def attempt(self, rng: random.Random) -> str:
        """Reads it."""
        (self._folder / MANIFEST).write_bytes(mutated(self._data, rng))
        try:
            found = load_encoders(self._folder)
        except ReferenceError as error:
            return told(error, self._folder.parent)
        assert found.tile.px >= 1 and min(found.tile.um) > 0 and found.target_sum > 0
        return "read"


door = EncodersFolder
