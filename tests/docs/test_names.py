"""What texts name is there: files, modules, functions, links. A move that forgets a text is seen here."""

from __future__ import annotations

import pkgutil
import posixpath
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

import pytest
from project_text import (
    FOLDERS,
    PACKAGES,
    ROOT,
    TEXTS,
    code_files,
    docstrings_and_comments,
    module_file,
    names_in,
    planned,
    project_files,
    text_of,
)

FILE = re.compile(r"(?<![\w./-])[\w./-]*\w\.(?:py|md|toml)\b(?!\.\w)")
WRITTEN = {"cohort.toml", "config.toml", "table.md"}  # by people or by commands, no files of the project
DOTTED = re.compile(r"(?<![\w./-])(?:bleep_cli|bleep_train)(?:\.[A-Za-z]\w*)+")
IMPORTED = re.compile(r"from ((?:bleep_cli|bleep_train)[\w.]*) import ([\w, ]+)")
ROLE = re.compile(r":(func|class|data|meth|mod|attr):`~?([\w.]+)`")
PATH = re.compile(rf"(?<![\w./-])(?:{'|'.join(map(re.escape, FOLDERS))})/[\w./*-]*")
LINK = re.compile(r"\]\(([^)#\s]+)")


def names_a_file(word: str, here: str) -> bool:
    """Whether ``word``, in the file ``here``, is one file of the project: from its root, from a package, beside
    ``here``, or as the only path that ends so."""
    files = project_files()
    from_folders = ("", "train/", "bleep_cli/", "train/bleep_train/", f"{PurePosixPath(here).parent}/")
    if any(posixpath.normpath(folder + word) in files for folder in from_folders):
        return True
    return sum(file.endswith(f"/{word}") for file in files) == 1


def is_placeholder(word: str) -> bool:
    """``PATH.py`` stands for any file."""
    return PurePosixPath(word).stem.isupper()


def texts() -> Iterator[str]:
    """Every text of the project but this one, which is full of patterns."""
    for file in sorted(project_files()):
        if (file.endswith(TEXTS) or file == "Makefile") and not file.startswith("tests/docs/"):
            yield file


def prose(file: str) -> str:
    """What a person reads of a file: of a program its docstrings and comments."""
    return "\n".join(docstrings_and_comments(file)) if file.endswith(".py") else text_of(file)


@pytest.mark.slow
def test_docstrings_and_comments_name_files_that_exist() -> None:
    named = {(f, word) for f in texts() if f.endswith(".py") for word in FILE.findall(prose(f))}
    written = {word for _, word in named if word in WRITTEN}
    assert written == WRITTEN  # a name that no text needs any more has to go from the list
    named = {(f, word) for f, word in named if not (word in WRITTEN or is_placeholder(word))}
    assert not [f"{f}: {word}" for f, word in sorted(named) if not names_a_file(word, f)]


def test_pages_name_programs_that_exist() -> None:
    named = {(f, word) for f in texts() if not f.endswith(".py") for word in FILE.findall(text_of(f))}
    programs = {(f, word) for f, word in named if word.endswith(".py") and not is_placeholder(word)}
    assert len(programs) > 15
    assert not [f"{f}: {word}" for f, word in sorted(programs) if not names_a_file(word, f)]


@pytest.mark.slow
def test_paths_from_the_root_exist() -> None:
    """Everywhere but in pyproject.toml, which has paths inside the wheel, too."""
    to_come = {f"{PACKAGES[p].relative_to(ROOT).as_posix()}/{name}" for p in PACKAGES for name in planned(p)}
    named = {(f, word.rstrip("./")) for f in texts() if f != "pyproject.toml" for word in PATH.findall(prose(f))}
    named = {(f, path) for f, path in named if path.removesuffix(".py") not in to_come}
    assert len(named) > 50
    assert not [f"{f}: {path}" for f, path in sorted(named) if not any(ROOT.glob(path))]


def test_links_lead_to_files() -> None:
    links = {(f, target) for f in texts() if f.endswith(".md") for target in LINK.findall(text_of(f))}
    links = {(f, target) for f, target in links if "://" not in target}
    assert len(links) > 20
    assert not [f"{f}: {target}" for f, target in sorted(links) if not (ROOT / f).parent.joinpath(target).exists()]


def resolves(dotted: str) -> bool:
    """Whether a dotted name of ours is there: the runtime is asked, the training package only read."""
    package, *rest = dotted.split(".")
    if not rest or rest[0] in planned(package):
        return True
    if package == "bleep_cli":
        try:
            pkgutil.resolve_name(dotted)
        except (ImportError, AttributeError):
            return False
        return True
    for split in range(len(rest), 0, -1):
        file = module_file(".".join([package, *rest[:split]]))
        if file is not None:
            return split == len(rest) or ".".join(rest[split:]) in names_in(file)
    return ".".join(rest) in names_in("train/bleep_train/__init__.py")


def test_dotted_names_resolve_everywhere() -> None:
    named = {(file, name) for file in texts() for name in DOTTED.findall(text_of(file))}
    assert len(named) > 500
    assert not [f"{file}: {name}" for file, name in sorted(named) if not resolves(name)]


def test_imports_in_texts_and_in_strings_resolve() -> None:
    """Also those of programs that are pasted from a page, or started from a string."""
    imported = {(f, *found) for f in texts() for found in IMPORTED.findall(text_of(f))}
    named = {
        (f, f"{m}.{n}") for f, m, names in imported for n in re.findall(r"\w+", re.sub(r" as \w+", "", names))
    }
    assert len(named) > 500
    assert not [f"{f}: {name}" for f, name in sorted(named) if not resolves(name)]


@pytest.mark.parametrize("file", [f for f in code_files() if ROLE.search(text_of(f))])
def test_roles_in_docstrings_resolve(file: str) -> None:
    for kind, name in ROLE.findall(text_of(file)):
        if name.partition(".")[0] in PACKAGES:
            assert resolves(name), name
        elif kind == "meth" and "." not in name:
            assert [n for n in names_in(file) if n.endswith(f".{name}")], name
        else:
            assert name in names_in(file), name
