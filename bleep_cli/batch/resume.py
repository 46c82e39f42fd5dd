"""What a slide has on disk already, and whether it is what would be written again: the one check of ``--resume``.

Two things have to hold. A result belongs to this run: version of bleep-cli, hash of the reference, options, hash
of the slide, the pixel size that was used; the device does not count, nor does a precision that was left to it
(``--precision auto``), nor do date and command line. And every file is, byte for byte, what was written: that the
slide's manifest says (:mod:`bleep_cli.batch.manifest`), and nothing else is believed. A table without one says of
itself, in ``uns["bleep"]``, what it is from.
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
from bleep_cli.batch.manifest import Manifest, manifest_path, read_manifest
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import OutputError, UsageError, option
from bleep_cli.outputs.anonymous import anonymous_options
from bleep_cli.outputs.elements import plain, storable
from bleep_cli.outputs.formats import RESULTS
from bleep_cli.outputs.picture import picture_gene
from bleep_cli.outputs.set_scores import recorded_sets
from bleep_cli.outputs.stored import provenance, shape
from bleep_cli.prediction.options import PredictOptions, recorded_options
from bleep_cli.prediction.provenance import Identity, compared_options, identity_of


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


def check_belongs(paths: Paths, wanted: Identity, *, gene: str | None = None) -> None:
    """Raises ``OutputError`` for a file of a slide that is there and belongs to something else.

    ``wanted`` without ``slide`` or ``mpp`` leaves that unchecked; a picture has to show ``gene`` (None: any). Only
    what is not in the manifest is opened.
    """
    there = {kind: path for kind, path in paths.items() if path.exists()}
    known, results = read_manifest(paths), results_of(there)
    for kind, path in results.items():
        ours = known is not None and file_text(path.name) in known.files
        _check_belongs(path, known.identity if known and ours else read_identity(path, kind), wanted)
    if there and not results:
        name = file_text(next(iter(there.values())).name)
        raise OutputError(f"{name} exists without its table; {option('force')} replaces it")
    if PICTURE in there:
        _check_shows(there[PICTURE], gene)


def written_before(
    paths: Paths, wanted: Identity, *, gene: str | None = None, force: bool = False
) -> Manifest | str:
    """The manifest of a slide whose files are all there as they were written, and belong; else why the slide has
    to be predicted, empty where nothing of it is there. All files are read.

    With ``force``, files that do not belong are a reason, too. Raises ``OutputError`` for them otherwise
    (:func:`check_belongs`).
    """
    if not any(path.exists() for path in paths.values()):
        return ""
    try:
        check_belongs(paths, wanted, gene=gene)
        return _as_written(paths, wanted)
    except OutputError as error:
        if not force:
            raise
        return error.text


def _as_written(paths: Paths, wanted: Identity) -> Manifest | str:
    """The manifest of files that all are what it says, or why they are not. Raises ``OutputError`` for a result of
    something else that was put in the place of one."""
    gone = [file_text(path.name) for path in paths.values() if not path.exists()]
    if gone:
        return f"{', '.join(gone)} is missing"
    known, name = read_manifest(paths), file_text(manifest_path(paths).name)
    if known is None:
        return f"no {name} says what was written"
    altered = known.altered(paths)
    for kind, path in results_of(paths).items():
        if file_text(path.name) in altered and (found := _readable(path, kind)):
            _check_belongs(path, found, wanted)
    return f"{', '.join(altered)} is not what {name} says was written" if altered else known


def _readable(path: Path, kind: str) -> Identity | None:
    """What a file says of itself, if it can be read."""
    try:
        return read_identity(path, kind)
    except OutputError:
        return None


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
