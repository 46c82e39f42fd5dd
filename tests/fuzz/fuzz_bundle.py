"""A bundle as one zip, any of its bytes altered: refused, or read with the content that its hash names."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import made_world
from doors import told
from mutate import mutated

from bleep_cli.bundle.open import open_bundle
from bleep_cli.errors import ReferenceError


class BundleZip:
    """One file, its bytes altered as they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        bundle = made_world.bundle(folder)
        self._data = Path(shutil.make_archive(str(folder / "made"), "zip", bundle)).read_bytes()
        self._wanted = open_bundle(bundle).content_sha256

    def attempt(self, rng: random.Random) -> str:
        """Opens it and reads everything."""
        file = self._folder / "altered.zarr.zip"
        file.write_bytes(mutated(self._data, rng))
        try:
            bundle = open_bundle(file)
            bundle.check_content()
        except ReferenceError as error:
            return told(error, self._folder)
        assert bundle.content_sha256 == self._wanted
        return "read"


door = BundleZip
