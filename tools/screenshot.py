"""Makes docs/report.png and docs/view.png: the report and the viewer of ``bleep demo`` as a browser shows them.

python tools/screenshot.py [FOLDER]
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import Tab, browser
from PIL import Image

ROOT = Path(__file__).parents[1]
SIZE = (1280, 800)
GENES = ("CYP3A4", "COL3A1")  # around the central veins; in the portal tracts
PICK = """(async (gene, number) => {
  const box = document.querySelectorAll('[role=combobox]')[number];
  box.click();
  box.value = gene;
  box.dispatchEvent(new Event('input'));
  box.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter'}));
})"""


def of_report(tab: Tab, report: Path) -> None:
    """The page as it is seen without scrolling, both genes chosen and a tile pointed at."""
    tab.go(report)
    tab.run("document.getElementById('compare').click()")
    for number, gene in enumerate(GENES):
        tab.run(f"{PICK}('{gene}', {number})")
    tab.settle()
    tab.run("document.activeElement.blur()")
    x, y = tab.middle(".map")
    tab.mouse("mouseMoved", x, y)
    tab.run("window.scrollTo(0, 0)")
    tab.settle()


def of_viewer(tab: Tab, address: str) -> None:
    """Zoomed in, a gene chosen, and the receipt of the tile in the middle."""
    tab.visit(address)
    tab.run(f"{PICK}('{GENES[0]}', 0)")
    tab.wait(f"document.querySelector('.over').dataset.shown === '{GENES[0]}'")
    tab.run("document.activeElement.blur()")
    tab.run("window.bleep.tissue.zoom(4)")
    tab.run("new Promise(done => setTimeout(done, 2500))")  # the pieces come, and fade in
    tab.click(*tab.middle(".over"))
    tab.wait("document.querySelectorAll('#receipt td').length > 0")
    tab.run("document.querySelector('.side').scrollTop = 230")
    tab.run("new Promise(done => setTimeout(done, 500))")


@contextmanager
def viewer(folder: Path) -> Iterator[str]:
    """The address of ``bleep view`` of the demo, for the time of the context."""
    words = ["view", str(folder / "demo-slide.h5ad"), "--slide", str(ROOT / "artifacts" / "demo-slide.tif")]
    words += ["--ref", "demo", "--no-browser", "--json"]
    with subprocess.Popen(
        [sys.executable, "-m", "bleep_cli.cli", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        try:
            yield json.loads(process.stdout.readline())["address"]
        finally:
            process.terminate()


def save(tab: Tab, target: Path) -> None:
    """Keeps what the window shows, in 256 colours."""
    picture = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
    picture.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target} ({target.stat().st_size / 1000:.0f} kB)")


def main() -> None:
    """Predicts the demo, makes its report, opens its viewer, takes the pictures."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs"
    with tempfile.TemporaryDirectory() as name, browser() as tab:
        folder = Path(name)
        for words in (["demo", "-o", name], ["report", f"{name}/demo-slide.h5ad"]):
            subprocess.run([sys.executable, "-m", "bleep_cli.cli", *words], check=True, cwd=ROOT)
        tab.size(*SIZE, ratio=1.25)
        of_report(tab, folder / "demo-slide.html")
        save(tab, target / "report.png")
        with viewer(folder) as address:
            of_viewer(tab, address)
            save(tab, target / "view.png")


if __name__ == "__main__":
    main()
