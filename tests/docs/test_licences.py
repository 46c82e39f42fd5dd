"""docs/third-party.md names everything that the project asks for, and its tool reads metadata rightly."""

from __future__ import annotations

import re
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution
from pathlib import Path
from types import ModuleType

import pytest
from packaging.utils import canonicalize_name
from project_text import ROOT, text_of

PAGE = text_of("docs/third-party.md")
ROW = re.compile(r"^\| (\w[\w.-]*) \| (.+) \| (\S+) \|$", re.MULTILINE)


@pytest.fixture
def licences(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "distribution"))
    import licences

    return licences


def made_up(folder: Path, name: str, *lines: str) -> Distribution:
    """An installed distribution with these lines of metadata."""
    info = folder / f"{name}-1.dist-info"
    info.mkdir(parents=True)
    text = "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1", *lines])
    (info / "METADATA").write_text(f"{text}\n\nLicense: a line of the description", encoding="utf-8")
    return PathDistribution(info)


def test_every_direct_dependency_stands_in_its_table(licences: ModuleType) -> None:
    below = PAGE.split(licences.BEGIN)[1]
    runtime, *extras = re.split(r"^## .*\n", below, flags=re.MULTILINE)[1:]
    names = [[canonicalize_name(row[0]) for row in ROW.findall(part)] for part in (runtime, *extras)]
    assert set(licences.direct()) <= set(names[0])
    assert dict(zip(licences.EXTRAS, names[1:], strict=True)) == {e: licences.direct(e) for e in licences.EXTRAS}


def test_every_row_has_a_licence_or_a_word_above_and_an_address(licences: ModuleType) -> None:
    above, below = PAGE.split(licences.BEGIN)
    rows = ROW.findall(below)
    assert len(rows) == below.count("\n| ") - 2 * below.count("## ")
    for name, licence, place in rows:
        assert licence != licences.UNKNOWN or name in above
        assert place.startswith("http")


def test_the_page_says_what_metadata_do_not() -> None:
    for said in ("LGPL-2.1", "shared library", "passes on", "ImageNet", "synthetic"):
        assert said in PAGE


def test_what_is_installed_here_can_be_read(licences: ModuleType) -> None:
    names = licences.closure(licences.direct())
    assert set(licences.direct()) < set(names)
    page = {canonicalize_name(name) for name, _, _ in ROW.findall(PAGE)}
    table = licences.table("Title", sorted(set(names) & page))
    assert table.startswith("## Title\n\n| package | licence |")
    assert len(ROW.findall(table)) == len(set(names) & page) > len(licences.direct())


def test_an_extra_may_include_another_of_ours(licences: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    stated = {"": ["A_a>=1"], "x": ["own[y]", "b<2"], "y": ["c[z]; python_version > '3'"]}
    monkeypatch.setattr(licences, "project", lambda: ("Own", stated))
    assert licences.direct() == ["a-a"]
    assert licences.direct("x") == ["b", "c"]


def test_the_closure_follows_extras_and_markers_and_ends(
    licences: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made_up(tmp_path, "first", "Requires-Dist: second[more]", "Requires-Dist: nowhere; python_version < '3'")
    made_up(tmp_path, "second", "Requires-Dist: first", "Requires-Dist: third; extra == 'more'")
    made_up(tmp_path, "third", "Requires-Dist: fourth; extra == 'other'")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert licences.closure(["first"]) == ["first", "second", "third"]
    assert licences.closure(["second"]) == ["first", "second", "third"]
    with pytest.raises(PackageNotFoundError):
        licences.closure(["fourth"])


@pytest.mark.parametrize(
    ("lines", "licence"),
    [
        (["License-Expression: MIT OR Zlib", "License: BSD"], "MIT OR Zlib"),
        (["License: Dual", "Classifier: License :: OSI :: A", "Classifier: License :: Other :: B"], "A, B"),
        (["License: BSD", "Classifier: License :: OSI Approved", "Classifier: Typing :: Typed"], "BSD"),
        (["License: BSD 3-Clause License", "        ", "        Copyright (c) somebody"], "BSD 3-Clause License"),
        (["License: UNKNOWN"], "not stated"),
        ([f"License: {'permission is hereby granted ' * 5}"], "not stated"),
        ([], "not stated"),
    ],
)  # fmt: skip
def test_licences_as_metadata_state_them(
    licences: ModuleType, tmp_path: Path, lines: list[str], licence: str
) -> None:
    assert licences.licence_of(made_up(tmp_path, "one", *lines)) == licence


@pytest.mark.parametrize(
    ("lines", "place"),
    [
        (["Home-page: http://h", "Project-URL: Homepage, http://p", "Project-URL: Source, http://s"], "http://s"),
        (["Home-page: http://h", "Project-URL: homepage, http://p"], "http://p"),
        (["Home-page: http://h", "Project-URL: Changelog, http://c"], "http://h"),
        (["Project-URL: Changelog, http://c"], "http://c"),
        ([], ""),
    ],
)
def test_places_as_metadata_state_them(licences: ModuleType, tmp_path: Path, lines: list[str], place: str) -> None:
    assert licences.place_of(made_up(tmp_path, "one", *lines)) == place


def test_the_page_is_written_below_its_line_only(
    licences: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    page = tmp_path / "page.md"
    monkeypatch.setattr(licences, "PAGE", page)
    monkeypatch.setattr(licences, "tables", lambda: "new\n")
    page.write_text(f"by hand\n\n{licences.BEGIN}\nold\n", encoding="utf-8")
    licences.main()
    assert page.read_text(encoding="utf-8") == f"by hand\n\n{licences.BEGIN}\nnew\n"
    page.write_text("by hand\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"line .* is missing"):
        licences.main()
    assert page.read_text(encoding="utf-8") == "by hand\n"


def test_a_package_that_is_not_installed_is_named(
    licences: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(licences, "PAGE", tmp_path / "page.md")
    licences.PAGE.write_text(licences.BEGIN, encoding="utf-8")
    monkeypatch.setattr(licences, "project", lambda: ("own", {"": ["no-such-package-here"]}))
    with pytest.raises(SystemExit, match="no-such-package-here"):
        licences.main()
