"""The cohort file: its keys, and what may stand in it.

A cohort file is TOML; paths in it are relative to it::

    species = "Homo sapiens"                    # optional, as are licence and citation: texts for the bundle

    [[section]]
    id = "C5"
    donor = "C"
    image = "images/C5.jpg"
    mpp = 0.69                                  # optional if the image, or an array of Visium, states it
    # image_scale = 0.15                        # where the image is a smaller copy of the positions'
    # orientation = "turned by 90 degrees"      # what was done to the image since; "as it is" says: nothing
    # scene = 1                                 # of an image file with several pictures: index from 0, or name
    counts = "counts/C5.tsv.gz"                 # a table of spots and genes, or 10x's .h5 or .mtx ...
    positions = "spots/C5_selection.tsv"        # ... with their positions
    # or: spaceranger = "outs"                  # filtered_feature_bc_matrix(.h5) and spatial/
    # bin = "008um"                             # of Visium HD: which squares, or "cells"
    # or: h5ad = "C5.h5ad"                      # raw counts, obsm["spatial"] (x, y) in level-0 px; zarr: a folder
    # layer = "raw"                             # of it, where neither "counts" nor X is raw
    # library = "s1"                            # which section, where a file holds several; "*": all as one
    # or: spatialdata = "C5.zarr"               # a table, circles or polygons of SpatialData
    # table = "square_008um"                    # which, where there are several
    # element = "he_image"                      # the image element that the section's image is, where it matters
    # coordinates = "global"                    # the coordinate system, where the shapes are in several
    # or: xenium = "outs"                       # cells at their centroids ...
    # alignment = "he_imagealignment.csv"       # ... and the matrix that puts the image onto them
    # or: hest = "hest_data"                    # HEST-1k folder: counts, image, mpp and donor of this id
    # genome = "GRCh38"                         # which, where the table has the genes of two
    # genes = "genes.tsv.gz"                    # optional: gene_id, gene_name
    # min_counts = 50                           # spots with fewer counts are left out; 0 keeps all

``min_counts`` above the first ``[[section]]`` is that of every section which names none of its own. Without it,
spots are left out that have fewer than 100 counts and less than a tenth of their section's median: a molecule
alone is log1p(10,000) = 9.2 after normalisation, and such a spot says nothing but that. This takes 0 to 2 of the
180 to 346 spots of a her2st section, none of 786 and 3 of 501 of mouse olfactory bulbs, and of a Visium section
with a median of 226 counts 26 of 2,898, where 100 alone would take 574.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bleep_cli.base.files.toml_file import read_toml
from bleep_cli.base.reasons import did_you_mean
from bleep_cli.cohort.orientation import ORIENTATIONS
from bleep_cli.cohort.parts.reader import Key
from bleep_cli.cohort.readers.registry import READERS, SOURCES, readers_of
from bleep_cli.errors import ReferenceError, UsageError


def must_be_positive(value: Any) -> str:
    """What is wrong with a value that has to be a number above 0; empty where nothing is."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return "" if number and 0 < value < float("inf") else "must be a positive number"


def must_be_a_scene(value: Any) -> str:
    """What is wrong with a value that has to choose one of several pictures; empty where nothing is."""
    index = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return "" if index or isinstance(value, str) else "must be an index from 0, or a name in quotes"


def must_be_a_count(value: Any) -> str:
    """What is wrong with a value that has to be a whole number; empty where nothing is."""
    number = isinstance(value, int) and not isinstance(value, bool)
    return "" if number and value >= 0 else "must be a whole number, 0 (keeps every spot) or more"


def must_be_an_orientation(value: Any) -> str:
    """What is wrong with a value that has to be one of the eight orientations; empty where nothing is."""
    return "" if value in ORIENTATIONS else f"must be one of {', '.join(ORIENTATIONS)}, in quotes"


TEXTS = ("species", "licence", "citation")
FOR_ALL = ("min_counts",)  # above the sections, these stand for every section that names none of its own
OWN_PICTURES = (
    '; name the scan; a picture inside the h5ad (uns["spatial"][...]["images"]["hires"]) is a small copy of it, '
    "which has to be saved as PNG to be named"
)
BENCH = "bench"  # a table of a task of HEST-Bench, which nothing reads here
OF_EVERY = (
    Key("id", needed=True),
    Key("donor", needed=True),
    Key("image", needed=True),
    Key("mpp", fault=must_be_positive),
    Key("image_scale", fault=must_be_positive),
    Key("orientation", fault=must_be_an_orientation),
    Key("scene", fault=must_be_a_scene),
    Key("genes"),
    Key("genome"),
    Key("min_counts", fault=must_be_a_count),
)
"""Keys of every section, whatever its format."""
KEYS: dict[str, Key] = {
    key.name: key for key in (*OF_EVERY, *map(Key, SOURCES), *(key for reader in READERS for key in reader.keys))
}
"""Every key by its name."""


def cohort_entries(path: Path) -> list[dict[str, Any]]:
    """The ``[[section]]`` tables, checked for their keys and completed by what their formats say of image, mpp and
    donor; no counts are opened."""
    table = _table(path)
    for_all = {key: table[key] for key in FOR_ALL if key in table}
    return [filled(entry, path.parent) for entry in checked_entries(table.get("section", []), path.name, for_all)]


def each_entry(path: Path) -> list[tuple[str, dict[str, Any] | ReferenceError]]:
    """The same, each with its id, or its number where it has none, and with what is wrong with it in its stead.

    Raises for a file that is broken as a whole.
    """
    table = _table(path)
    for_all = {key: table[key] for key in FOR_ALL if key in table}
    found: list[tuple[str, dict[str, Any] | ReferenceError]] = []
    for number, entry in enumerate(_tables(table.get("section", []), path.name, for_all), 1):
        name = str(entry.get("id", number))
        try:
            _check_entry(entry, f"{path.name}, section {name}")
            found.append((name, filled(entry, path.parent)))
        except ReferenceError as error:
            found.append((name, error))
    return found


def filled(entry: Mapping[str, Any], base: Path) -> dict[str, Any]:
    """A checked entry with what its format says of keys that it leaves out. Raises ``ReferenceError``."""
    source = next(key for key in SOURCES if key in entry)
    said = [reader.fill(entry, base) for reader in readers_of(source)]
    return {**{key: value for found in said for key, value in found.items()}, **entry}


def cohort_texts(path: Path | str) -> dict[str, str]:
    """What a cohort file says of species, licence and citation, by these names.

    Raises ``UsageError`` for a file that is not there, ``ReferenceError`` for one that is broken.
    """
    table = _table(Path(path))
    return {name: table[name] for name in TEXTS if name in table}


def _table(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"{path.name}: no such cohort file")
    try:
        table = read_toml(path)
    except (OSError, ValueError) as error:
        raise ReferenceError(f"{path.name}: not valid TOML ({error})") from error
    known = ("section", *TEXTS, *FOR_ALL, BENCH)
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ReferenceError(f"{path.name}: unknown key {', '.join(unknown)}; known are {', '.join(known)}")
    wrong = [name for name in TEXTS if not isinstance(table.get(name, ""), str)]
    if wrong:
        raise ReferenceError(f"{path.name}: {', '.join(wrong)} must be in quotes")
    return table


def checked_entries(entries: Any, where: str, for_all: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """``[[section]]`` tables whose keys go together, or ``ReferenceError``.

    ``where`` names their file; ``for_all`` are keys of every section that has none of its own.
    """
    tables = _tables(entries, where, for_all or {})
    for number, entry in enumerate(tables, 1):
        _check_entry(entry, f"{where}, section {entry.get('id', number)}")
    return tables


def _tables(entries: Any, where: str, for_all: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ReferenceError(f"{where}: no [[section]] in it")
    ids = [entry["id"] for entry in entries if isinstance(entry.get("id"), str)]
    if len(set(ids)) != len(ids):
        raise ReferenceError(f"{where}: two sections have the same id")
    return [{**for_all, **entry} for entry in entries]


def _check_entry(entry: Mapping[str, Any], where: str) -> None:
    unknown = set(entry) - set(KEYS)
    if unknown:
        hint = did_you_mean(min(unknown), KEYS) or f"; known are {', '.join(sorted(KEYS))}"
        raise ReferenceError(f"{where}: unknown key {', '.join(sorted(unknown))}{hint}")
    sources = [source for source in SOURCES if source in entry]
    said = {key for source in sources for reader in readers_of(source) for key in reader.fills}
    missing = {key.name for key in OF_EVERY if key.needed} - said - set(entry)
    if missing:
        own = OWN_PICTURES if "image" in missing and sources == ["h5ad"] else ""
        raise ReferenceError(f"{where}: {', '.join(sorted(missing))} missing{own}")
    if len(sources) != 1:
        raise ReferenceError(f"{where}: give exactly one of {', '.join(SOURCES)}")
    _check_together(entry, sources[0], where)
    for name in sorted(entry):
        fault = KEYS[name].fault(entry[name])
        if fault:
            raise ReferenceError(f"{where}: {name} {fault}")


def _check_together(entry: Mapping[str, Any], source: str, where: str) -> None:
    """Raises ``ReferenceError`` for keys that no format of this source takes, and for those all of them need."""
    takers = readers_of(source)
    for key in KEYS.values():
        with_it = [reader for reader in READERS if key in reader.keys]
        if key.name in entry and with_it and not set(with_it) & set(takers):
            sources = dict.fromkeys(name for reader in with_it for name in reader.sources)
            raise ReferenceError(f"{where}: {key.name} goes with {' or '.join(sources)}, not with {source}")
        if key.needed and key.name not in entry and all(key in reader.keys for reader in takers):
            raise ReferenceError(f"{where}: {source} need {key.name}")
