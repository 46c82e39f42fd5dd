"""Makes docs/report.png: the report of ``bleep demo`` as a browser shows it, two genes side by side.

python tools/screenshot.py [PICTURE]
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from browser import browser
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


def screenshot(report: Path) -> Image.Image:
    """The page as it is seen without scrolling, both genes chosen and a tile pointed at."""
    with browser() as tab:
        tab.size(*SIZE, ratio=1.25)
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
        return Image.open(io.BytesIO(tab.screenshot())).convert("RGB")


def main() -> None:
    """Predicts the demo, makes its report, takes the picture."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "report.png"
    with tempfile.TemporaryDirectory() as folder:
        for words in (["demo", "-o", folder], ["report", f"{folder}/demo-slide.h5ad"]):
            subprocess.run([sys.executable, "-m", "bleep_cli.cli", *words], check=True, cwd=ROOT)
        picture = screenshot(Path(folder) / "demo-slide.html")
    picture.quantize(256, kmeans=1, dither=Image.Dither.NONE).save(target, optimize=True)
    print(f"{target} ({target.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
