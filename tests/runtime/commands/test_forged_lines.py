"""Nothing that a file is called makes a line of its own, moves the cursor or tells where the file lies."""

from __future__ import annotations

import pytest

from bleep_cli.commands.console import Console
from bleep_cli.errors import SlideError, UsageError, joined
from bleep_cli.findings import Finding

EVIL = "a\x1b[2J\nbleep: 1 slide: written\u202e.tif"
SHOWN = r"a\x1b[2J\nbleep: 1 slide: written\u202e.tif"


def test_a_name_stays_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.say(f"reading {EVIL}")
    console.error(SlideError(f"{EVIL}: is empty"))
    console.finding(Finding("slide-coarse", "is coarse", EVIL))
    console.each({}, f"{EVIL} → x")
    console.data({}, [EVIL, "second"])
    out, err = capsys.readouterr()
    said = [f"bleep: reading {SHOWN}", f"bleep: {SHOWN}: is empty", f"bleep: warning: {SHOWN}: is coarse"]
    assert err.splitlines() == said
    assert out.splitlines() == [f"{SHOWN} → x", SHOWN, "second"]


def test_lines_of_our_own_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    error = UsageError(joined([f"{EVIL}: no such file", "b.tif: no such file"]))
    Console().error(error)
    assert capsys.readouterr().err == f"bleep: {SHOWN}: no such file\n       b.tif: no such file\n"
    assert str(error) == f"{EVIL}: no such file\nb.tif: no such file"
