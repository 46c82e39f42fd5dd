"""A bundle's folder, one of its files altered and given a checksum that fits, then read as prediction reads it."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import google_crc32c
import made_world
import numpy as np
from doors import told
from imagecodecs import zstd_decode, zstd_encode
from mutate import mutated

from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.errors import BleepError, ReferenceError


class BundleFolder:
    """A folder of files, one of them altered at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._bundle = made_world.bundle(folder)
        self._files = sorted(file for file in self._bundle.rglob("*") if file.is_file())
        self._work = Path(shutil.copytree(self._bundle, folder / "altered.zarr"))

    def attempt(self, rng: random.Random) -> str:
        """Alters a file inside its compression, reads all, and puts the file back."""
        file = rng.choice(self._files)
        target = self._work / file.relative_to(self._bundle)
        sound = file.read_bytes()
        try:
            target.write_bytes(_altered(sound, rng, chunk=file.name != "zarr.json"))
            return self._read()
        finally:
            target.write_bytes(sound)

    def _read(self) -> str:
        try:
            bundle = open_bundle(self._work)
            expression = bundle.expression(None, 1 << 30)
            found = bundle.index("expression").search(bundle.embeddings("image")[:5], 3)
            assert np.isfinite(expression).all() and found.index.max() < bundle.n_spots
            for read in (bundle.signature, bundle.other_towers, bundle.xy_l0, bundle.gene_columns):
                read()
        except ReferenceError as error:
            return told(error, self._folder)
        try:
            for check in verify(bundle):
                assert "\n" not in check.detail
        except BleepError as error:
            raise AssertionError("verify() must not raise") from error
        return "read"


def _altered(data: bytes, rng: random.Random, *, chunk: bool) -> bytes:
    if not chunk:
        return mutated(data, rng)
    try:
        values = (
            zstd_encode(mutated(zstd_decode(data[:-4]), rng)) if rng.random() < 0.8 else mutated(data[:-4], rng)
        )
    except RuntimeError:
        values = mutated(data[:-4], rng)
    return bytes(values) + google_crc32c.value(bytes(values)).to_bytes(4, "little")


door = BundleFolder
