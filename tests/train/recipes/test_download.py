"""Downloads from a server on this machine: gone on with, checked, and whole before they have their name."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from recipe_files import manifest_of, sha256

from bleep_cli.errors import OutputError, ReferenceError, UsageError
from bleep_train.recipes.download import PART, STATE, NetworkError, download
from bleep_train.recipes.folder import RECORD, Checked, recorded
from bleep_train.recipes.manifest import DataFile, Manifest, is_https

CONTENT = bytes(range(256)) * 20_000  # some blocks


@dataclass
class Site:
    """What a server has, how it behaves, and what it was asked for."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By path, such as ``/a``."""
    cut_at: int = 0
    """Bytes of an answer after which the connection is closed; 0: it is not."""
    etag: str = '"1"'
    """Of every file; empty: none is told."""
    ranges: bool = True
    """Whether a part may be asked for."""
    redirect: str = ""
    """Where every request is sent on to."""
    asked: list[tuple[str, str]] = field(default_factory=list)
    """Path and range of every request."""
    port: int = 0

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def file(self, path: str = "/a", **more: str) -> DataFile:
        """A file of the site that its manifest knows all of."""
        content = self.files[path]
        return replace(DataFile(path[1:], self.url(path), len(content), sha256(content)), **more)  # type: ignore[arg-type]


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range", "")
            site.asked.append((self.path, wanted))
            if site.redirect:
                self.send_response(302)
                self.send_header("Location", site.redirect)
                self.end_headers()
                return
            content = site.files.get(self.path)
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-") or 0) if site.ranges else 0
            if self.headers.get("If-Range", site.etag) != site.etag:
                start = 0
            if wanted and start >= len(content):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            if site.etag:
                self.send_header("ETag", site.etag)
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: site.cut_at] if site.cut_at else body)

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site({"/a": CONTENT, "/b": b"small"})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def manifest(*files: DataFile) -> Manifest:
    """A section for every file, which is its image as well."""
    return manifest_of(
        *files, sections=[{"id": f.path, "donor": "d", "image": f.path, "h5ad": f.path} for f in files]
    )


def local(url: str) -> bool:
    """The seam of these tests: https, or this machine."""
    return is_https(url) or urlsplit(url).hostname == "127.0.0.1"


def fetch(folder: Path, *files: DataFile, accept: bool = False, only: list[str] | None = None) -> Checked:
    checked = Checked(accept)
    download(manifest(*files), folder, checked, only=only, allowed=local)
    return checked


def names(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


def test_files_come_whole_and_once(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    told: list[tuple[str, int, int]] = []
    files = site.file(), replace(site.file("/b"), path="below/b")
    got = download(manifest(*files), folder, Checked(), allowed=local, progress=lambda *step: told.append(step))
    assert got == ["a", "below/b"]
    assert (folder / "a").read_bytes() == CONTENT
    assert names(folder) == {"a", "below/b"}  # nothing to record: every hash was known
    assert told[-1] == ("b", 5, 5)
    assert ("a", len(CONTENT), len(CONTENT)) in told
    assert download(manifest(*files), folder, Checked(), allowed=local) == []
    assert site.asked == [("/a", ""), ("/b", "")]


def test_only_what_the_wanted_sections_lack(site: Site, tmp_path: Path) -> None:
    fetch(tmp_path, site.file(), site.file("/b"), only=["b"])
    assert names(tmp_path) == {"b"}


def test_a_broken_connection_is_told_and_gone_on_with(site: Site, tmp_path: Path) -> None:
    site.cut_at = 3_000_000
    with pytest.raises(
        NetworkError, match=r"^a: the connection broke off at 3,000,000 of 5,120,000 bytes"
    ) as error:
        fetch(tmp_path, site.file())
    assert error.value.exit_code == 7
    assert names(tmp_path) == {"a" + PART, "a" + STATE}
    site.cut_at = 0
    fetch(tmp_path, site.file())
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert names(tmp_path) == {"a"}
    assert site.asked == [("/a", ""), ("/a", "bytes=3000000-")]


def test_an_interrupted_download_is_gone_on_with(site: Site, tmp_path: Path) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(manifest(site.file()), tmp_path, Checked(), allowed=local, progress=stop)
    standing = (tmp_path / ("a" + PART)).stat().st_size
    assert 0 < standing < len(CONTENT)
    fetch(tmp_path, site.file())
    assert site.asked[1] == ("/a", f"bytes={standing}-")
    assert (tmp_path / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("change", ["another file", "no ranges", "no longer that long"])
def test_what_cannot_be_gone_on_with_begins_again(site: Site, tmp_path: Path, change: str) -> None:
    site.cut_at = 3_000_000
    unknown = DataFile("a", site.url("/a"))
    with pytest.raises(NetworkError):
        fetch(tmp_path, unknown)
    site.cut_at = 0
    if change == "another file":
        site.files["/a"], site.etag = CONTENT[::-1], '"2"'
    elif change == "no ranges":
        site.ranges = False
    else:
        site.files["/a"] = b"short"
    fetch(tmp_path, unknown)
    assert (tmp_path / "a").read_bytes() == site.files["/a"]


def test_a_server_that_tells_no_version_is_gone_on_with_only_for_a_known_hash(site: Site, tmp_path: Path) -> None:
    site.etag, site.cut_at = "", 3_000_000
    for file, asked in ((DataFile("a", site.url("/a")), ""), (site.file(), "bytes=3000000-")):
        with pytest.raises(NetworkError):
            fetch(tmp_path, file)
        site.asked.clear()
        site.cut_at = 0
        fetch(tmp_path, file)
        assert site.asked == [("/a", asked)]
        site.cut_at = 3_000_000
        (tmp_path / "a").unlink()
        (tmp_path / RECORD).unlink(missing_ok=True)


def test_a_part_of_another_address_is_not_gone_on_with(site: Site, tmp_path: Path) -> None:
    (tmp_path / ("a" + PART)).write_bytes(b"x" * 100)
    (tmp_path / ("a" + STATE)).write_text(json.dumps({"url": "https://example.org", "validator": '"1"'}))
    fetch(tmp_path, site.file())
    assert site.asked == [("/a", "")]


def test_unexpected_bytes_do_not_get_the_name(site: Site, tmp_path: Path) -> None:
    wrong = replace(site.file(), sha256=sha256(b"other"))
    with pytest.raises(ReferenceError, match=r"sha256 .* is expected"):
        fetch(tmp_path, wrong)
    assert names(tmp_path) == set()
    assert any("was accepted" in note for note in fetch(tmp_path, wrong, accept=True).notes)
    assert names(tmp_path) == {"a"}


def test_an_unknown_hash_is_recorded(site: Site, tmp_path: Path) -> None:
    notes = fetch(tmp_path, DataFile("a", site.url("/a"))).notes
    assert notes == [f"a: hash not known, computed: {sha256(CONTENT)}"]
    assert recorded(tmp_path) == {"a": sha256(CONTENT)}


def test_each_failure_is_one_line_that_names_file_and_host(site: Site, tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"^gone: 127.0.0.1 answers 404 Not Found$"):
        fetch(tmp_path, DataFile("gone", site.url("/gone")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(NetworkError, match=r"^a: 127.0.0.1 cannot be reached \(Connection refused\)$"):
        fetch(tmp_path, DataFile("a", f"http://127.0.0.1:{port}/a"))
    assert names(tmp_path) == set()


def test_only_https_is_asked_and_followed(site: Site, tmp_path: Path) -> None:
    for url in (site.url("/a"), "file:///etc/passwd", "ftp://example.org/a"):
        with pytest.raises(NetworkError, match="is not https"):
            download(manifest(DataFile("a", url)), tmp_path, Checked())
    assert site.asked == []
    for target in ("http://example.org/a", "ftp://example.org/a"):
        site.redirect = target
        with pytest.raises(NetworkError, match=f"127.0.0.1 leads on to {target}, which is not https"):
            fetch(tmp_path, site.file())
    assert names(tmp_path) == set()


def test_what_has_to_be_fetched_by_hand_is_told_before_anything_is_asked(site: Site, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"made-up: b cannot be downloaded; .* leave them out with only a"):
        fetch(tmp_path, site.file(), DataFile("b"))
    with pytest.raises(UsageError, match=r"says how to get them by hand$"):
        fetch(tmp_path, DataFile("b"))
    assert site.asked == []
    (tmp_path / "b").write_bytes(b"by hand")
    fetch(tmp_path, site.file(), DataFile("b"))
    assert names(tmp_path) == {"a", "b"}


def test_a_folder_that_is_a_file(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="file cannot be made"):
        fetch(tmp_path / "file", site.file())
