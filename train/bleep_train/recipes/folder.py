"""A manifest's files in a folder: found, checked, unpacked, put where a section reader looks for them."""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bleep_cli.base.files.atomic import replacing
from bleep_cli.base.reasons import reason
from bleep_cli.errors import OutputError, ReferenceError, UsageError, option
from bleep_train.recipes.manifest import FILE_KEYS, DataFile, Manifest

RECORD = "SHA256SUMS"
BLOCK = 1 << 20  # bytes read at a time


@dataclass
class Checked:
    """What was found while files were checked."""

    accept: bool = False
    """Whether files of another size or hash than the manifest's are taken."""
    sha256: dict[str, str] = field(default_factory=dict)
    """Of every file that was read, by its path in the manifest."""
    notes: list[str] = field(default_factory=list)
    """Hashes that nobody had stated, and what was accepted all the same."""


def called(folder: Path) -> str:
    """A folder's name, for messages; of ``.`` as well."""
    return folder.resolve().name


def find(file: DataFile, folder: Path) -> Path | None:
    """Where a file lies: at its path, else the only match of its other places; None where it does not.

    Raises ``UsageError`` for several matches.
    """
    if (folder / file.path).is_file():
        return folder / file.path
    matches = sorted({place for pattern in file.also for place in folder.glob(pattern) if place.is_file()})
    if len(matches) > 1:
        names = ", ".join(place.relative_to(folder).as_posix() for place in matches[:3])
        raise UsageError(f"{file.path} may be {names}; put the right one at {file.path}")
    return matches[0] if matches else None


def missing(manifest: Manifest, entries: Sequence[Mapping[str, Any]], folder: Path) -> dict[str, list[DataFile]]:
    """By section id the files that neither lie in the folder nor in an archive there; archives in their stead."""
    if not folder.is_dir():
        raise UsageError(f"{called(folder)}: no such folder")
    absent: dict[str, list[DataFile]] = {}
    for entry in entries:
        for file in manifest.files_of(entry):
            source = manifest.by_path(file.inside) if file.inside else file
            if find(file, folder) is None and find(source, folder) is None:
                found = absent.setdefault(entry["id"], [])
                found += [source] if source not in found else []
    return absent


def require_all(manifest: Manifest, only: Sequence[str] | None, folder: Path) -> None:
    """Raises ``UsageError`` where sections lack files; it names the files, and which sections are whole."""
    absent = missing(manifest, manifest.chosen(only), folder)
    if not absent:
        return
    paths = [file.path for files in absent.values() for file in files]
    told = f"{', '.join(paths[:3])}{f' and {len(paths) - 3} more' if len(paths) > 3 else ''}"
    lacking = missing(manifest, manifest.section, folder)
    whole = [i for i in manifest.ids if i not in lacking]
    mend = f"take those that are whole with {option('only')} {','.join(whole)}" if whole else "no section is whole"
    raise UsageError(f"{called(folder)}: {', '.join(absent)} of {manifest.name} lack {told}; {mend}")


def in_place(manifest: Manifest, entry: Mapping[str, Any], folder: Path, checked: Checked) -> dict[str, Any]:
    """A section's table with absolute paths, its files checked, unpacked and put in place in the folder.

    Raises ``ReferenceError`` for a file of unexpected size or hash, or an archive that cannot be unpacked,
    ``OutputError`` where the folder cannot be written and something has to be put into it.
    """
    places: dict[str, Path] = {}
    for file in manifest.files_of(entry):
        target, place = folder / file.path, find(file, folder)
        if place is None:
            archive = manifest.by_path(file.inside)
            source = find(archive, folder)
            assert source is not None, "require_all was called"
            if archive.path not in checked.sha256:
                check(archive, source, folder, checked)
            _require_writable(folder, target)
            unpack(source, file.member, target)
            place = target
        else:
            check(file, place, folder, checked)
        if "spaceranger" in entry and file.path.startswith(f"{entry['spaceranger']}/") and place != target:
            _require_writable(folder, target)
            _link(place, target)
        places[file.path] = place.absolute()
    settled = {key: str(places[value]) if key in FILE_KEYS else value for key, value in entry.items()}
    if "spaceranger" in entry:
        settled["spaceranger"] = str((folder / entry["spaceranger"]).absolute())
    return settled


def check(file: DataFile, place: Path, folder: Path, checked: Checked) -> None:
    """Compares a file's size and hash with the manifest's, or with what was recorded in the folder.

    The hash is that of the bytes at the address: a copy that was gzipped since is unpacked for it. Raises
    ``ReferenceError`` for another one, unless it is accepted.
    """
    packed = place.suffix == ".gz" and not file.path.endswith(".gz")
    size, sha256 = _digest(place, packed)
    known = file.sha256 or recorded(folder).get(file.path, "")
    checked.sha256[file.path] = sha256
    if not known:
        checked.notes.append(f"{file.name}: hash not known, computed: {sha256}")
    wrong = []
    if file.size and size != file.size:
        wrong.append(f"{size:,} bytes where {file.size:,} are expected")
    if known and sha256 != known:
        wrong.append(f"sha256 {sha256[:12]}… where {known[:12]}… is expected")
    if not wrong:
        return
    if not checked.accept:
        raise ReferenceError(f"{file.name}: {', '.join(wrong)}; {option('accept_changed')} takes it all the same")
    checked.notes.append(f"{file.name} was accepted: {', '.join(wrong)}")


def _digest(place: Path, packed: bool) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    for block in _blocks(place, None if not packed else ""):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def unpack(archive: Path, member: str, target: Path) -> None:
    """Writes one file of a tar archive, or the contents of a gzip file, whole or not at all."""
    with replacing(target) as temp, temp.open("wb") as out:
        for block in _blocks(archive, member):
            out.write(block)


def _blocks(place: Path, member: str | None) -> Iterator[bytes]:
    """A file's bytes; ``member`` is what of it: None for itself, "" for what gzip packed, else a tar's member."""
    try:
        with ExitStack() as stack:
            stream: IO[bytes] | gzip.GzipFile | None
            if member is None:
                stream = stack.enter_context(place.open("rb"))
            elif not member:
                stream = stack.enter_context(gzip.open(place, "rb"))
            else:
                stream = stack.enter_context(tarfile.open(place)).extractfile(member)
            if stream is None:
                raise KeyError(f"{member} is no file")
            while block := stream.read(BLOCK):
                yield block
    except (OSError, EOFError, zlib.error, tarfile.TarError, KeyError) as error:
        raise ReferenceError(f"{place.name}: cannot be read ({reason(error)})") from error


def _require_writable(folder: Path, target: Path) -> None:
    parent = next(parent for parent in target.parents if parent.is_dir())
    if not os.access(parent, os.W_OK | os.X_OK):
        raise OutputError(
            f"{called(folder)} is write-protected, and {target.name} has to be unpacked or put in place there; "
            f"give a copy with {option('from')}"
        )


def _link(place: Path, target: Path) -> None:
    """The same file a second time, without its bytes where the file system can."""
    with replacing(target) as temp:
        try:
            os.link(place, temp)
        except OSError:
            shutil.copyfile(place, temp)


def recorded(folder: Path) -> dict[str, str]:
    """Hashes by path that earlier downloads left in the folder, as ``sha256sum`` writes them."""
    path = folder / RECORD
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {name: sha256 for sha256, _, name in (line.partition("  ") for line in lines)}


def record(folder: Path, sha256: Mapping[str, str]) -> None:
    """Adds hashes to those of the folder."""
    lines = [f"{digest}  {path}\n" for path, digest in sorted((recorded(folder) | dict(sha256)).items())]
    with replacing(folder / RECORD) as temp:
        temp.write_text("".join(lines), encoding="utf-8")
