"""The report as a file: what it holds, that nothing in it breaks out, how large it is, that it loads nothing."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import zlib
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_slide import GENES, HOSTILE, SCALEF, make_slide
from PIL import Image

from bleep_cli.errors import OutputError, UsageError
from bleep_cli.report.pack import NO_VALUE, PICTURE_BYTES, STEPS, jpeg, quantised
from bleep_cli.report.page import page, write_report
from bleep_cli.report.payload import MOST_GENES, are_whole
from bleep_cli.types import Prediction

NOWHERE = ("src", "href", "action", "formaction", "poster", "srcset", "background")


class Elements(HTMLParser):
    """The elements of a page as a parser sees them, with the text inside."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str], list[str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}, []))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(("", {}, []))  # what follows is no longer inside

    def handle_data(self, data: str) -> None:
        if self.found:
            self.found[-1][2].append(data)

    def named(self, tag: str) -> list[tuple[dict[str, str], str]]:
        return [(attrs, "".join(text)) for name, attrs, text in self.found if name == tag]

    def by_id(self, name: str) -> str:
        (text,) = ["".join(text) for _, attrs, text in self.found if attrs.get("id") == name]
        return text


def held(prediction: Prediction, text: str) -> tuple[dict[str, Any], dict[str, np.ndarray], list[str]]:
    """What the page's JavaScript finds: the head, the arrays, the names of the tiles."""
    elements = Elements(text)
    head = json.loads(elements.by_id("head"))
    stream = zlib.decompress(base64.b64decode(elements.by_id("stream")))
    n, many = head["tiles"], len(head["genes"]) + len(head["layers"])
    arrays = {
        "x": np.frombuffer(stream, "<f4", n),
        "y": np.frombuffer(stream, "<f4", n, 4 * n),
        "piece": np.frombuffer(stream, "<u2", n, 8 * n),
        "codes": np.frombuffer(stream, np.uint8, many * n, 10 * n).reshape(many, n),
    }
    assert n == len(prediction.grid)
    return head, arrays, json.loads(stream[(10 + many) * n :])


def values_of(said: dict[str, Any], codes: np.ndarray) -> np.ndarray:
    return np.where(codes == NO_VALUE, np.nan, said["low"] + codes / STEPS * (said["high"] - said["low"]))


def test_every_value_is_there_within_half_a_step() -> None:
    prediction = make_slide()
    head, arrays, names = held(prediction, page(prediction))
    expression = np.concatenate([block for _, block in prediction])
    assert sorted(gene["name"] for gene in head["genes"]) == sorted(GENES)
    assert [gene["name"] for gene in head["genes"][:2]] == ["LEFT", "DOWN"]  # the most varying first
    for gene, codes in zip(head["genes"], arrays["codes"], strict=False):
        truth = expression[:, GENES.index(gene["name"])]
        step = (gene["high"] - gene["low"]) / STEPS
        np.testing.assert_allclose(values_of(gene, codes), truth, rtol=0, atol=0.5001 * step + 1e-6)
        assert gene["spread"] == pytest.approx(truth.std(dtype=np.float64))
        assert gene["measured"] == [0, 12]
        assert gene["id"] == prediction.gene_ids[GENES.index(gene["name"])]
    similarity, marked, ink = (
        values_of(*pair) for pair in zip(head["layers"], arrays["codes"][len(GENES) :], strict=True)
    )
    np.testing.assert_allclose(similarity, prediction.obs["similarity"], atol=0.002)
    assert np.isnan(similarity[7])
    np.testing.assert_array_equal(marked, prediction.obs["out_of_focus<b>"])
    assert [layer["yesNo"] for layer in head["layers"]] == [False, True, False]
    assert [layer["whole"] for layer in head["layers"]] == [False, False, False]
    assert [layer["worse"] for layer in head["layers"]] == ["low", "low", "high"]
    np.testing.assert_array_equal(ink, prediction.obs["under_ink"])
    centre = prediction.grid.centre_l0 * SCALEF
    np.testing.assert_allclose(np.stack([arrays["x"], arrays["y"]], axis=1), centre, atol=1e-3)
    assert names == list(prediction.grid.tile_id)
    assert [head["pieces"][piece] for piece in arrays["piece"]] == list(prediction.grid.region)
    assert (head["umPerPx"], head["edge"]) == (2.0, 25.0)


def test_counts_are_shown_without_decimals() -> None:
    """Eight bits give them only nearly: 4 donors of 1 to 5 read 3.99."""
    counts = np.array([1, 4, 5, np.nan], np.float32)
    assert are_whole(counts)
    assert not are_whole(counts + 0.5)
    assert not are_whole(np.array([0, 1], np.float32))  # a share
    assert not are_whole(np.array([True, False]))
    assert not are_whole(np.full(3, np.nan, np.float32))


def test_a_name_cannot_end_the_element_that_it_stands_in() -> None:
    """What a parser finds of elements is what the page has with harmless names."""
    hostile, harmless = page(make_slide()), page(make_slide(genes=tuple("ABCDEF"), slide_id="s", provenance={}))
    tags = [[tag for tag, _, _ in Elements(text).found] for text in (hostile, harmless)]
    for tag in ("script", "img", "style", "link", "meta", "iframe", "object", "svg", "b"):
        assert tags[0].count(tag) == tags[1].count(tag), tag
    assert "<script>window.broken" not in hostile
    assert not [name for _, attrs, _ in Elements(hostile).found for name in attrs if name.startswith("on")]
    assert f"slide {HOSTILE}" in Elements(hostile).named("h1")[0][1]
    assert f"{HOSTILE}.svs" in [text for _, text in Elements(hostile).named("dd")]


def test_the_page_asks_nobody_for_anything() -> None:
    text = page(make_slide())
    for tag, attrs, _ in Elements(text).found:
        for name in NOWHERE:
            assert attrs.get(name, "#").startswith(("#", "data:image/")), (tag, name)
    style = "".join(text for _, text in Elements(text).named("style"))
    assert not re.findall(r"url\((?!\"data:image/)|@import", style)
    assert "http-equiv" in text


def test_its_policy_allows_its_own_script_and_style_alone() -> None:
    text = page(make_slide())
    (policy,) = [a["content"] for a, _ in Elements(text).named("meta") if "http-equiv" in a]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    run = [body for attrs, body in Elements(text).named("script") if "type" not in attrs]
    styles = [body for _, body in Elements(text).named("style")]
    assert (len(run), len(styles)) == (1, 1)
    for rule, body in (("script-src", run[0]), ("style-src", styles[0])):
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert rules[rule] == f"'sha256-{digest}'"
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert not re.search(r"\sstyle=", text.split("<style>")[0] + text.split("</style>")[1].split("<script>")[0])


def test_what_is_known_stands_in_words() -> None:
    text = page(make_slide(slide_id="S1"))
    words = " ".join(re.sub(r"<[^>]+>", " ", text.split("<template")[0].split("</style>")[1]).split())
    for told in (
        "600 tiles, 50 µm apart",
        "all 6 genes",
        "Species and tissue Homo sapiens, breast",
        "Donors 2",
        "Measured spots 1,310",
        "Spots behind each tile (K) 7",
        "Value of a tile their mean",
        "Pixel size used 0.5 µm (given)",
        "Field of view 50 and 200 µm",
        "Outside the tissue 1",
        "Warning 1.0 µm per pixel",
        "Scan it anew.",
        "Research use only",
        "BLEEP prediction, not a measurement; research use only",
        "reference › content_sha256 cdcdcd",
        "a 300 0.75",
    ):
        assert told in words, told
    assert "Nothing was noticed" in page(make_slide(findings=()))
    lone = page(make_slide(provenance={"reference": {"donors": 1}}))
    assert "<dt>Donors</dt><dd>1: what holds for another is not known</dd>" in lone


def test_genes_that_are_asked_for() -> None:
    prediction = make_slide()
    head, _, _ = held(prediction, page(prediction, ["ERBB2", "ENSG00000000001", "DOWN"]))
    assert [gene["name"] for gene in head["genes"]] == ["DOWN", "ERBB2"]
    with pytest.raises(UsageError, match=r"^genes ERBB3: not among the 6 predicted genes; did you mean ERBB2\?$"):
        page(prediction, ["ERBB3"])


@pytest.mark.parametrize("provenance", [{}, {"reference": "gone", "options": None, "slide": {}}])
def test_a_result_that_says_little_of_itself_still_has_a_page(provenance: dict[str, Any]) -> None:
    text = page(make_slide(rows=1, columns=1, provenance=provenance, findings=(), var={}, obs={}))
    assert json.loads(Elements(text).by_id("head"))["genes"][0]["measured"] is None
    assert "reference unknown" in text


def test_values_are_quantised_to_their_range() -> None:
    values = np.array([1.0, np.nan, 3.0, np.inf, 2.0], np.float32)
    found = quantised(values)
    assert (found.low, found.high) == (1.0, 3.0)
    assert found.codes.tolist() == [0, NO_VALUE, STEPS, NO_VALUE, 127]
    assert quantised(np.full(3, 5.0, np.float32)).codes.tolist() == [0, 0, 0]
    assert quantised(np.full(3, np.nan, np.float32)).codes.tolist() == [NO_VALUE] * 3
    assert quantised(np.array([True, False])).codes.tolist() == [STEPS, 0]


def test_an_overview_that_hardly_compresses_becomes_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1900, 2000, 3), np.uint8)
    data = jpeg(noise)
    assert len(data) <= PICTURE_BYTES
    with Image.open(io.BytesIO(data)) as image:
        assert image.width / image.height == pytest.approx(2000 / 1900, rel=0.01)


def test_the_largest_page_stays_under_fifteen_megabytes() -> None:
    """200 genes of 20,000 tiles, all noise, which does not compress, on an overview of noise."""
    genes = tuple(f"G{i}" for i in range(250))
    noise = np.random.default_rng(0).integers(0, 256, (1400, 2000, 3), np.uint8)
    prediction = make_slide(rows=100, columns=200, genes=genes, hires=noise)
    text = page(prediction)
    print(f"200 genes × 20,000 tiles: {len(text) / 1e6:.1f} MB")
    assert len(text.encode()) < 15_000_000
    assert len(json.loads(Elements(text).by_id("head"))["genes"]) == MOST_GENES == 200
    assert "200 of 250 predicted genes" in text


def test_same_prediction_same_bytes_and_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    for name in ("a.html", "b.html"):
        write_report(make_slide(), tmp_path / name)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    with pytest.raises(OutputError, match=r"^a\.html exists already; force replaces it$"):
        write_report(make_slide(), tmp_path / "a.html")
    write_report(make_slide(slide_id="new"), tmp_path / "a.html", force=True)
    assert "<h1>new</h1>" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]
