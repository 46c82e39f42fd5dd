"""The page of compared groups in a real browser: for everybody, and asking nothing of anybody."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Tab
from chromium import contrast, focusable
from made_results import DOUBTFUL, write_halves, write_result

from bleep_cli.api import compare_groups

HOSTILE = "</td><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
NAMES = ("a", "bb", "ccc", "dddd", "eeeee", "ffffff", "ggggggg", "hhhhhhhh")
SHOWN = (
    "[...document.querySelectorAll('section.card')].map(s => [s.querySelector('h2').textContent, "
    "s.querySelectorAll('tbody tr').length, s.querySelectorAll('svg').length])"
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients in two groups, two regions each, a set of genes; a group's name would break out of a page."""
    folder = tmp_path_factory.mktemp("groups")
    ups = [1.0, 1.1, 1.3, 0.9, 2.0, 2.2, 2.4, 1.9]
    results = [write_result(folder, name, up, findings=[DOUBTFUL]) for name, up in zip(NAMES, ups, strict=True)]
    rows = [
        f"{name};{name.upper()};{HOSTILE if up > 1.5 else 'control'}" for name, up in zip(NAMES, ups, strict=True)
    ]
    (folder / "groups.csv").write_text("\n".join(["slide;patient;group", *rows]))
    (folder / "x.gmt").write_text("PAIR\t\tUP\tLEFT\tNOISE\n")
    outlines = [write_halves(folder, name) for name in NAMES]
    return compare_groups(
        results, folder / "groups.csv", folder / "out", regions=outlines, sets=folder / "x.gmt"
    ).files[0]


@pytest.fixture
def tab(chromium: Tab, page: Path) -> Iterator[Tab]:
    """The page, newly opened; nothing may be complained of until the end, or asked of another."""
    chromium.console.clear()
    chromium.requests.clear()
    chromium.size(1280, 800)
    chromium.go(page, drawn=False)
    yield chromium
    assert chromium.console == []
    assert chromium.requests == [page.resolve().as_uri()]
    assert chromium.run("window.broken === undefined")
    chromium.send("Page.navigate", url="about:blank")


def test_every_comparison_is_shown_with_its_patients(tab: Tab) -> None:
    sections = tab.run(SHOWN)
    assert [name for name, _, _ in sections] == [
        f"control against {HOSTILE} in all tissue",
        f"control against {HOSTILE} in Tumor",
        f"control against {HOSTILE} in Stroma",
        "Stroma against Tumor",
        *("What was noticed", "Slides and regions", "How it was compared"),
    ]
    assert [rows for _, rows, _ in sections] == [
        5,
        5,
        5,
        5,
        0,
        24,
        0,
    ]  # four genes and a set; three regions of eight
    assert [pictures for _, _, pictures in sections] == [5, 5, 5, 5, 0, 0, 0]
    boxes = tab.run(
        "[...document.querySelectorAll('section svg')].slice(0, 5).map(s => [s.querySelectorAll('circle').length, "
        "[...s.querySelectorAll('circle')].every(c => { const a = c.getBoundingClientRect(), "
        "b = s.getBoundingClientRect(); return a.left >= b.left - 1 && a.right <= b.right + 1; })])"
    )
    assert boxes == [[8, True]] * 5


def test_texts_stand_out_and_whatever_the_keyboard_reaches_has_a_name(tab: Tab) -> None:
    seen, poor = contrast(tab)
    assert seen > 200
    assert poor == []
    tables = tab.run("document.querySelectorAll('.scroll').length")
    names = focusable(tab)
    assert len(names) == tables == 9
    assert all(names), names
    assert len(set(names)) == len(names)
    images = [
        node["name"]["value"]
        for node in tab.send("Accessibility.getFullAXTree")["nodes"]
        if node.get("role", {}).get("value") in ("image", "img")
    ]
    assert len(images) == 20
    assert all(name.startswith("from ") and "; above " in name for name in images)


def test_every_cell_of_a_table_has_a_heading(tab: Tab) -> None:
    odd = tab.run(
        "[...document.querySelectorAll('table')].filter(t => [...t.tBodies[0].rows].some("
        "r => r.cells.length !== t.tHead.rows[0].cells.length || r.cells[0].scope !== 'row')).length"
    )
    assert odd == 0
    assert tab.run("document.querySelectorAll('thead th:not([scope=col])').length") == 0
    assert tab.run("document.documentElement.lang") == "en"
    assert HOSTILE in tab.run("document.title")


def test_on_a_phone_only_tables_scroll_sideways(tab: Tab) -> None:
    tab.size(390, 844, ratio=2, touch=True)
    tab.settle()
    assert tab.run("document.documentElement.scrollWidth") == 390
    tab.size(1280, 800)


def test_printed_no_row_is_cut_off(tab: Tab) -> None:
    tab.send("Emulation.setEmulatedMedia", media="print")
    hidden = tab.run(
        "[...document.querySelectorAll('.scroll')].filter(e => e.scrollHeight > e.clientHeight + 1).length"
    )
    tab.send("Emulation.setEmulatedMedia", media="")
    assert hidden == 0
    pdf = tab.pdf()
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 8
