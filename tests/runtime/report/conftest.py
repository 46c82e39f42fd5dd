"""The page of a made-up slide, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Tab
from made_slide import make_slide

from bleep_cli.report.page import write_report


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
