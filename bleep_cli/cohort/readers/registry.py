"""Every format of sections, one line each, and which of them a section is in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bleep_cli.base.files.unpacked import regular
from bleep_cli.cohort.parts.reader import Entry, Reader, Source
from bleep_cli.cohort.readers.h5ad import ANNDATA_ZARR, H5AD
from bleep_cli.cohort.readers.hest import HEST
from bleep_cli.cohort.readers.spatialdata import SPATIALDATA
from bleep_cli.cohort.readers.table import TABLE
from bleep_cli.cohort.readers.tenx import TENX
from bleep_cli.cohort.readers.visium import VISIUM
from bleep_cli.cohort.readers.visium_hd import HD_CELLS, VISIUM_HD
from bleep_cli.cohort.readers.xenium import XENIUM
from bleep_cli.errors import ReferenceError

READERS: tuple[Reader, ...] = (
    VISIUM_HD,
    HD_CELLS,
    VISIUM,
    ANNDATA_ZARR,
    H5AD,
    TENX,
    TABLE,
    HEST,
    XENIUM,
    SPATIALDATA,
)
"""Special ones before general ones: of those that share a key, the last one says what is wrong with a file that
none of them knows."""

SOURCES: tuple[str, ...] = tuple(dict.fromkeys(key for reader in READERS for key in reader.sources))
"""Keys of which a section has exactly one: they name its file or folder."""


def readers_of(key: str) -> list[Reader]:
    """Those that may take what a key names."""
    return [reader for reader in READERS if key in reader.sources]


def source_of(entry: Entry, base: Path) -> Source:
    """The file or folder of a checked entry."""
    return Source(entry, base, next(key for key in SOURCES if key in entry))


def reader_for(source: Source) -> Reader:
    """The reader of a file or folder, by what is in it.

    Raises ``ReferenceError`` where it is not there or of a format that goes by another key, or where the entry has
    keys that this format does not take, or does not pick one of its sections.
    """
    takers = readers_of(source.key)
    if not source.path.exists():
        raise ReferenceError(f"{source.key} {source.path.name}: no such file or folder")
    if not source.path.is_dir():  # before any reader looks into it, and waits
        try:
            regular(source.path)
        except ValueError as error:
            raise ReferenceError(f"{source.key} {source.path.name}: {error}") from error
    reader = next((taker for taker in takers if taker.claims(source.path)), takers[-1])
    if not reader.claims(source.path):
        others = [r for r in READERS if source.key not in r.sources and r.claims(source.path)]
        if others:
            raise ReferenceError(f"{source.path.name} is {others[0].what}: {others[0].sources[0]} names it")
    _check_keys(source, reader, [key.name for taker in takers for key in taker.keys])
    _check_pick(source, reader)
    return reader


def _check_keys(source: Source, reader: Reader, known: Sequence[str]) -> None:
    own = {key.name for key in reader.keys}
    other = [name for name in known if name in source.entry and name not in own]
    if other:
        raise ReferenceError(f"{source.path.name} is {reader.what}, which does not take {', '.join(other)}")


def _check_pick(source: Source, reader: Reader) -> None:
    there = reader.sections(source.path) if reader.sections else ()
    picked = source.entry.get(reader.pick)
    if picked in there or (picked and picked == reader.every):
        return
    if picked is not None:
        has = f"it has {', '.join(there)}" if there else "it holds one section"
        raise ReferenceError(f"{source.path.name} has no {reader.pick} {picked}; {has}")
    if len(there) > 1:
        every = f'; {reader.pick} = "{reader.every}" takes all as one' if reader.every else ""
        raise ReferenceError(
            f"{source.path.name} holds {len(there)} sections, {', '.join(there)}; pick one with "
            f'{reader.pick} = "{there[0]}"{every}'
        )
