"""What was noticed travels with the thing, in one form, and can be made a refusal."""

from __future__ import annotations

import ast

import pytest
from error_words import ROOT, sources

from bleep_cli.commands.console import Console, option_words
from bleep_cli.errors import ReferenceError, SlideError, option
from bleep_cli.findings import CODES, Finding, finding_of, refuse_warnings, table_of_codes

NOTE = Finding("spots-empty", "3 spots without a single molecule were dropped", "S1", origin="cohort file")
WARNING = Finding("slide-coarse", "2 µm/px is coarse", "a.tif", f"give the right one with {option('mpp')}")


def test_a_finding_is_one_line_in_the_words_of_its_reader() -> None:
    assert str(WARNING) == "a.tif: 2 µm/px is coarse; give the right one with mpp"
    assert WARNING.worded(option_words) == "a.tif: 2 µm/px is coarse; give the right one with --mpp"
    assert str(NOTE) == "S1: 3 spots without a single molecule were dropped"


def test_a_finding_as_plain_values_comes_back_with_the_severity_of_its_code() -> None:
    assert WARNING.plain() == {
        "code": "slide-coarse",
        "severity": "warning",
        "where": "a.tif",
        "what": "2 µm/px is coarse",
        "mend": "give the right one with mpp",
    }
    again = finding_of(WARNING.plain())
    assert (again.code, again.severity, str(again)) == (WARNING.code, "warning", str(WARNING))


def test_a_code_of_a_later_version_is_read_as_it_was_saved() -> None:
    later = finding_of(NOTE.plain() | {"code": "of-a-later-version", "severity": "warning"})
    assert (later.code, later.severity, later.plain()["severity"]) == ("of-a-later-version", "warning", "warning")
    with pytest.raises(KeyError):
        finding_of(NOTE.plain() | {"severity": "loud"})


def test_the_document_lists_every_code() -> None:
    assert table_of_codes() in (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")


def test_strict_refuses_warnings_and_no_notes() -> None:
    refuse_warnings([NOTE], SlideError)
    with pytest.raises(SlideError) as caught:
        refuse_warnings([NOTE, WARNING], SlideError)
    assert caught.value.worded(option_words) == (
        "a.tif: 2 µm/px is coarse; give the right one with --mpp (refused, as --strict asks)"
    )
    with pytest.raises(ReferenceError):
        refuse_warnings([WARNING], ReferenceError)


def test_quiet_keeps_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet in (False, True):
        for finding in (NOTE, WARNING):
            Console(quiet=quiet).finding(finding)
    note, warning = (f"bleep: {f.severity}: {f.worded(option_words)}\n" for f in (NOTE, WARNING))
    assert capsys.readouterr().err == note + warning + warning


def test_every_code_is_used_and_every_finding_has_a_code() -> None:
    used = {
        str(call.args[0].value)
        for tree in sources("bleep_cli").values()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Finding"
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert used == set(CODES)
