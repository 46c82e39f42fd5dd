"""Ctrl-C, and the signals that ask a process to end: over within a second, whatever the process is doing.

Python runs a signal's handler in the main thread, and only between two of its steps: not while that thread
computes in a library, nor while it waits at its end for threads that do. So a thread of its own is woken by the
signal, too. It lets the main thread clean up for a moment and ends the process if that takes longer.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

from bleep_cli.base.files.atomic import remove_unfinished
from bleep_cli.base.files.claims import end_claims
from bleep_cli.base.privacy import remove_temporary

INTERRUPTED = 130
GRACE_S = 0.4  # for the main thread to end by itself
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")  # the last is Windows' Ctrl-Break
SHOW_CURSOR = "\x1b[?25h"


class Interrupted(BaseException):
    """Ends the work of the main thread. No KeyboardInterrupt: of that Typer makes an exit code, without a word."""


class Interrupts:
    """Heeds the signals that ask to end, but for those that are ignored already, as ``nohup`` has it."""

    def __init__(self, say: Callable[[], None]) -> None:
        self._say, self._begun, self._said = say, threading.Lock(), threading.Event()
        named = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        self._heeded = [number for number in named if signal.getsignal(number) is not signal.SIG_IGN]
        self._woken, wake = os.pipe()
        if sys.platform != "win32":
            os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in self._heeded:
            signal.signal(number, self._unwind)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)  # else a child's SIGTERM would end its parent
        threading.Thread(target=self._watch, name="bleep-signals", daemon=True).start()

    def told(self) -> None:
        """Says what there is to say, once; where another thread is saying it, waits a moment until it is said."""
        if self._begun.acquire(blocking=False):
            self._say()
            self._said.set()
        else:
            self._said.wait(GRACE_S)

    def _unwind(self, _number: int, _frame: Any) -> None:
        for number in self._heeded:  # a second one is the watch's business: it must not break the cleaning up
            signal.signal(number, _leave)
        raise Interrupted

    def _watch(self) -> None:
        self._wait()
        late = threading.Timer(GRACE_S, self._end)
        late.daemon = True
        late.start()
        self._wait()
        self._end()

    def _wait(self) -> None:
        """Until a signal that is heeded; others that have a handler wake, too."""
        while os.read(self._woken, 1)[0] not in self._heeded:
            pass

    def _end(self) -> NoReturn:
        self.told()
        remove_unfinished()
        end_claims()
        remove_temporary()
        if sys.stderr.isatty():
            os.write(2, SHOW_CURSOR.encode())  # live bars hide it
        os._exit(INTERRUPTED)

    def _forget(self) -> None:
        signal.set_wakeup_fd(-1)
        for number in self._heeded:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def _leave(_number: int, _frame: Any) -> None:
    """The handler of a signal after the first; without one the watch would not be woken."""
