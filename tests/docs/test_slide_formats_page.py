"""docs/slide-formats.md is what the table of samples gives."""

from __future__ import annotations

import subprocess
import sys

from project_text import ROOT, text_of


def test_the_page_is_printed_from_the_table() -> None:
    tool = [sys.executable, "tools/pages/slide_formats.py"]
    printed = subprocess.run(tool, cwd=ROOT, capture_output=True, check=True).stdout.decode("utf-8")
    assert text_of("docs/slide-formats.md") == printed  # else: make formats
