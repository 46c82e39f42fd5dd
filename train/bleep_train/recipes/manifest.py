"""Manifests of public data: what ``train/configs/references/`` holds, a TOML file each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from pathlib import Path, PurePosixPath
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

from bleep_cli.base.files.toml_file import read_toml
from bleep_cli.cohort.cohort_file import checked_entries
from bleep_cli.errors import ReferenceError, UsageError

NOT_MEASURED = "not measured"
FILE_KEYS = ("image", "h5ad", "counts", "positions", "genes")
"""Keys of a section that name one file; ``spaceranger`` names a folder of them."""

T = TypeVar("T")


@dataclass(frozen=True)
class DataFile:
    """A file that sections are read from, or an archive that holds some."""

    path: str
    """Its place below the folder, with ``/``."""
    url: str = ""
    """Where its maker keeps it, https; empty where it is in an archive, or has to be fetched by hand."""
    size: int = 0
    """Bytes at that address; 0 where they are not known."""
    sha256: str = ""
    """Of these bytes; empty where it is not known."""
    also: tuple[str, ...] = ()
    """Patterns of other places below the folder, as archives and copies of the data have them."""
    inside: str = ""
    """``path`` of the file that it is unpacked from: a tar archive, or itself compressed by gzip."""
    member: str = ""
    """Its name in the tar archive; empty for gzip."""

    @property
    def name(self) -> str:
        """Without its folders."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class BuildOptions:
    """How the reference is built."""

    views: Literal[1, 8] = 8
    """Flips and rotations averaged, 1 or 8."""
    pitch_um: float = 0.0
    """µm between neighbouring spots, which tell the pixel size of sections that state no ``mpp``; 0: not told."""


@dataclass(frozen=True)
class Manifest:
    """A public data set and how it becomes a reference."""

    title: str
    """The data in a line."""
    species: str
    """For the bundle's attributes."""
    tissue: str
    """Which, and of whom."""
    technology: str
    """How expression was measured."""
    licence: str
    """Terms of the data, as far as they are stated; for the bundle's attributes."""
    citation: str
    """For the bundle's attributes."""
    source: str
    """The data's home page, https."""
    accuracy: str
    """What was measured with this project, by which command, or "not measured"."""
    file: tuple[DataFile, ...]
    """All files."""
    section: tuple[dict[str, Any], ...]
    """Tables of a cohort file, with paths that ``file`` lists."""
    name: str = ""
    """What the command calls it."""
    manual: str = ""
    """What has to be done by hand, and whatever else a person should know first."""
    spots: int = 0
    """Of all sections; 0 where they were not counted."""
    build: BuildOptions = BuildOptions()
    """How the reference is built."""

    @property
    def ids(self) -> list[str]:
        """The sections' ids, in order."""
        return [entry["id"] for entry in self.section]

    def chosen(self, only: Sequence[str] | None) -> list[dict[str, Any]]:
        """The sections of these ids, all without; ``UsageError`` for an id that is none."""
        unknown = [i for i in only or () if i not in self.ids]
        if unknown:
            raise UsageError(f"{self.name} has no section {', '.join(unknown)}; it has {', '.join(self.ids)}")
        return [entry for entry in self.section if not only or entry["id"] in only]

    def by_path(self, path: str) -> DataFile:
        """The file of this path, which is there."""
        return next(file for file in self.file if file.path == path)

    def files_of(self, entry: Mapping[str, Any]) -> list[DataFile]:
        """What a section is read from, archives not among it."""
        named = {entry[key] for key in FILE_KEYS if key in entry}
        below = f"{entry['spaceranger']}/" if "spaceranger" in entry else None
        return [f for f in self.file if f.path in named or (below and f.path.startswith(below))]


def manifests() -> list[Manifest]:
    """All that are shipped, by name."""
    files = {file.stem: file for folder in _folders() for file in folder.glob("*.toml")}
    return [_read(files[name], name) for name in sorted(files)]


def load_manifest(name_or_path: str) -> Manifest:
    """A shipped manifest by name, or a file.

    Raises ``UsageError`` for a name that is none, ``ReferenceError`` for a manifest that is broken.
    """
    places = [folder / f"{name_or_path}.toml" for folder in _folders()]
    path = next((place for place in [*places, Path(name_or_path)] if place.is_file()), None)
    if path is None:
        names = ", ".join(manifest.name for manifest in manifests())
        raise UsageError(f"recipe {name_or_path}: neither a shipped one nor a file; shipped are {names}")
    return _read(path, path.stem)


def _folders() -> tuple[Path, Path]:
    """Where manifests lie: inside the installed package, or beside it in a source tree."""
    package = Path(__file__).parents[1]
    return package / "configs" / "references", package.parent / "configs" / "references"


def _read(path: Path, name: str) -> Manifest:
    try:
        table = read_toml(path)
    except (OSError, ValueError) as error:
        raise ReferenceError(f"{path.name}: not valid TOML ({error})") from error
    if "name" in table:
        raise ReferenceError(f"{path.name}: unknown key name; the file's own is taken")
    manifest = _fill(Manifest, {**table, "name": name}, path.name)
    checked_entries(list(manifest.section), path.name)
    _check_files(manifest, path.name)
    return manifest


def _check_files(manifest: Manifest, where: str) -> None:
    """Raises ``ReferenceError`` for files that do not go together with each other or with the sections."""
    paths = [file.path for file in manifest.file]
    wrong = {f"{path} is listed twice" for path in paths if paths.count(path) > 1}
    for file in manifest.file:
        wrong |= {f"{path} leads out of the folder" for path in (file.path, *file.also) if _leads_out(path)}
        if file.inside and (file.inside not in paths or file.url or file.size):
            wrong.add(f"{file.path} is inside {file.inside}, which is to be listed and holds address and size")
        if file.url and not is_https(file.url):
            wrong.add(f"{file.path}: {file.url} is no https address")
        if file.sha256 and (len(file.sha256) != 64 or set(file.sha256) - set("0123456789abcdef")):
            wrong.add(f"{file.path}: sha256 is 64 signs of 0-9 and a-f")
    if not is_https(manifest.source):
        wrong.add(f"source {manifest.source} is no https address")
    for entry in manifest.section:
        named = {entry[key] for key in FILE_KEYS if key in entry}
        absent = sorted(named - set(paths))
        if absent or ("spaceranger" in entry and len(manifest.files_of(entry)) == len(named)):
            wrong.add(f"section {entry['id']}: {', '.join(absent) or entry['spaceranger']} is not among the files")
    if wrong:
        raise ReferenceError(f"{where}: {'; '.join(sorted(wrong))}")


def _leads_out(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.is_absolute() or ".." in parts.parts or "\\" in path or ":" in path


def is_https(url: str) -> bool:
    """Whether an address is one of https, with a host."""
    parts = urlsplit(url)
    return parts.scheme == "https" and bool(parts.hostname)


def _fill(kind: type[T], table: Mapping[str, Any], where: str) -> T:
    """A table as a dataclass of plain values, of other dataclasses, and of tuples of both."""
    known = {entry.name: entry for entry in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ReferenceError(f"{where}: unknown key {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    absent = [name for name, entry in known.items() if entry.default is MISSING and not table.get(name)]
    if absent:
        raise ReferenceError(f"{where}: {', '.join(absent)} missing")
    hints = get_type_hints(kind)
    return kind(**{name: _checked(hints[name], value, f"{where}: {name}") for name, value in table.items()})


def _checked(hint: Any, value: Any, where: str) -> Any:
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ReferenceError(f"{where} is a list")
        return tuple(_checked(get_args(hint)[0], item, f"{where} {i}") for i, item in enumerate(value, 1))
    if hint in (DataFile, BuildOptions):
        if not isinstance(value, dict):
            raise ReferenceError(f"{where} is a table")
        return _fill(hint, value, where)
    if get_origin(hint) is Literal:
        if type(value) is not int or value not in get_args(hint):
            raise ReferenceError(f"{where} = {value!r}; choose one of {', '.join(map(str, get_args(hint)))}")
        return value
    wanted = get_origin(hint) or hint
    fits = type(value) in (int, float) and value >= 0 if wanted is float else type(value) is wanted
    if not fits or (wanted is int and value < 0):
        raise ReferenceError(f"{where} = {value!r}; a {wanted.__name__} is needed")
    return value
