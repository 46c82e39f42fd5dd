"""Limits stand in one file, are told on one page, and an error names the one that it is about."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from error_words import ROOT

from bleep_cli import limits
from bleep_cli.limits import over

NAMES = [name for name in vars(limits) if name.isupper()]


def test_the_page_lists_every_limit_as_it_is() -> None:
    made = subprocess.run(
        [sys.executable, ROOT / "tools" / "pages" / "limits.py"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    ).stdout
    page = (ROOT / "docs" / "limits.md").read_text(encoding="utf-8")
    assert page.endswith(f"\n\n{made}")
    assert re.findall(r"^\| `(\w+)` \|", made, re.MULTILINE) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_is_kept_somewhere(name: str) -> None:
    files = [path for path in (ROOT / "bleep_cli").rglob("*.py") if path.name != "limits.py"]
    assert any(re.search(rf"\b{name}\b", path.read_text(encoding="utf-8")) for path in files)


def test_an_error_names_the_limit_and_where_it_is_told() -> None:
    assert over("a mask of 9 px", "MOST_MASK_PIXELS") == (
        "a mask of 9 px is over the limit MOST_MASK_PIXELS, 100,000,000 (docs/limits.md)"
    )
    with pytest.raises(KeyError):
        over("it", "MOST_OF_NOTHING")
