"""Makes docs/report.png, docs/view.png and docs/terminal.png: report and viewer of ``bleep demo``, and what three
commands print on a terminal.

python tools/looking/screenshot.py [FOLDER]
"""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path
from termios import TIOCSWINSZ

from browser import Tab, browser
from console_scripts import with_commands
from PIL import Image

ROOT = Path(__file__).parents[2]
SIZE = (1280, 800)
GENES = ("CYP3A4", "COL3A1")  # around the central veins; in the portal tracts
COLUMNS = 100
TYPED = (
    "bleep predict slide.tif --ref demo -o results",
    "bleep explain results/slide.h5ad --ref demo --tile slide_12x12 --gene CYP3A4 | head -7",
    "bleep report results/slide.h5ad",
)
TERMINAL = """<!DOCTYPE html><html data-ready="1"><meta charset="utf-8"><title>terminal</title><style>
body {{ margin: 0; background: #16181d; }}
pre {{ margin: 0; padding: 18px 22px; width: {}ch; white-space: break-spaces; overflow-wrap: anywhere; }}
pre {{ color: #d5d9e0; font: 14px/1.5 monospace; }}
b {{ color: #fff; }} i {{ color: #8fc27c; font-style: normal; }}
</style><pre>{}</pre></html>"""
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


def of_terminal(tab: Tab, folder: Path) -> None:
    """What is typed, and what came on a terminal: both streams of a real run."""
    environment = with_commands(folder / "bin") | {"TERM": "dumb", "COLUMNS": str(COLUMNS)}
    for name in ("BLEEP_REF", "NO_COLOR"):
        environment.pop(name, None)
    shutil.copyfile(ROOT / "artifacts" / "demo-slide.tif", folder / "slide.tif")
    parts = [f"<i>$</i> <b>{escape(line)}</b>\n{escape(printed(line, folder, environment))}" for line in TYPED]
    page = folder / "terminal.html"
    page.write_text(TERMINAL.format(COLUMNS, "\n".join(parts)), encoding="utf-8")
    tab.go(page)
    wide, high = tab.run("(b => [b.width, b.height])(document.querySelector('pre').getBoundingClientRect())")
    tab.size(round(wide), round(high), ratio=1.25)
    tab.settle()


def printed(line: str, folder: Path, environment: dict[str, str]) -> str:
    """What a line prints on a terminal of ``COLUMNS``; bars that have gone again left an empty line."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    command = ["bash", "-c", line]
    with subprocess.Popen(command, cwd=folder, env=environment, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        told = b""
        try:
            while got := os.read(ours, 1 << 16):
                told += got
        except OSError:  # how Linux says that nobody writes any more
            pass
        os.close(ours)
    assert process.returncode == 0, told.decode()
    return re.sub(r"\n\n+", "\n", told.decode().replace("\r", "")).strip("\n") + "\n"


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
        subprocess.run([sys.executable, "-m", "bleep_cli.cli", "demo", "-o", name], check=True, cwd=ROOT)
        tab.size(*SIZE, ratio=1.25)
        of_report(tab, folder / "demo-slide.html")
        save(tab, target / "report.png")
        with viewer(folder) as address:
            of_viewer(tab, address)
            save(tab, target / "view.png")
        of_terminal(tab, folder)
        save(tab, target / "terminal.png")


if __name__ == "__main__":
    main()
