"""The site: its sources, that mkdocs builds it without a warning, and that pages load nothing from elsewhere."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest
from project_text import ROOT, project_files, text_of

LOADING = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "pages"))
    return __import__("site_pages")


def builder() -> str:
    """A Python with mkdocs: that of ``make site``, or this one."""
    made = ROOT / ".venv" / "site" / "bin" / "python"
    if made.is_file():
        return str(made)
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed (make site)")
    return sys.executable


class Loaded(HTMLParser):
    """The addresses that a page loads by itself; links that a person follows are none of them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADING and given.get("rel") not in {"canonical", "next", "prev"}:
            self.addresses.append(given.get(LOADING[tag]) or "")


def test_every_page_is_on_the_site(site: ModuleType) -> None:
    staged = {path.relative_to(ROOT).as_posix() for path in site.sources()}
    pages = {f for f in project_files() if f.endswith(".md") and not f.startswith(".github/")}
    assert pages <= staged
    assert {"docs/report.png", "docs/tutorial.ipynb"} <= staged
    assert not [file for file in staged if file.endswith((".zip", ".tif", ".onnx"))]


def test_every_page_of_the_menu_is_there_once() -> None:
    menu = re.findall(r": ([\w./-]+\.md)$", text_of("docs/mkdocs.yml").split("\nnav:")[1], re.MULTILINE)
    assert len(menu) > 20
    assert len(set(menu)) == len(menu)
    assert set(menu) <= project_files()


@pytest.mark.slow
def test_it_is_built_without_a_warning_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [builder(), "tools/pages/site_pages.py", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = sorted(tmp_path.rglob("*.html"))
    assert len(pages) > 25
    loaded = {a for page in pages for a in Loaded(page.read_text(encoding="utf-8")).addresses}
    assert len(loaded) > 5
    assert not [address for address in loaded if re.match(r"(https?:)?//", address)]
    styles = "".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.css"))
    assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", styles)
    assert (tmp_path / "index.html").is_file()
    assert (tmp_path / "docs" / "tutorial.html").is_file()
