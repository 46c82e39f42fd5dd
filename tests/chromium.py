"""A real browser for the pages; where there is none, the tests that need it are skipped, and say so."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "looking"))
from browser import CHROMIUM, Tab, browser

CONTRAST = """(() => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c / 255 <= .03928 ? c / 255 / 12.92 : ((c / 255 + .055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => .2126 * linear(r) + .7152 * linear(g) + .0722 * linear(b);
  const ground = (e) => {
    const own = e ? parts(getComputedStyle(e).backgroundColor) : [255, 255, 255];
    return own.length === 3 || own[3] > .5 ? own : ground(e.parentElement);
  };
  const poor = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  for (let node; (node = texts.nextNode());) {
    const e = node.parentElement, text = node.textContent.trim();
    if (!text || !e.checkVisibility() || e.closest('script, style, noscript, template')) continue;
    const [most, least] = [light(parts(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    seen++;
    if ((most + .05) / (least + .05) < 4.5) poor.push(`${e.className} ${text.slice(0, 40)}`);
  }
  return [seen, poor];
})()"""


@pytest.fixture(scope="session")
def chromium() -> Iterator[Tab]:
    if not CHROMIUM:
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with browser() as tab:
        yield tab


def contrast(tab: Tab) -> tuple[int, list[str]]:
    """How many texts are shown, and those that stand out from their ground by less than 4.5 : 1 (WCAG AA)."""
    seen, poor = tab.run(CONTRAST)
    return int(seen), list(poor)


def focusable(tab: Tab) -> list[str]:
    """What a screen reader calls everything that the keyboard reaches; empty where it has no name."""
    tab.send("Accessibility.enable")
    names = []
    for node in tab.send("Accessibility.getFullAXTree")["nodes"]:
        properties = {p["name"]: p["value"].get("value") for p in node.get("properties", ())}
        role = node.get("role", {}).get("value")
        if not node.get("ignored") and properties.get("focusable") and role != "RootWebArea":
            names.append(str(node.get("name", {}).get("value", "")))
    tab.send("Accessibility.disable")
    return names
