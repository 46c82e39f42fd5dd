"""Who sees progress, and how: a callback, bars on a terminal, a line in a notebook's cell, nobody in a script."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from bleep_cli.base.progress import interactive, reporting


def test_a_script_sees_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert not interactive()
    for asked in (None, False):
        with reporting(asked, "slide") as report:
            report("tiles", 1, 2)
    assert capfd.readouterr() == ("", "")


def test_a_callback_is_told_as_it_is() -> None:
    told: list[tuple[str, int, int]] = []
    with reporting(lambda *step: told.append(step), "slide") as report:
        report("tiles", 1, 2)
    assert told == [("tiles", 1, 2)]


def test_who_asks_gets_bars_on_stderr(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich draws where it believes in a terminal
    with reporting(True, "slide") as report:
        report("tiles", 2, 2)
    seen = capfd.readouterr()
    assert seen.out == ""
    assert "slide · tiles" in seen.err
    assert "2/2" in seen.err


def test_a_prompt_gets_them_without_asking(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    with reporting(None, "slide") as report:
        report("tiles", 1, 2)
    assert "slide · tiles" in capfd.readouterr().err
    with reporting(False, "slide") as report:
        report("tiles", 1, 2)
    assert capfd.readouterr().err == ""


def test_a_notebook_gets_one_line_that_is_kept_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a kernel offers it: ``get_ipython().kernel``, and a display that can be updated."""
    cell: list[str] = []

    def display(text: dict[str, str], **_: Any) -> SimpleNamespace:
        cell.append(text["text/plain"])
        return SimpleNamespace(update=lambda newer, **_: cell.append(newer["text/plain"]))

    ipython, shown = ModuleType("IPython"), ModuleType("IPython.display")
    ipython.get_ipython = lambda: SimpleNamespace(kernel=object())  # type: ignore[attr-defined]
    shown.display = display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", shown)
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)
    with reporting(None, "slide") as report:
        for done in range(101):
            report("tiles", done, 100)
    assert cell[0] == ""
    assert cell[1] == "slide · tiles 0/100"
    assert cell[-1].startswith("slide · tiles 100/100")
    assert len(cell) < 100  # not at every step
