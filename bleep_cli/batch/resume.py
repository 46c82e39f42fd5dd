"""What a slide has on disk already, and whether it is what would be written again: the one check of ``--resume``.

A result appears whole or not at all (``base/files/atomic.py``), so a file that is there is finished. Whether it
belongs to this run is read from its own provenance, ``uns["bleep"]``: version of bleep-cli, hash of the reference,
options, hash of the slide, the pixel size that was used. The device does not count, nor does a precision that was
left to it (``--precision auto``), nor do date and command line. A picture says which gene it shows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bleep_cli.base.hashing import fingerprint
from bleep_cli.base.text import file_text
from bleep_cli.base.version import __version__
from bleep_cli.batch.kinds import PICTURE, Paths, results_of
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import OutputError, UsageError, option
from bleep_cli.outputs.anonymous import anonymous_options
from bleep_cli.outputs.elements import plain, storable
from bleep_cli.outputs.exports.ome_tiff import is_whole
from bleep_cli.outputs.formats import RESULTS
from bleep_cli.outputs.picture import picture_gene
from bleep_cli.outputs.set_scores import recorded_sets
from bleep_cli.outputs.stored import missing_chunks, provenance, shape
from bleep_cli.prediction.options import PredictOptions, recorded_options
from bleep_cli.prediction.provenance import Identity, compared_options, identity_of

ENDS = {"html": b"</html>", "parquet": b"PAR1", "geojson": b"}"}
"""What a file of each kind ends with."""


def identity(
    bundle: Bundle, options: PredictOptions, *, sets: Path | None = None, anonymise: bool = False
) -> Identity:
    """What every result of these options on this bundle says of itself; all but the slide."""
    recorded = compared_options(recorded_options(bundle, options) | recorded_sets(sets))
    recorded = anonymous_options(recorded) if anonymise else recorded
    return Identity(__version__, bundle.content_sha256, plain(storable(recorded)), mpp=options.mpp)


def check_resumable(formats: Sequence[str]) -> None:
    """Raises ``UsageError`` where results would not tell whether they belong."""
    if not set(formats) & set(RESULTS):
        raise UsageError(
            f"{option('resume')} needs a table ({option('format')} h5ad or zarr): "
            "the others do not say what they show"
        )


def is_complete(paths: Paths, wanted: Identity, *, gene: str | None = None, force: bool = False) -> bool:
    """True when every file of a slide is there and belongs; False when the slide has to be predicted.

    ``wanted`` without ``slide`` or ``mpp`` leaves that unchecked. With ``force``, files that do not belong
    count as not there. What is no result belongs to the one that it is no older than; a picture, if it shows
    ``gene`` (None: any).

    Raises
    ------
    OutputError
        A file is there that belongs to something else, and not ``force``.
    """
    there = {kind: path for kind, path in paths.items() if path.exists()}
    results = results_of(there)
    made = [path for kind, path in there.items() if kind not in results]
    try:
        for kind, path in results.items():
            _check_belongs(path, read_identity(path, kind), wanted)
        if made and not results:
            raise OutputError(f"{file_text(made[0].name)} exists without its table; {option('force')} replaces it")
        if PICTURE in there:
            _check_shows(there[PICTURE], gene)
    except OutputError:
        if force:
            return False
        raise
    if there.keys() != paths.keys():
        return False
    if not all(_is_whole(path, kind) for kind, path in paths.items()):
        return False
    newest = max(path.stat().st_mtime_ns for path in results.values())
    return all(path.stat().st_mtime_ns >= newest for path in made)


def _is_whole(path: Path, kind: str) -> bool:
    """Whether nothing of a file or folder has gone since it was written: chunks, or its end."""
    if kind == "h5ad":
        return True  # it has opened, which HDF5 does with no file that was cut short
    if path.is_dir():
        return missing_chunks(path) == 0
    if kind == PICTURE:
        return picture_gene(path) is not None
    if kind == "ometiff":
        return is_whole(path)
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 16))
        return file.read().rstrip().endswith(ENDS.get(kind, b""))


def _check_shows(picture: Path, gene: str | None) -> None:
    shown = picture_gene(picture)
    if gene is not None and shown != gene:
        of = f"of {shown}" if shown else "and does not say of which gene"
        raise OutputError(
            f"{file_text(picture.name)} exists already, {of}; {option('force')} replaces it and its table"
        )


def _check_belongs(path: Path, found: Identity, wanted: Identity) -> None:
    differing = []
    if found.version != wanted.version:
        differing.append("another bleep-cli")
    if found.reference != wanted.reference:
        differing.append("another reference")
    if wanted.slide is not None and found.slide != wanted.slide:
        differing.append("another slide")
    if wanted.mpp is not None and not math.isclose(found.mpp or 0.0, wanted.mpp):
        differing.append(f"another pixel size ({found.mpp:g} µm)")
    theirs, ours = found.options, wanted.options
    compared = [name for name in {*theirs, *ours} if ours.get(name) != "auto"]  # what was left to the device
    names = sorted(name for name in compared if theirs.get(name) != ours.get(name))
    if names:
        differing.append(f"other options ({', '.join(names)})")
    if differing:
        raise OutputError(
            f"{file_text(path.name)} exists already, from {' and '.join(differing)}; {option('force')} replaces it"
        )


def read_identity(path: Path, kind: str) -> Identity:
    """What a table says of itself, the slide included. ``OutputError`` for a file that is no result."""
    try:
        return identity_of(provenance(path, kind))
    except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
        raise OutputError(
            f"{file_text(path.name)} exists already and is no result of bleep; {option('force')} replaces it"
        ) from error


def check_written(paths: Paths, prints: Mapping[str, Any], size: tuple[int, int], wanted: Identity) -> None:
    """Raises ``OutputError`` unless every file has its fingerprint, and every table opens, is of ``size`` (tiles,
    genes) and belongs."""
    for kind, path in paths.items():
        try:
            whole = fingerprint(path) == prints[kind] and (kind not in RESULTS or shape(path, kind) == size)
        except (OSError, KeyError, ValueError) as error:
            raise OutputError(f"{file_text(path.name)} cannot be read back ({type(error).__name__})") from error
        if not whole:
            raise OutputError(f"{file_text(path.name)} is not what its worker wrote")
        if kind in RESULTS:
            _check_belongs(path, read_identity(path, kind), wanted)
