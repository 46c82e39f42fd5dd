"""A headless Chromium, driven over its DevTools pipe: no driver program, no network port, nothing to install.

The tests of the report look at pages with it, and ``tools/looking/screenshot.py`` makes the pictures of docs/.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe"),
)
PATIENCE_S = 60.0


class PageError(Exception):
    """What the browser says went wrong."""


class Tab:
    """One page in the browser. Sizes in CSS pixels."""

    def __init__(self, into: int, out: int) -> None:
        self._into, self._out = into, out
        self._rest, self._number, self._session = b"", 0, ""
        self.console: list[str] = []
        """Errors and warnings of the console, and exceptions that nobody caught."""
        self.requests: list[str] = []
        """Addresses of everything that was asked for, the page itself first."""
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the DevTools protocol; its result. ``PageError`` if the browser refuses it."""
        self._number += 1
        number = self._number
        command = {"id": number, "method": method, "params": params}
        if self._session:
            command["sessionId"] = self._session
        os.write(self._into, json.dumps(command).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE_S
        while True:
            message = self._receive(deadline)
            if message.get("id") != number:
                self._note(message)
            elif "error" in message:
                raise PageError(f"{method}: {message['error']['message']}")
            else:
                return dict(message["result"])

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._out], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise PageError("the browser does not answer")
            got = os.read(self._out, 1 << 20)
            if not got:
                raise PageError("the browser has ended")
            self._rest += got
        line, self._rest = self._rest.split(b"\0", 1)
        return dict(json.loads(line))

    def _note(self, message: dict[str, Any]) -> None:
        """Keeps what happened meanwhile."""
        params = message.get("params", {})
        match message.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(str(params["request"]["url"])[:200])
            case "Runtime.exceptionThrown":
                self.console.append(_told(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.console.append(json.dumps(params["args"])[:500])
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.console.append(str(params["entry"]["text"]))

    def run(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise. ``PageError`` for what it throws."""
        told = self.send("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise PageError(_told(told["exceptionDetails"]))
        return told["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Waits until an expression is true; its value."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := self.run(condition)):
            if time.monotonic() > deadline:
                raise PageError(f"never came true: {condition}")
            time.sleep(0.02)
        return value

    def size(self, width: int, height: int, *, ratio: float = 1.0, touch: bool = False) -> None:
        """The window, ``ratio`` pixels of a screenshot for each of its own."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=ratio,
            mobile=touch,
        )

    def go(self, page: Path, *, drawn: bool = True) -> None:
        """Opens a file, and waits until it has loaded and, if ``drawn``, has drawn itself (``data-ready`` of its
        root)."""
        self.visit(page.resolve().as_uri(), drawn=drawn)

    def visit(self, address: str, *, drawn: bool = True) -> None:
        """Opens what is at an address, and waits as :meth:`go` does."""
        self.run("document.documentElement.removeAttribute('data-ready'); window.left = 1")  # of what is shown now
        self.send("Page.navigate", url=address)
        ready = "document.documentElement.dataset.ready" if drawn else "!window.left"
        self.wait(f"document.readyState === 'complete' && {ready}")

    def settle(self) -> None:
        """Waits for what is due to be drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(1))))")

    def key(self, name: str, *, text: str = "", shift: bool = False) -> None:
        """Presses a key by its name in the DOM, such as ``ArrowDown``; ``text`` where it types something."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
        code = codes.get(name, 40 if name == "ArrowDown" else 0)
        held = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.send("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **held)
        self.send("Input.dispatchKeyEvent", type="keyUp", **held)

    def type(self, text: str) -> None:
        """Types a text where the focus is."""
        self.send("Input.insertText", text=text)

    def mouse(self, what: str, x: float, y: float, **more: Any) -> None:
        """A mouse event (``mouseMoved``, ``mousePressed``, ``mouseReleased``, ``mouseWheel``) at a place."""
        self.send("Input.dispatchMouseEvent", type=what, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        """A click of the left button."""
        self.mouse("mouseMoved", x, y)
        for what in ("mousePressed", "mouseReleased"):
            self.mouse(what, x, y, button="left", clickCount=1)

    def middle(self, selector: str) -> tuple[float, float]:
        """Middle of an element, scrolled into view."""
        x, y = self.run(
            f"(e => {{ e.scrollIntoView({{block: 'nearest'}}); const b = e.getBoundingClientRect(); "
            f"return [b.x + b.width / 2, b.y + b.height / 2]; }})(document.querySelector({json.dumps(selector)}))"
        )
        return float(x), float(y)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """A PNG of the window, or of the whole page."""
        told = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(told["data"])

    def pdf(self) -> bytes:
        """What printing the page gives."""
        told = self.send("Page.printToPDF", printBackground=False, paperWidth=8.27, paperHeight=11.69)
        return base64.b64decode(told["data"])


def _told(thrown: dict[str, Any]) -> str:
    """What was thrown, in words."""
    return str(thrown.get("exception", {}).get("description") or thrown["text"])


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors are none of those that the browser is to find it at."""
    ends = os.pipe()
    moved = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return moved[0], moved[1]


@contextmanager
def browser() -> Iterator[Tab]:
    """A new browser with one tab and a profile of its own, both gone at the end."""
    assert CHROMIUM, "chromium is not installed"
    (down, into), (out, up) = _pipe(), _pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        # The browser reads commands from descriptor 3 and answers on 4.
        line = ["bash", "-c", f'exec "$@" 3<&{down} 4>&{up} {down}<&- {up}>&-', "bash", *words]
        process = subprocess.Popen(
            line,
            pass_fds=(down, up),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(down)
        os.close(up)
        try:
            yield Tab(into, out)
        finally:
            os.close(into)
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(out)
