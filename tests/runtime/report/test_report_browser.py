"""The report in a real browser: what a person does with it, and what is then seen."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import PageError, Tab
from chromium import contrast, focusable
from made_slide import GENES, HOSTILE, make_slide

from bleep_cli.report.page import write_report

ROWS, COLUMNS, PITCH_UM = 20, 30, 50.0
DARKEST, MIDDLE, BRIGHTEST = (68, 1, 84), (33, 145, 140), (253, 231, 37)  # of viridis
PINK = (240, 200, 220)
MAP = "document.querySelectorAll('.map')[{}]"
PIXEL = """(map, x, y) => {
  const box = map.getBoundingClientRect(), ratio = map.width / box.width, copy = document.createElement('canvas');
  const context = copy.getContext('2d', {willReadFrequently: true});
  context.drawImage(map, Math.round((x - box.x) * ratio), Math.round((y - box.y) * ratio), 1, 1, 0, 0, 1, 1);
  return [...context.getImageData(0, 0, 1, 1).data];
}"""
COLOURS = """(map) => {
  const copy = Object.assign(document.createElement('canvas'), {width: 240, height: 120});
  const context = copy.getContext('2d', {willReadFrequently: true});
  context.drawImage(map, map.width / 2 - 120, map.height / 2 - 60, 240, 120, 0, 0, 240, 120);
  return new Set(new Uint32Array(context.getImageData(0, 0, 240, 120).data.buffer)).size;
}"""
WIDE = """[...document.querySelectorAll('button, input, select, canvas, h1, h2, dd')]
  .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > 391).map(e => e.outerHTML)"""


def scale(tab: Tab, number: int = 0) -> float:
    """Screen pixels for a µm, by the scale bar that is drawn."""
    return float(tab.run(f"(m => m.dataset.scalePx / m.dataset.scaleUm)({MAP.format(number)})"))


def place(tab: Tab, row: int, column: int, number: int = 0) -> tuple[float, float]:
    """Where a tile lies in the window while all tissue is shown: its middle is the map's."""
    left, top, wide, high = tab.run(
        f"(b => [b.x, b.y, b.width, b.height])({MAP.format(number)}.getBoundingClientRect())"
    )
    x = left + wide / 2 + (column - (COLUMNS - 1) / 2) * PITCH_UM * scale(tab, number)
    return x, top + high / 2 + (row - (ROWS - 1) / 2) * PITCH_UM * scale(tab, number)


def colour(tab: Tab, row: int, column: int, number: int = 0) -> tuple[int, ...]:
    """Colour of a tile's middle on the map."""
    x, y = place(tab, row, column, number)
    seen = tab.run(f"({PIXEL})({MAP.format(number)}, {x}, {y})")
    return tuple(seen[:3])


def near(seen: tuple[int, ...], wanted: tuple[float, ...], most: int = 4) -> bool:
    return max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) <= most


def choose(tab: Tab, name: str, number: int = 0) -> None:
    """Types a name into the field above a map and presses Enter."""
    tab.click(*tab.middle(f".panel:nth-child({number + 1}) [role=combobox]"))
    tab.settle()
    tab.type(name)
    tab.key("Enter", text="\r")
    tab.settle()
    shown = tab.run(f"{MAP.format(number)}.dataset.shown")
    assert shown == {"Similarity to the reference": "similarity"}.get(name, name)


def put(tab: Tab, name: str, value: Any, event: str = "input") -> None:
    """Sets a control as a person would."""
    how = f"checked = {str(value).lower()}" if isinstance(value, bool) else f"value = {str(value)!r}"
    tab.run(f"(e => {{ e.{how}; e.dispatchEvent(new Event('{event}', {{bubbles: true}})); }})({by_id(name)})")
    tab.settle()


def by_id(name: str) -> str:
    return f"document.getElementById('{name}')"


def text_of(tab: Tab, name: str) -> str:
    return str(tab.run(f"{by_id(name)}.textContent"))


@pytest.fixture
def opaque(tab: Tab) -> Tab:
    put(tab, "opacity", 100)
    put(tab, "sheer", False, "change")
    return tab


def test_a_tile_has_the_colour_of_its_value(opaque: Tab) -> None:
    """LEFT, the gene that varies most, is shown first: darkest in the first column, brightest in the last."""
    for row in (0, 10, 19):
        assert near(colour(opaque, row, 0), DARKEST)
        assert near(colour(opaque, row, 29), BRIGHTEST)
    middle = colour(opaque, 5, 15)
    assert near(middle, MIDDLE, 12)
    assert near(colour(opaque, -1, 5), PINK)  # glass beside the tiles


def test_tiles_that_touch_leave_no_seam(opaque: Tab) -> None:
    choose(opaque, "FLAT")
    for _ in range(3):
        pixels = opaque.run(f"({COLOURS})({MAP.format(0)})")
        assert pixels == 1
        opaque.run("document.querySelector('[data-do=in]').click()")
        opaque.settle()


def test_choosing_a_gene_changes_the_picture(opaque: Tab) -> None:
    choose(opaque, "DOWN")
    for column in (0, 15, 29):
        assert near(colour(opaque, 0, column), DARKEST)
        assert near(colour(opaque, 19, column), BRIGHTEST)
    assert "Mean 1.50 · median 1.5" in opaque.run("document.querySelector('.stats').textContent")
    pressed = opaque.run("document.querySelector('#genes [aria-pressed=true] .name').textContent")
    assert pressed == "DOWN"


def test_a_search_finds_by_name_and_by_id_and_says_where_nothing_is(tab: Tab) -> None:
    box = ".panel [role=combobox]"
    tab.click(*tab.middle(box))
    assert tab.run("document.querySelectorAll('[role=option]').length") == len(GENES) + 3
    for typed, found in (
        ("erb", ["ERBB2"]),
        ("ensg00000000003", ["FLAT"]),
        ("similarity", ["Similarity to the reference"]),
    ):
        tab.run(f"document.querySelector('{box}').select()")
        tab.type(typed)
        names = "[...document.querySelectorAll('[role=option]')].map(o => o.firstChild.textContent)"
        assert tab.run(names) == found
    tab.type("zzz")
    assert tab.run("document.querySelector('[role=listbox]').textContent") == (
        "No gene or layer of this page is called so"
    )
    tab.key("Escape")
    assert tab.run(f"document.querySelector('{box}').value") == "LEFT"
    assert tab.run(f"document.querySelector('{box}').getAttribute('aria-expanded')") == "false"


def test_names_are_shown_as_they_are_and_run_nothing(tab: Tab) -> None:
    choose(tab, HOSTILE)
    assert tab.run("document.querySelector('h1').textContent") == f"slide {HOSTILE}"
    tab.mouse("mouseMoved", *place(tab, 4, 6))
    tab.settle()
    assert text_of(tab, "readout").startswith(f"4x6</script> · {HOSTILE} 0.")
    assert "piece a" in text_of(tab, "readout")
    choose(tab, "__proto__")
    assert HOSTILE in tab.run("document.querySelector('.findings').textContent")


def test_the_pointer_reads_a_tile(tab: Tab) -> None:
    tab.mouse("mouseMoved", *place(tab, 3, 29))
    tab.settle()
    assert text_of(tab, "readout") == (
        "3x29</script> · LEFT 6.00 · Similarity to the reference 0.57 · out of focus<b> no · "
        "Share under pen ink 0.50 · piece b<b> · x 1,575 µm, y 275 µm"
    )
    tab.mouse("mouseMoved", *place(tab, 0, 7))
    tab.settle()
    assert "Similarity to the reference no value" in text_of(tab, "readout")


def test_the_wheel_zooms_about_the_pointer_and_dragging_moves(tab: Tab) -> None:
    before, spot = scale(tab), place(tab, 4, 6)
    tab.mouse("mouseMoved", *spot)
    tab.mouse("mouseWheel", *spot, deltaX=0, deltaY=-600)
    tab.settle()
    assert scale(tab) == pytest.approx(before * np.exp(600 * 0.0016), rel=0.01)
    tab.mouse("mouseMoved", spot[0] + 1, spot[1])
    tab.settle()
    assert text_of(tab, "readout").startswith("4x6<")
    step = PITCH_UM * scale(tab)
    tab.mouse("mousePressed", *spot, button="left", buttons=1, clickCount=1)
    tab.mouse("mouseMoved", spot[0] + step, spot[1], button="left", buttons=1)
    tab.mouse("mouseReleased", spot[0] + step, spot[1], button="left")
    tab.mouse("mouseMoved", *spot)
    tab.settle()
    assert text_of(tab, "readout").startswith("4x5<")
    tab.run("document.querySelector('[data-do=fit]').click()")
    tab.settle()
    assert scale(tab) == pytest.approx(before)


def test_the_keyboard_reaches_the_map_and_walks_over_the_tiles(tab: Tab) -> None:
    for _ in range(12):
        tab.key("Tab")
        if tab.run("document.activeElement.className") == "map":
            break
    assert tab.run("document.activeElement.className") == "map"
    assert tab.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.key("ArrowRight")
    tab.settle()
    row, column = map(int, re.match(r"(\d+)x(\d+)<", text_of(tab, "readout")).groups())  # type: ignore[union-attr]
    assert (abs(row - 9.5), abs(column - 14.5)) == (0.5, 0.5)
    for key, moved in (("ArrowRight", (0, 1)), ("ArrowDown", (1, 1)), ("ArrowLeft", (1, 0)), ("ArrowUp", (0, 0))):
        tab.key(key)
        tab.settle()
        assert text_of(tab, "readout").startswith(f"{row + moved[0]}x{column + moved[1]}<")
    before = scale(tab)
    tab.key("+", text="+")
    tab.settle()
    assert scale(tab) == pytest.approx(1.5 * before, rel=0.01)
    tab.key("0", text="0")
    tab.settle()
    assert scale(tab) == pytest.approx(before, rel=0.01)
    tab.key("Escape")
    tab.settle()
    assert text_of(tab, "readout") == "Point at a tile to read its values."


def test_the_field_is_used_by_keys_alone(tab: Tab) -> None:
    tab.run("document.querySelector('[role=combobox]').focus()")
    tab.key("ArrowDown")  # opens at what is shown
    tab.key("ArrowDown")
    active = tab.run(
        f"{by_id('choices-0')}.querySelector('#' + document.activeElement.getAttribute('aria-activedescendant'))"
        ".firstChild.textContent"
    )
    assert active == "DOWN"
    tab.key("Enter", text="\r")
    tab.settle()
    assert tab.run(f"{MAP.format(0)}.dataset.shown") == "DOWN"


def test_scales_are_of_the_slide_of_the_reference_or_as_typed(opaque: Tab) -> None:
    opaque.run("document.querySelector('input[value=measured]').click()")
    opaque.settle()
    assert near(colour(opaque, 5, 0), DARKEST)
    assert near(colour(opaque, 5, 29), MIDDLE)  # 6 of the 12 that were measured
    opaque.run("document.querySelector('input[value=fixed]').click()")
    put(opaque, "fixed-high", 3)
    assert near(colour(opaque, 5, 29), BRIGHTEST)
    assert near(colour(opaque, 5, 15), BRIGHTEST)
    put(opaque, "palette", "cividis", "change")
    assert near(colour(opaque, 5, 0), (0, 34, 78))
    put(opaque, "fixed-high", -1)  # below the other end: told, not drawn
    assert opaque.run(f"{by_id('fixed-high')}.validity.customError")
    assert near(colour(opaque, 5, 0), (0, 34, 78))


def test_tissue_shows_through_as_far_as_is_asked(tab: Tab) -> None:
    put(tab, "opacity", 100)
    assert near(colour(tab, 5, 29), BRIGHTEST)
    assert near(colour(tab, 5, 0), tuple(0.08 * a + 0.92 * b for a, b in zip(DARKEST, PINK, strict=True)))
    choose(tab, "Similarity to the reference")  # low values of a layer are not to be overlooked
    assert near(colour(tab, 0, 9), DARKEST)
    choose(tab, "LEFT")
    put(tab, "sheer", False, "change")
    put(tab, "opacity", 50)
    assert near(colour(tab, 5, 0), tuple((a + b) / 2 for a, b in zip(DARKEST, PINK, strict=True)))
    put(tab, "opacity", 0)
    assert near(colour(tab, 5, 0), PINK)
    put(tab, "grey", True, "change")
    assert len(set(colour(tab, 5, 0))) == 1


def test_unreliable_tiles_can_be_hidden(opaque: Tab) -> None:
    put(opaque, "threshold", 128)
    assert near(colour(opaque, 0, 29), PINK)
    assert near(colour(opaque, 19, 29), BRIGHTEST)
    assert near(colour(opaque, 0, 7), colour(opaque, 19, 7))  # its similarity is not known: it stays
    assert text_of(opaque, "hidden-tiles") == "299 of 600 tiles hidden"
    put(opaque, "layer", 1, "change")
    assert near(colour(opaque, 0, 29), BRIGHTEST)
    put(opaque, "marked", True)
    assert near(colour(opaque, 5, 0), PINK)
    assert text_of(opaque, "hidden-tiles") == "20 of 600 tiles hidden"
    put(opaque, "layer", 2, "change")
    assert text_of(opaque, "threshold-way") == "Hide above"
    put(opaque, "threshold", 100)
    assert text_of(opaque, "threshold-out") == "0.20"
    assert near(colour(opaque, 5, 29), PINK)
    put(opaque, "layer", 1, "change")
    opaque.run(f"{by_id('show-layer')}.click()")
    put(opaque, "marked", False)
    assert near(colour(opaque, 5, 0), BRIGHTEST)  # yes
    assert near(colour(opaque, 5, 1), DARKEST)


def test_a_second_gene_beside_the_first(opaque: Tab) -> None:
    opaque.click(*opaque.middle("#compare"))
    opaque.settle()
    choose(opaque, "DOWN", 1)
    assert opaque.run(f"{MAP.format(0)}.dataset.shown") == "LEFT"
    for number, brightest in ((0, (0, 29)), (1, (19, 0))):
        assert near(colour(opaque, *brightest, number), BRIGHTEST)
        assert near(colour(opaque, 0, 0, number), DARKEST)
    assert "r 0.00 with LEFT" in opaque.run("document.querySelectorAll('.stats')[1].textContent")
    opaque.mouse("mouseMoved", *place(opaque, 19, 29, 1))
    opaque.settle()
    assert text_of(opaque, "readout").startswith("19x29</script> · LEFT 6.00 · DOWN 3.00")
    before = scale(opaque)
    opaque.run("document.querySelector('[data-do=in]').click()")
    opaque.settle()
    assert scale(opaque) == scale(opaque, 1) == pytest.approx(1.5 * before, rel=0.01)
    opaque.run("document.querySelectorAll('#genes button')[2].click()")  # goes to the map that was used last
    opaque.settle()
    assert opaque.run(f"{MAP.format(1)}.dataset.shown") != "DOWN"
    opaque.click(*opaque.middle("#compare"))
    opaque.settle()
    assert opaque.run("document.querySelectorAll('.panel').length") == 1


def test_pieces_of_tissue(tab: Tab) -> None:
    rows = tab.run(
        "[...document.querySelectorAll('#pieces tbody tr')].map(r => [...r.cells].map(c => c.textContent))"
    )
    assert [row[:4] for row in rows] == [["a", "300", "0.75", "1.45"], ["b<b>", "300", "0.75", "4.55"]]
    tab.run("document.querySelectorAll('.piece')[1].click()")
    tab.settle()
    left, top, wide, high = tab.run(
        f"(b => [b.x, b.y, b.width, b.height])({MAP.format(0)}.getBoundingClientRect())"
    )
    tab.mouse("mouseMoved", left + wide / 2 + 1, top + high / 2 + 1)
    tab.settle()
    assert text_of(tab, "readout").startswith("10x22<")  # the middle of the right half


# --- for everybody


def test_whatever_can_be_used_has_a_name_for_a_screen_reader(tab: Tab) -> None:
    tab.click(*tab.middle("#compare"))
    tab.settle()
    names = focusable(tab)
    assert len(names) > 25
    assert all(names), names
    assert {"Map of LEFT on the slide", "Gene or layer of the second map", "Opacity", "Colours"} <= set(names)
    assert tab.run(f"{by_id('readout')}.getAttribute('aria-live')") == "polite"
    assert tab.run("document.querySelector('.strip').getAttribute('aria-label')").startswith(
        "Distribution of LEFT: Mean 3.00"
    )


def test_every_text_stands_out_from_its_ground(tab: Tab) -> None:
    seen, poor = contrast(tab)
    assert seen > 100
    assert poor == []


def test_on_a_phone_nothing_is_cut_off_and_two_fingers_zoom(tab: Tab) -> None:
    tab.size(390, 844, ratio=2, touch=True)
    tab.settle()
    assert tab.run("document.documentElement.scrollWidth") == 390
    wide = tab.run(WIDE)
    assert wide == []
    before = scale(tab)
    x, y = tab.middle(".map")
    for what, apart in (("touchStart", 20), ("touchMove", 30), ("touchMove", 40)):
        points = [{"x": x + side * apart, "y": y, "id": side + 1} for side in (-1, 1)]
        tab.send("Input.dispatchTouchEvent", type=what, touchPoints=points)
    tab.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    tab.settle()
    assert scale(tab) == pytest.approx(2 * before, rel=0.05)


def test_printed_it_shows_map_and_facts_and_no_controls(tab: Tab) -> None:
    tab.send("Emulation.setEmulatedMedia", media="print")
    shown = {
        name: tab.run(f"getComputedStyle(document.querySelector('{name}')).display != 'none'")
        for name in (".map", ".strip", "#noticed", ".use", ".side", ".tools", ".keys", ".readout")
    }
    tab.send("Emulation.setEmulatedMedia", media="")
    assert [name for name, there in shown.items() if there] == [".map", ".strip", "#noticed", ".use"]
    pdf = tab.pdf()
    assert pdf.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 6
    assert tab.run("document.querySelector('.provenance').open")


def test_a_browser_that_is_too_old_says_so_and_still_tells_the_facts(chromium: Tab, page_file: Path) -> None:
    script = chromium.send("Page.addScriptToEvaluateOnNewDocument", source="delete window.DecompressionStream")
    try:
        chromium.send("Page.navigate", url=page_file.resolve().as_uri())
        chromium.wait(f"{by_id('trouble')}?.hidden === false")
        assert "The maps cannot be shown in this browser" in text_of(chromium, "trouble")
        assert "Homo sapiens, breast" in chromium.run("document.body.textContent")
    finally:
        chromium.send("Page.removeScriptToEvaluateOnNewDocument", identifier=script["identifier"])


def test_the_tests_would_see_a_request_and_an_error(chromium: Tab, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<html data-ready=1><img src='http://127.0.0.1:49151/x.png'><script>nothing.there</script>")
    chromium.console.clear()
    chromium.requests.clear()
    chromium.go(page)
    chromium.settle()
    assert any(address.startswith("http://127.0.0.1:49151/") for address in chromium.requests)
    assert any("nothing is not defined" in line for line in chromium.console)
    with pytest.raises(PageError, match="nothing is not defined"):
        chromium.run("nothing.there")


@pytest.mark.slow
def test_the_largest_page_works(chromium: Tab, tmp_path: Path) -> None:
    """200 genes of 20,000 tiles; how long it takes is printed."""
    noise = np.random.default_rng(0).integers(0, 256, (1400, 2000, 3), np.uint8)
    names = ("LEFT", "DOWN", *(f"G{i}" for i in range(198)))
    write_report(
        make_slide(rows=100, columns=200, genes=names, hires=noise, hires_scalef=0.1), tmp_path / "p.html"
    )
    chromium.size(1280, 800)
    chromium.go(tmp_path / "p.html")
    opened = chromium.run("document.documentElement.dataset.ready")
    times = chromium.run(
        """(async () => {
          const times = [], map = document.querySelector('.map'), frame = () => new Promise(requestAnimationFrame);
          for (const button of [...document.querySelectorAll('#genes button')].slice(0, 20)) {
            const start = performance.now(), name = button.querySelector('.name').textContent;
            button.click();
            while (map.dataset.shown !== name) await frame();
            times.push(performance.now() - start);
          }
          return times;
        })()"""
    )
    print(f"opened in {opened} ms; a gene changes in {np.median(times):.0f} ms (at most {max(times):.0f})")
    assert chromium.run("document.querySelector('.map').dataset.shown").startswith("G")
    assert text_of(chromium, "hidden-tiles") == "0 of 20,000 tiles hidden"
