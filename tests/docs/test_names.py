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

FILE = re.compile(r"(?<![\w./-])[\w./-]*\w\.(?:py|md|toml)\b")
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


def test_docstrings_and_comments_name_files_that_exist() -> None:
    wrong, written = [], set()
    for file in texts():
        for text in docstrings_and_comments(file) if file.endswith(".py") else ():
            for word in FILE.findall(text):
                if word in WRITTEN:
                    written.add(word)
                elif not (is_placeholder(word) or word.startswith("bleep_") or names_a_file(word, file)):
                    wrong.append(f"{file}: {word}")
    assert not wrong
    assert written == WRITTEN  # a name that no text needs any more has to go from the list


def test_pages_name_files_that_exist() -> None:
    wrong = []
    for file in texts():
        if file.endswith(".py"):
            continue
        for word in FILE.findall(text_of(file)):
            if word.endswith(".py") and not is_placeholder(word) and not names_a_file(word, file):
                wrong.append(f"{file}: {word}")
    assert not wrong


def test_paths_from_the_root_exist() -> None:
    """In pages and configurations, in docstrings and comments; pyproject.toml has paths inside the wheel, too."""
    wrong = []
    to_come = {f"{PACKAGES[p].relative_to(ROOT).as_posix()}/{name}" for p in PACKAGES for name in planned(p)}
    for file in texts():
        text = "\n".join(docstrings_and_comments(file)) if file.endswith(".py") else text_of(file)
        for word in PATH.findall(text) if file != "pyproject.toml" else ():
            path = word.rstrip("./")
            if not any(ROOT.glob(path)) and path.removesuffix(".py") not in to_come:
                wrong.append(f"{file}: {word}")
    assert not wrong


def test_links_lead_to_files() -> None:
    wrong = []
    for file in texts():
        if file.endswith(".md"):
            for target in LINK.findall(text_of(file)):
                if "://" not in target and not (ROOT / file).parent.joinpath(target).exists():
                    wrong.append(f"{file}: {target}")
    assert not wrong


def resolves(dotted: str) -> bool:
    """Whether a dotted name of ours is there: the runtime is asked, the training package only read."""
    package, *rest = dotted.split(".")
    if rest[0] in planned(package):
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
    wrong = []
    for file in texts():
        for module, names in IMPORTED.findall(text_of(file)):
            for name in re.findall(r"\w+", names.split(" as ")[0]):
                if not resolves(f"{module}.{name}"):
                    wrong.append(f"{file}: from {module} import {name}")
    assert not wrong


@pytest.mark.parametrize("file", [f for f in code_files() if ROLE.search(text_of(f))])
def test_roles_in_docstrings_resolve(file: str) -> None:
    for kind, name in ROLE.findall(text_of(file)):
        if name.startswith(("bleep_cli.", "bleep_train.")):
            assert resolves(name), name
        elif kind == "meth" and "." not in name:
            assert [n for n in names_in(file) if n.endswith(f".{name}")], name
        else:
            assert name in names_in(file), name
