"""Downloads of public data: https only, gone on with where they broke off, checked before they get their name."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, Request, build_opener

from bleep_cli.base.files.json_file import write_json
from bleep_cli.base.reasons import first_line, reason
from bleep_cli.errors import BleepError, OutputError, UsageError, option
from bleep_cli.types import Progress, no_progress
from bleep_train.recipes.folder import BLOCK, Checked, called, check, missing, record
from bleep_train.recipes.manifest import DataFile, Manifest, is_https

TIMEOUT_S = 60.0
PART, STATE = ".part", ".part.json"

Allowed = Callable[[str], bool]
"""Whether an address may be asked; https ones, but in tests."""


class NetworkError(BleepError):
    """A file that cannot be fetched from where it is published."""

    exit_code = 7


def download(
    manifest: Manifest,
    folder: Path,
    checked: Checked,
    *,
    only: Sequence[str] | None = None,
    allowed: Allowed = is_https,
    progress: Progress = no_progress,
) -> list[str]:
    """Fetches what sections lack in ``folder``; the paths that were fetched, in order.

    A file appears under its name when it is whole and its size and hash are the manifest's; until then it is
    ``NAME.part``, which the next call goes on with. Hashes that the manifest does not know are recorded in the
    folder. Raises ``NetworkError``, ``ReferenceError`` for unexpected bytes, ``OutputError``, and ``UsageError``
    for files that have no address, before anything is asked for.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{called(folder)} cannot be made ({reason(error)}); choose another {option('to')}"
        ) from error
    absent = missing(manifest, manifest.chosen(only), folder)
    wanted = list(dict.fromkeys(file for files in absent.values() for file in files))
    by_hand = [file.path for file in wanted if not file.url]
    if by_hand:
        lacking = {i for i, files in absent.items() if any(not file.url for file in files)}
        rest = [entry["id"] for entry in manifest.chosen(only) if entry["id"] not in lacking]
        mend = f", or leave them out with {option('only')} {','.join(rest)}" if rest else ""
        raise UsageError(
            f"{manifest.name}: {', '.join(by_hand[:3])}{' ...' if len(by_hand) > 3 else ''} cannot be downloaded; "
            f"bleep-train recipe {manifest.name} says how to get them by hand{mend}"
        )
    opener = build_opener(_Redirects(allowed))
    for file in wanted:
        target = folder / file.path
        part = target.with_name(target.name + PART)
        _fetch(opener, file, part, allowed, progress)
        try:
            check(file, part, folder, checked)
        except BleepError:
            _forget(part)
            raise
        if not file.sha256:
            record(folder, {file.path: checked.sha256[file.path]})
        part.replace(target)
        _forget(part)
    return [file.path for file in wanted]


class _Redirects(HTTPRedirectHandler):
    """Follows no redirect to an address that could not have been asked in the first place."""

    def __init__(self, allowed: Allowed) -> None:
        self.allowed = allowed

    def redirect_request(self, req: Request, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not self.allowed(newurl):
            raise NetworkError(f"{urlsplit(req.full_url).hostname} leads on to {newurl[:60]}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(opener: OpenerDirector, file: DataFile, part: Path, allowed: Allowed, progress: Progress) -> None:
    """Brings ``part`` to its end, from where it stands if the server still has the same file."""
    if not allowed(file.url):
        raise NetworkError(f"{file.path}: {file.url} is not https")
    done, validator = _standing(part, file)
    response = _ask(opener, file, done, validator)
    if response is None:  # nothing there from this byte on: begin again
        done, response = 0, _ask(opener, file, 0, "")
    assert response is not None, "a request without a range has no range that could not be answered"
    with response:
        done = done if response.status == HTTPStatus.PARTIAL_CONTENT else 0
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else 0
        part.parent.mkdir(parents=True, exist_ok=True)
        validator = response.headers.get("ETag") or response.headers.get("Last-Modified") or ""
        write_json(part.with_name(_state_name(part)), {"url": file.url, "validator": validator})
        try:
            with part.open("ab" if done else "wb") as out:
                for block in _blocks(response, file, done, total):
                    out.write(block)
                    done += len(block)
                    progress(part.name.removesuffix(PART), done, total or file.size or done)
        except OSError as error:
            raise OutputError(
                f"{part.name} cannot be written ({reason(error)}); the same command goes on"
            ) from error


def _standing(part: Path, file: DataFile) -> tuple[int, str]:
    """How many bytes of a part can be gone on with, and how the server tells whether its file is still the same.

    A server that tells nothing is trusted only where the whole is checked by a known hash.
    """
    with suppress(OSError, ValueError, KeyError, TypeError):
        state = json.loads(part.with_name(_state_name(part)).read_text(encoding="utf-8"))
        if state["url"] == file.url and (state["validator"] or file.sha256):
            return part.stat().st_size, str(state["validator"])
    return 0, ""


def _state_name(part: Path) -> str:
    return part.name.removesuffix(PART) + STATE


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(_state_name(part)).unlink(missing_ok=True)


def _ask(opener: OpenerDirector, file: DataFile, done: int, validator: str) -> HTTPResponse | None:
    """The answer to a request for the bytes from ``done`` on; None where the file has none there."""
    headers = {"User-Agent": "bleep-train", "Accept-Encoding": "identity"}
    if done:
        headers |= {"Range": f"bytes={done}-"} | ({"If-Range": validator} if validator else {})
    host = urlsplit(file.url).hostname
    try:
        response: HTTPResponse = opener.open(Request(file.url, headers=headers), timeout=TIMEOUT_S)
    except HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and done:
            return None
        raise NetworkError(f"{file.name}: {host} answers {error.code} {error.reason}") from error
    except (URLError, OSError, HTTPException) as error:
        why = error.reason if isinstance(error, URLError) else error
        told = reason(why) if isinstance(why, BaseException) else first_line(error)
        raise NetworkError(f"{file.name}: {host} cannot be reached ({told})") from error
    begin = f"bytes {done}-"
    if response.status == HTTPStatus.PARTIAL_CONTENT and not response.headers["Content-Range"].startswith(begin):
        response.close()
        raise NetworkError(f"{file.name}: {host} answers with other bytes than those asked for")
    return response


def _blocks(response: HTTPResponse, file: DataFile, done: int, total: int) -> Iterator[bytes]:
    """The bytes of an answer; ``NetworkError`` where it breaks off."""
    why = "too few bytes came"
    try:
        while block := response.read(BLOCK):
            done += len(block)
            yield block
    except (OSError, HTTPException) as error:
        why, total = reason(error), total or done + 1
    if done < total:
        told = f"the connection broke off at {done:,} of {total:,} bytes ({why})"
        raise NetworkError(f"{file.name}: {told}; the same command goes on")
