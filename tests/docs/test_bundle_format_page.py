"""The page of the bundle format is of the version that the code writes."""

from __future__ import annotations

import re
from pathlib import Path

from bleep_cli.bundle.contents import ENCODING_VERSION

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "bundle-format.md").read_text(encoding="utf-8")


def test_title_attribute_and_readme_state_it() -> None:
    assert PAGE.splitlines()[0] == f"# The reference bundle, version {ENCODING_VERSION}"
    assert f"| `encoding-version` | string | `{ENCODING_VERSION}`." in PAGE
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"docs/bundle-format.md): the reference bundle, version {ENCODING_VERSION}" in readme.replace("[", "")


def test_every_version_has_its_row_in_order() -> None:
    rows = re.findall(r"^\| 1\.(\d+) \|", PAGE, re.MULTILINE)
    assert rows == [str(i) for i in range(int(ENCODING_VERSION.partition(".")[2]) + 1)]
