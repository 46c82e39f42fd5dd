"""The viewer in a real browser: what a person does with it, and what is then seen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Tab

from bleep_cli import api
from bleep_cli.outputs.blocks import gene_values
from bleep_cli.plotting.style import colour_limits

OVER = "document.querySelector('.over')"
SHOWN = f"{OVER}.dataset.shown"
COPY = """((from, x, y, wide, high) => {
  const copy = Object.assign(document.createElement('canvas'), {width: wide, height: high});
  const context = copy.getContext('2d', {willReadFrequently: true});
  context.drawImage(from, x, y, wide, high, 0, 0, wide, high);
  return context.getImageData(0, 0, wide, high).data;
})"""
COLOUR = f"""((x, y) => {{
  const over = {OVER}, box = over.getBoundingClientRect(), ratio = over.width / box.width;
  return [...{COPY}(over, Math.round((x - box.x) * ratio), Math.round((y - box.y) * ratio), 1, 1)];
}})"""
SLIDE_COLOURS = f"""(() => {{
  const map = document.querySelector('#tissue canvas:not(.over)');
  return new Set(new Uint32Array({COPY}(map, 0, 0, map.width, map.height).buffer)).size;
}})()"""
PLACE = """((tile) => {
  const { tissue } = window.bleep, box = tissue.over.getBoundingClientRect(), at = tissue.plane();
  return [box.x + at.x + tissue.slide.x[tile] * at.scale, box.y + at.y + tissue.slide.y[tile] * at.scale];
})"""


@pytest.fixture
def tab(chromium: Tab, address: str, openseadragon: bool) -> Iterator[Tab]:
    """The page, newly opened; nothing may be complained of until the end, or asked of another."""
    if not openseadragon:
        pytest.skip("OpenSeadragon was not fetched (make viewer)")
    chromium.console.clear()
    chromium.requests.clear()
    chromium.size(1280, 800)
    chromium.visit(address)
    chromium.wait(f"{SLIDE_COLOURS} > 100")  # the pieces have come
    yield chromium
    assert chromium.run("document.getElementById('trouble').hidden")
    assert chromium.console == []
    assert chromium.requests
    assert not [asked for asked in chromium.requests if not asked.startswith((address, "data:"))]
    chromium.send("Page.navigate", url="about:blank")


def choose(tab: Tab, gene: str) -> None:
    tab.click(*tab.middle("[role=combobox]"))
    tab.settle()
    tab.type(gene)
    tab.key("Enter", text="\r")
    tab.wait(f"{SHOWN} === '{gene}'")
    tab.settle()


def put(tab: Tab, name: str, value: Any, event: str = "input") -> None:
    how = f"checked = {str(value).lower()}" if isinstance(value, bool) else f"value = {str(value)!r}"
    tab.run(f"(e => {{ e.{how}; e.dispatchEvent(new Event('{event}')); }})(document.getElementById('{name}'))")
    tab.settle()


def colour(tab: Tab, tile: int) -> np.ndarray:
    x, y = tab.run(f"{PLACE}({tile})")
    return np.array(tab.run(f"{COLOUR}({x}, {y})")[:3], int)


def wanted(viewed: Path, gene: str, tile: int) -> np.ndarray:
    """The colour of viridis that a value has."""
    import matplotlib

    values = gene_values(api.open_result(viewed), gene)
    low, high = colour_limits(values)
    share = np.clip((values[tile] - low) / (high - low), 0, 1)
    return np.array(matplotlib.colormaps["viridis"](round(float(share) * 255))[:3]) * 255


def test_a_chosen_gene_colours_the_tiles_by_their_values(tab: Tab, viewed: Path) -> None:
    put(tab, "opacity", 100)
    put(tab, "sheer", False)
    found = api.open_result(viewed)
    first, other = str(found.symbols[0]), str(found.symbols[1])
    for gene in (first, other):
        choose(tab, gene)
        for tile in (0, len(found.grid) // 2, len(found.grid) - 1):
            assert np.abs(colour(tab, tile) - wanted(viewed, gene, tile)).max() <= 3
    before = tab.screenshot()
    choose(tab, first)
    assert tab.screenshot() != before


def test_opacity_outlines_and_scales_change_what_is_seen(tab: Tab) -> None:
    seen = [tab.screenshot()]
    for name, value, event in (
        ("opacity", 0, "input"), ("outlines", True, "change"), ("opacity", 90, "input"),
        ("palette", "inferno", "change"), ("scale", "measured", "change"), ("scale", "fixed", "change"),
    ):  # fmt: skip
        put(tab, name, value, event)
        seen.append(tab.screenshot())
    assert len(set(seen)) == len(seen)


def test_a_click_shows_the_tile_and_the_spots_behind_it_with_their_pictures(
    tab: Tab, viewed: Path, small_bundle: Path
) -> None:
    found = api.open_result(viewed)
    gene, tile = str(found.symbols[0]), len(found.grid) // 2
    name = str(found.grid.tile_id[tile])
    choose(tab, gene)
    tab.click(*tab.run(f"{PLACE}({tile})"))
    tab.wait(f"document.getElementById('receipt').dataset.shown === '{name} {gene}'")
    (receipt,) = api.explain(viewed, small_bundle, name, [gene])
    rows = tab.run("[...document.querySelectorAll('#receipt tbody tr')].map(row => row.innerText.split('\\t'))")
    assert [row[1:4] for row in rows] == [
        [f"{spot.section} {spot.barcode}", spot.donor, f"{spot.similarity:.3f}"] for spot in receipt.spots
    ]
    assert name in tab.run("document.getElementById('tile').textContent")
    assert f"{receipt.predicted:.4f} predicted" in tab.run("document.getElementById('receipt').textContent")
    tab.wait(f"document.querySelectorAll('#receipt img').length === {len(receipt.spots)}")
    tab.wait("[...document.querySelectorAll('#receipt img')].every(image => image.naturalWidth === 112)")
    top = tab.run("document.querySelector('#top-genes button').textContent")
    tab.click(*tab.middle("#top-genes button"))
    tab.wait(f"{SHOWN} === '{top}' && document.getElementById('receipt').dataset.shown === '{name} {top}'")


def test_zoom_by_wheel_button_and_key_and_back(tab: Tab) -> None:
    def edge() -> float:
        return float(tab.run(f"{OVER}.dataset.tilePx"))

    whole = edge()
    x, y = tab.middle(".over")
    tab.mouse("mouseMoved", x, y)
    tab.mouse("mouseWheel", x, y, deltaX=0, deltaY=-240)
    tab.wait(f"{OVER}.dataset.tilePx > {whole * 1.05}")
    tab.click(*tab.middle("#fit"))
    tab.wait(f"Math.abs({OVER}.dataset.tilePx - {whole}) < {whole * 0.01}")
    tab.click(*tab.middle("#in"))
    tab.wait(f"{OVER}.dataset.tilePx > {whole * 1.9}")
    tab.run("window.bleep.tissue.view.canvas.focus()")
    tab.key("-", text="-")
    tab.wait(f"{OVER}.dataset.tilePx < {whole * 1.9}")
    tab.key("0", text="0")
    tab.wait(f"Math.abs({OVER}.dataset.tilePx - {whole}) < {whole * 0.01}")


def test_by_keyboard_from_tile_to_tile_and_everything_has_a_name(tab: Tab, viewed: Path) -> None:
    grid = api.open_result(viewed).grid
    tab.run("window.bleep.tissue.view.canvas.focus()")
    tab.key("ArrowRight")
    first = tab.wait("window.bleep.tissue.tile >= 0 && window.bleep.tissue.tile + 1") - 1
    tab.key("ArrowRight")
    tab.wait(f"window.bleep.tissue.tile !== {first}")
    second = int(tab.run("window.bleep.tissue.tile"))
    assert grid.centre_l0[second, 0] > grid.centre_l0[first, 0]
    assert grid.centre_l0[second, 1] == grid.centre_l0[first, 1]
    tab.wait(f"document.getElementById('tile').textContent.includes('{grid.tile_id[second]}')")
    tree = tab.send("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "combobox", "slider", "checkbox", "application", "spinbutton", "image")
    named = [(n["role"]["value"], n["name"]["value"]) for n in tree if n.get("role", {}).get("value") in roles]
    assert {"button", "combobox", "slider", "checkbox", "application"} <= {role for role, _ in named}
    assert not [role for role, name in named if not name]
