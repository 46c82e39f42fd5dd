"""A real browser for the pages; where there is none, the tests that need it are skipped, and say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
from browser import CHROMIUM, Tab, browser


@pytest.fixture(scope="session")
def chromium() -> Iterator[Tab]:
    if not CHROMIUM:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with browser() as tab:
        yield tab
