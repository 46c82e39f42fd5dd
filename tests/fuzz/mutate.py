"""Bytes and files changed at random, by a seed: what the fuzzing of every door has in common."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

NUMBERS = (0, 1, 2, 255, 256, 65_535, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)
TOKENS = (
    b"null",
    b"NaN",
    b"Infinity",
    b"-1",
    b"1e999",
    b"[[",
    b"{}",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"../",
    b'"',
    b",",
)


def mutated(data: bytes, rng: random.Random, most: int = 4) -> bytes:
    """One to ``most`` changes: bits, bytes, numbers, words that parsers dislike, pieces cut, doubled and moved."""
    out = bytearray(data)
    for _ in range(rng.randint(1, most)):
        rng.choice(CHANGES)(out, rng)
    return bytes(out)


def _at(out: bytearray, rng: random.Random) -> int:
    return rng.randrange(len(out)) if out else 0


def _bit(out: bytearray, rng: random.Random) -> None:
    if out:
        out[_at(out, rng)] ^= 1 << rng.randrange(8)


def _byte(out: bytearray, rng: random.Random) -> None:
    if out:
        out[_at(out, rng)] = rng.randrange(256)


def _number(out: bytearray, rng: random.Random) -> None:
    at, size = _at(out, rng), rng.choice((2, 4, 8))
    number = rng.choice(NUMBERS) % (1 << (8 * size))
    out[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))


def _token(out: bytearray, rng: random.Random) -> None:
    at = _at(out, rng)
    out[at : at + rng.randrange(6)] = rng.choice(TOKENS)


def _digits(out: bytearray, rng: random.Random) -> None:
    """Another number in text."""
    places = [i for i, byte in enumerate(out[:100_000]) if 48 <= byte < 58]
    if places:
        at = rng.choice(places)
        out[at : at + 1] = str(rng.choice(NUMBERS)).encode()


def _cut(out: bytearray, rng: random.Random) -> None:
    at = _at(out, rng)
    del out[at : at + rng.choice((1, 4, 64, len(out)))]


def _double(out: bytearray, rng: random.Random) -> None:
    at = _at(out, rng)
    out[at:at] = out[at : at + rng.choice((1, 8, 256))]


def _move(out: bytearray, rng: random.Random) -> None:
    a, b, size = _at(out, rng), _at(out, rng), rng.choice((1, 4, 64))
    out[a : a + size] = out[b : b + size]


CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _bit,
    _byte,
    _number,
    _token,
    _digits,
    _cut,
    _double,
    _move,
)


def alter(path: Path, sound: bytes, rng: random.Random) -> None:
    """Its bytes, half the time those that it packs, or of HDF5 the values without the structure."""
    if path.suffix == ".gz" and rng.random() < 0.5:
        path.write_bytes(gzip.compress(mutated(gzip.decompress(sound), rng), 1, mtime=0))
    elif sound.startswith(b"\x89HDF") and rng.random() < 0.5:
        _alter_values(path, rng)
    else:
        path.write_bytes(mutated(sound, rng))


def _alter_values(path: Path, rng: random.Random) -> None:
    """Of an HDF5 file one number of an array, or an array gone, or in the place of another."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, node: names.append(name) if isinstance(node, h5py.Dataset) else None)
        name, other = rng.choice(names), rng.choice(names)
        what = rng.random()
        if what < 0.2:
            del file[name]
        elif what < 0.4 and name != other:
            del file[name]
            file[name] = file[other]
        elif file[name].dtype.kind in "iuf" and file[name].size:
            values = file[name][()]
            np.atleast_1d(values).reshape(-1)[rng.randrange(values.size)] = _number(values.dtype, rng)
            file[name][()] = values


def _number(dtype: Any, rng: random.Random) -> Any:
    if dtype.kind == "f":
        return rng.choice((np.nan, np.inf, -np.inf, -1.0, 1e30, 2.0**31))
    return min(max(rng.choice((*NUMBERS, -1, -(10**6))), np.iinfo(dtype).min), np.iinfo(dtype).max)
