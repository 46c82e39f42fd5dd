"""What the viewer's server answers, and to whom."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from serving import served

from bleep_cli import api
from bleep_cli.errors import ReferenceError, SlideError, UsageError
from bleep_cli.outputs.blocks import gene_values
from bleep_cli.plotting.style import colour_limits
from bleep_cli.slide.open import open_slide
from bleep_cli.viewer import pyramid, server
from bleep_cli.viewer.kept import Kept
from bleep_cli.viewer.view import view


def ask(
    address: str, name: str = "", *, method: str = "GET", path: str | None = None, **headers: str
) -> tuple[int, bytes, dict[str, str]]:
    """(status, content, headers) of what lies under a name behind the token, or at a path of one's own."""
    parts = urlsplit(address)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request(method, parts.path + name if path is None else path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), {key.lower(): value for key, value in answer.getheaders()}
    finally:
        connection.close()


def told(address: str, name: str) -> Any:
    status, content, _ = ask(address, name)
    assert status == 200, content
    return json.loads(content)


def test_the_page_and_all_that_it_asks_for_are_there_and_nothing_may_come_from_elsewhere(address: str) -> None:
    for name in server.FILES:
        status, content, headers = ask(address, name)
        assert (status, bool(content)) == (200, True)
        assert headers["content-security-policy"].startswith("default-src 'self'; img-src 'self' data: blob:;")
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", ["/", "", "/slide.json", "/wrong/", "/wrong/slide.json", "//", "/%00/", "/é/"])
def test_without_the_token_there_is_nothing(address: str, path: str) -> None:
    parts = urlsplit(address)
    raw = f"GET {path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), 30) as line:
        line.sendall(raw.encode())
        assert line.makefile("rb").readline().split()[1] == b"403"


def test_every_start_has_a_token_of_its_own_that_nobody_guesses(
    viewed: Path, query_slide: Path, openseadragon: bool
) -> None:
    tokens = set()
    for _ in range(3):
        with view(viewed, query_slide) as opened:
            tokens.add(urlsplit(opened.address).path.strip("/"))
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 22  # 128 bits and more


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}"]
)
def test_under_another_name_nothing_is_told_token_or_not(address: str, host: str) -> None:
    port = urlsplit(address).port
    assert ask(address, "slide.json", Host=host.format(port=port))[0] == 403
    assert ask(address, "slide.json", Host=f"localhost:{port}")[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"])
def test_it_can_only_be_read(address: str, method: str) -> None:
    status, _, headers = ask(address, "slide.json", method=method)
    assert (status, headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    "name",
    [
        "../slide.json", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "/etc/passwd", "assets/main.js", "main.js/",
        "openseadragon/LICENSE.txt", "gene/-1", "gene/9999", "gene/x", "gene/1e3", "gene/" + "9" * 400,
        "tile/9999", "receipt/0", "receipt/0/9999", "receipt/9999/0", "picture/9999",
        "piece/0/0_1.jpeg", "piece/99/0_0.jpeg",
        "piece/5/-1_0.jpeg", "piece/5/0_0.png", "label", "macro", "%00",
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found_wherever_it_points(address: str, name: str) -> None:
    assert ask(address, name)[0] == 404


def test_pieces_are_the_slide_as_its_reader_gives_it(address: str, query_slide: Path) -> None:
    head = told(address, "slide.json")
    with closing(open_slide(query_slide)) as slide:
        width, height = slide.size_l0
        assert (head["width"], head["height"], head["piecePx"]) == (width, height, 512)
        for level, shrink in ((head["lastLevel"], 1), (head["lastLevel"] - 1, 2)):
            wide, high = -(-width // shrink), -(-height // shrink)
            wanted = slide.read((0, 0), (wide * shrink, high * shrink), (wide, high))
            _, content, headers = ask(address, f"piece/{level}/0_0.jpeg")
            seen = np.asarray(Image.open(io.BytesIO(content)))
            assert headers["content-type"] == "image/jpeg"
            assert seen.shape == wanted.shape
            assert np.abs(seen.astype(int) - wanted).mean() < 3  # what a JPEG loses


def test_pieces_fit_together_without_a_seam(query_slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyramid, "PIECE_PX", 64)
    with closing(open_slide(query_slide)) as slide:
        deep = pyramid.Pyramid(slide)
        (width, height), level = slide.size_l0, deep.last_level
        rows = [
            np.concatenate([deep.pixels(level, x, y) for x in range(-(-width // 64))], axis=1)
            for y in range(-(-height // 64))
        ]
        wanted = slide.read((0, 0), (width, height), (width, height))
    np.testing.assert_array_equal(np.concatenate(rows), wanted)
    assert deep.size(0) == (1, 1)


def test_genes_are_those_of_the_result_with_what_their_colours_span(address: str, viewed: Path) -> None:
    found = api.open_result(viewed)
    head = told(address, "slide.json")
    assert sorted(gene["name"] for gene in head["genes"]) == sorted(found.symbols)
    for gene in (head["genes"][0], head["genes"][-1]):
        numbers = np.frombuffer(ask(address, f"gene/{gene['column']}")[1], "<f4")
        values = gene_values(found, gene["name"])
        np.testing.assert_array_equal(numbers[4:], values)
        np.testing.assert_allclose(numbers[:2], colour_limits(values), rtol=1e-6)
        measured = [found.var[name][gene["column"]] for name in ("reference_p01", "reference_p99")]
        np.testing.assert_array_equal(numbers[2:4], measured)
    places = np.frombuffer(ask(address, "places")[1], "<f4").reshape(2, -1)
    np.testing.assert_allclose(places.T, found.grid.centre_l0, rtol=1e-6)


def test_a_tile_says_which_genes_stand_out_from_the_slide(address: str, viewed: Path) -> None:
    found = api.open_result(viewed)
    every = np.concatenate([block for _, block in found])
    share = (every - every.mean(axis=0)) / every.std(axis=0)
    row = len(every) // 2
    tile = told(address, f"tile/{row}")
    assert tile["name"] == found.grid.tile_id[row]
    best = tile["top"][0]
    assert best["column"] == int(np.argmax(share[row]))
    assert best["deviations"] == pytest.approx(share[row].max(), rel=1e-4)
    assert best["value"] == pytest.approx(every[row, best["column"]])


def test_a_receipt_is_that_of_bleep_explain(address: str, viewed: Path, small_bundle: Path) -> None:
    found = api.open_result(viewed)
    (wanted,) = api.explain(viewed, small_bundle, str(found.grid.tile_id[3]), [str(found.symbols[2])])
    receipt = told(address, "receipt/3/2")
    assert receipt == json.loads(json.dumps(wanted.plain()))
    assert receipt["recomputed"] == pytest.approx(receipt["predicted"], abs=1e-6)


def test_a_spot_is_shown_as_its_section_has_it(address: str, small_bundle: Path, small_cohort: Path) -> None:
    bundle = api.open_bundle(small_bundle)
    for row in (0, bundle.n_spots - 1):
        section = next(s for s in api.read_cohort(small_cohort) if s.id == bundle.spots("section")[row])
        x, y = section.xy_l0[list(section.barcodes).index(bundle.spots("barcode")[row])]
        with closing(open_slide(section.image, section.mpp)) as slide:
            edge = bundle.info.tile.um[0] / slide.mpp
            wanted = slide.read((x - edge / 2, y - edge / 2), (edge, edge), (112, 112))
        kind, _, content = told(address, f"picture/{row}")["picture"].partition(",")
        assert kind == "data:image/jpeg;base64"
        seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))))
        assert np.abs(seen.astype(int) - wanted).mean() < 3


def test_what_is_not_at_hand_is_said(
    viewed: Path, query_slide: Path, small_bundle: Path, openseadragon: bool
) -> None:
    with served(viewed, query_slide) as opened:
        head = told(opened.address, "slide.json")
        assert (head["receipts"], head["pictures"]) == (False, False)
        assert ask(opened.address, "receipt/0/0")[0] == 404
        assert ask(opened.address, "picture/0")[0] == 404
    with pytest.raises(UsageError, match="name it by ref"):
        view(viewed, query_slide, cohort=query_slide).__enter__()


def test_sections_that_are_not_the_references_have_no_pictures(
    viewed: Path, query_slide: Path, small_bundle: Path, write_cohort: Any, tmp_path: Path, openseadragon: bool
) -> None:
    other = write_cohort(tmp_path, first_seed=40)
    text = other.read_text(encoding="utf-8").replace('id = "S4', 'id = "S')  # ids of the reference
    other.write_text(text, encoding="utf-8")
    with served(viewed, query_slide, small_bundle, cohort=other) as opened:
        assert "is another than the reference's" in told(opened.address, "picture/0")["why"]


def test_another_slide_another_bundle_and_a_taken_port_are_refused(
    viewed: Path, query_slide: Path, small_cohort: Path, corrected_bundle: Path, openseadragon: bool
) -> None:
    other = next(small_cohort.parent.rglob("*.tif*"))
    with pytest.raises(SlideError, match=r"is not the slide of this result: .*\("):
        view(viewed, other).__enter__()
    with pytest.raises(ReferenceError, match="is not what this result was predicted from"):
        view(viewed, query_slide, corrected_bundle).__enter__()
    with view(viewed, query_slide) as opened:
        port = urlsplit(opened.address).port
        with pytest.raises(UsageError, match=f"port {port} cannot be taken"):
            view(viewed, query_slide, port=port or 0).__enter__()


def test_only_this_machine_is_listened_to(address: str) -> None:
    assert urlsplit(address).hostname == "127.0.0.1"
    with socket.socket() as line, pytest.raises(OSError):
        line.connect((_own_address(), urlsplit(address).port))


def _own_address() -> str:
    """An address of this machine that others could reach; 127.0.0.2 where there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        try:
            line.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.2"
        return str(line.getsockname()[0])


def test_without_openseadragon_the_command_that_mends_it_is_named(
    viewed: Path, query_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.FILES, "openseadragon.min.js", ("bleep_cli.viewer", "openseadragon/gone.js", "x"))
    with pytest.raises(UsageError, match="make viewer"):
        view(viewed, query_slide).__enter__()


def test_what_is_kept_has_a_bound_and_the_least_used_goes_first() -> None:
    kept, made = Kept(10), []

    def make(name: str) -> bytes:
        made.append(name)
        return name.encode() * 4

    for name in "aba":
        kept.get(name, lambda name=name: make(name))
    kept.get("c", lambda: make("c"))  # b has to go
    assert kept.held_bytes == 8
    for name in "acb":
        kept.get(name, lambda name=name: make(name))
    assert made == ["a", "b", "c", "b"]
    assert kept.get("huge", lambda: b"x" * 11) == b"x" * 11
    assert kept.held_bytes <= 10
