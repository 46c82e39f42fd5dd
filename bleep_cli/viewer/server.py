"""The server of the page: this machine alone, read-only, nobody without the token, no file named by a request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from hmac import compare_digest
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from secrets import token_urlsafe
from typing import Any
from urllib.parse import urlsplit

from bleep_cli.base.hidden import Hidden
from bleep_cli.errors import BleepError, UsageError, option
from bleep_cli.viewer.shown import Shown

HOST = "127.0.0.1"
IDLE_S = 60
HTML, SCRIPT, STYLE = (f"text/{kind}; charset=utf-8" for kind in ("html", "javascript", "css"))
JSON, NUMBERS, PICTURE = "application/json", "application/octet-stream", "image/jpeg"
FILES = {
    "": ("bleep_cli.viewer", "view.html", HTML),
    "view.css": ("bleep_cli.viewer", "view.css", STYLE),
    "page.css": ("bleep_cli.report", "page.css", STYLE),
    "openseadragon.min.js": ("bleep_cli.viewer", "openseadragon/openseadragon.min.js", SCRIPT),
    "colours.js": ("bleep_cli.report", "colours.js", SCRIPT),
    "picker.js": ("bleep_cli.report", "picker.js", SCRIPT),
    "tissue.js": ("bleep_cli.viewer", "tissue.js", SCRIPT),
    "receipt.js": ("bleep_cli.viewer", "receipt.js", SCRIPT),
    "main.js": ("bleep_cli.viewer", "main.js", SCRIPT),
}
"""Where the files of the page lie, by the name that it asks for."""
HEADERS = {
    # OpenSeadragon puts styles into the page; scripts come from files alone
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",  # a browser leaves no piece of the slide on the disk
}
Answer = tuple[str, bytes]
"""Kind of the content, and the content."""


class Server:
    """Listens from the beginning; answers while :meth:`serve` runs."""

    def __init__(self, shown: Shown, port: int = 0, hidden: Hidden | None = None) -> None:
        """``port`` 0 takes one that is free; ``hidden`` are names that no error tells. ``UsageError`` for a port
        that is not free."""
        for package, name, _ in FILES.values():
            _file(package, name)
        self._token = token_urlsafe(18)
        try:
            self._http = _Http((HOST, port), _handler(self._token, shown, hidden or Hidden({})))
        except (OSError, OverflowError) as error:
            raise UsageError(f"{option('port')} {port} cannot be taken ({error})") from error

    @property
    def address(self) -> str:
        """Where the page is, with the token."""
        return f"http://{HOST}:{self._http.server_port}/{self._token}/"

    def serve(self) -> None:
        """Answers until the thread is interrupted, or :meth:`stop` is called by another."""
        self._http.serve_forever(poll_interval=0.2)

    def stop(self) -> None:
        """Ends :meth:`serve`."""
        self._http.shutdown()

    def close(self) -> None:
        """Listens no more."""
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True  # an open connection keeps no process alive
    allow_reuse_address = False  # on Windows another program could listen, too

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that went away is no news."""


def _file(package: str, name: str) -> bytes:
    found = files(package) / "assets" / name
    try:
        return found.read_bytes()
    except OSError as error:
        raise UsageError(
            "this installation lacks OpenSeadragon, as it was made without a network: make viewer in the checkout "
            "puts it there, or install a wheel that was built with one (docs/view.md)"
            if name.startswith("openseadragon/")
            else f"this installation lacks {name}; install it again"
        ) from error


def _routes(shown: Shown) -> dict[str, Callable[..., Answer]]:
    """What is computed, by the pattern of its name; whole numbers in it are handed on."""

    def told(make: Callable[..., Any]) -> Callable[..., Answer]:
        return lambda *numbers: (JSON, json.dumps(make(*numbers), allow_nan=False).encode())

    return {
        r"slide\.json": told(shown.head),
        r"places": lambda: (NUMBERS, shown.places()),
        r"gene/(\d{1,9})": lambda column: (NUMBERS, shown.gene(column)),
        r"tile/(\d{1,9})": told(shown.tile),
        r"receipt/(\d{1,9})/(\d{1,9})": told(shown.receipt),
        r"picture/(\d{1,9})": told(shown.picture),
        r"piece/(\d{1,9})/(\d{1,9})_(\d{1,9})\.jpeg": lambda level, x, y: (
            PICTURE,
            shown.pyramid.jpeg(level, x, y),
        ),
    }


def _handler(token: str, shown: Shown, hidden: Hidden) -> type[BaseHTTPRequestHandler]:
    routes = {re.compile(pattern, re.ASCII): answer for pattern, answer in _routes(shown).items()}

    def answer(name: str) -> Answer:
        """``LookupError`` for a name that nothing has."""
        if name in FILES:
            package, file, kind = FILES[name]
            return kind, _file(package, file)
        for pattern, make in routes.items():
            found = pattern.fullmatch(name)
            if found:
                return make(*(int(number) for number in found.groups()))
        raise LookupError(name)

    class Handler(BaseHTTPRequestHandler):
        protocol_version, timeout = "HTTP/1.1", IDLE_S
        server_version, sys_version = "bleep", ""

        def do_GET(self) -> None:
            _, port = self.connection.getsockname()
            if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
                return self._say(HTTPStatus.FORBIDDEN, "asked for under another name")  # DNS rebinding
            given, slash, name = urlsplit(self.path).path[1:].partition("/")
            if not (slash and compare_digest(given.encode("latin-1", "replace"), token.encode())):
                return self._say(HTTPStatus.FORBIDDEN, "the address lacks the token that bleep view printed")
            try:
                return self._send(HTTPStatus.OK, *answer(name))
            except LookupError:
                return self._say(HTTPStatus.NOT_FOUND, "there is no such thing")
            except BleepError as error:
                return self._say(HTTPStatus.INTERNAL_SERVER_ERROR, hidden.text(str(error)))

        def _refuse(self) -> None:
            self.close_connection = True  # what else came with the request is not read
            self._say(HTTPStatus.METHOD_NOT_ALLOWED, "only read here")

        do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_TRACE = do_CONNECT = _refuse

        def _say(self, status: HTTPStatus, words: str) -> None:
            self._send(status, "text/plain; charset=utf-8", words.encode())

        def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
            self.send_response(status)
            allow = {"Allow": "GET"} if status == HTTPStatus.METHOD_NOT_ALLOWED else {}
            for header, value in {
                "Content-Type": kind,
                "Content-Length": len(content),
                **HEADERS,
                **allow,
            }.items():
                self.send_header(header, str(value))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing is told of what was looked at."""

    return Handler
