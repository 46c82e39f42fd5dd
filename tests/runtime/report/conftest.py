"""A real browser for the pages; where there is none, the tests that need it are skipped, and say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_slide import make_slide

from bleep_cli.report.page import write_report

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))
from browser import CHROMIUM, Tab, browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Tab]:
    if not CHROMIUM:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with browser() as tab:
        yield tab


@pytest.fixture(scope="session")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_report(make_slide(), path)
    return path


@pytest.fixture
def tab(chromium: Tab, page_file: Path) -> Iterator[Tab]:
    """The page of the made-up slide, newly opened at 1280 × 800; nothing may be complained of until the end."""
    chromium.console.clear()
    chromium.requests.clear()
    chromium.size(1280, 800)
    chromium.go(page_file)
    yield chromium
    assert chromium.console == []
    assert not [address for address in chromium.requests if not address.startswith(("file:///", "data:", "blob:"))]
    assert chromium.run("window.broken === undefined")
