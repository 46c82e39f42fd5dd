"""Work beside other work: its result, its error, and that nobody waits for it in vain."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from bleep_cli.base.beside import beside


def test_the_result_is_there_at_the_end() -> None:
    begun = threading.Event()

    def work(_stopped: Callable[[], bool]) -> int:
        begun.set()
        return 7

    with beside(work) as found:
        assert begun.wait(10)  # while the block runs
    assert found.done() and found.result() == 7


def test_an_error_is_raised_where_the_result_is_asked_for() -> None:
    def work(_stopped: Callable[[], bool]) -> int:
        raise KeyError("lost")

    with beside(work) as found:
        pass
    with pytest.raises(KeyError, match="lost"):
        found.result()


def test_it_is_told_to_stop_when_what_it_stands_beside_fails() -> None:
    seen = []

    def work(stopped: Callable[[], bool]) -> None:
        for _ in range(1000):
            if stopped():
                seen.append("stopped")
                return
            threading.Event().wait(0.01)

    with pytest.raises(ValueError, match="bad tile"), beside(work):
        raise ValueError("bad tile")
    assert seen == ["stopped"]
