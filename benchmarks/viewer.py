"""``bleep view`` of a large slide in headless Chromium: seconds to the first picture, milliseconds for a gene and
for the receipt of a tile.

    python benchmarks/viewer.py [--side 19600] [--genes 200] [--repeats 20] [--folder FOLDER] [--json FILE]

The slide is the demo's pixels repeated to ``side`` × ``side`` px of 0.5 µm (some 20,000 tiles of 56 µm at the
default), really predicted by the demo's reference, one view a tile. A gene's first time reads the result's file;
its second is kept. Slide and result stay in FOLDER, where one is given, and are used again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from made_up import write_slide
from side_by_side import median, report

from bleep_cli import api
from bleep_cli.base.assets import DEMO_BUNDLE, asset
from bleep_cli.bundle.open import open_bundle

sys.path.insert(0, str(Path(__file__).parents[1] / "tools" / "looking"))
from browser import Tab, browser

STRIDE_UM = 56.0
FRAMES = "const drawn = () => new Promise(d => requestAnimationFrame(() => requestAnimationFrame(d)));"
GENES = """(async (count) => {{
  {frames}
  const page = window.bleep, times = [];
  for (const gene of page.slide.genes.slice(1, count + 1)) {{
    const start = performance.now();
    await page.choose(0, gene);
    await drawn();
    times.push(performance.now() - start);
  }}
  return times;
}})({count})"""
RECEIPTS = """(async (count) => {{
  {frames}
  const page = window.bleep, times = [], step = Math.floor(page.slide.tiles.length / count);
  for (let i = 0; i < count; i++) {{
    const tile = i * step, shown = `${{page.slide.tiles[tile]}} ${{page.gene.name}}`;
    const start = performance.now();
    page.tissue.pick(tile);
    while (document.getElementById('receipt').dataset.shown !== shown) await drawn();
    times.push(performance.now() - start);
  }}
  return times;
}})({count})"""
COLOURS = """(() => {
  const map = document.querySelector('#tissue canvas:not(.over)');
  if (!map) return 0;
  const data = map.getContext('2d').getImageData(0, 0, map.width, map.height).data;
  return new Set(new Uint32Array(data.buffer)).size;
})()"""


def made(folder: Path, side: int, genes: int) -> tuple[Path, Path]:
    """(result, slide)."""
    slide, result = folder / f"slide-{side}.tif", folder / f"slide-{side}-{genes}.h5ad"
    if not slide.is_file():
        write_slide(slide, side)
    if not result.is_file():
        names = [str(symbol) for symbol in open_bundle(asset(DEMO_BUNDLE)).symbols[:genes]]
        options = api.PredictOptions(views=1, stride_um=STRIDE_UM, genes=names)
        api.write(api.Predictor(asset(DEMO_BUNDLE), options).predict(slide), result)
    return result, slide


@contextmanager
def served(result: Path, slide: Path) -> Iterator[str]:
    """The address that ``bleep view`` prints."""
    words = ["view", str(result), "--slide", str(slide), "--ref", "demo", "--no-browser", "--json", "-q"]
    command = [sys.executable, "-m", "bleep_cli.cli", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            yield str(json.loads(process.stdout.readline())["address"])
        finally:
            process.terminate()


def looked_at(tab: Tab, result: Path, slide: Path, repeats: int) -> dict[str, float]:
    """Seconds and milliseconds, medians of ``repeats`` genes and tiles."""
    start = time.perf_counter()
    with served(result, slide) as address:
        answering = time.perf_counter()
        tab.size(1280, 800)
        tab.visit(address)
        tab.wait(f"{COLOURS} > 100")  # tissue and the colours of a gene
        shown = time.perf_counter()
        first, again = (tab.run(GENES.format(frames=FRAMES, count=repeats)) for _ in range(2))
        receipts = tab.run(RECEIPTS.format(frames=FRAMES, count=repeats))
        tiles = tab.run("window.bleep.slide.tiles.length")
        assert tab.console == [], tab.console
    return {
        "tiles": tiles,
        "command_to_address_s": round(answering - start, 2),
        "address_to_picture_s": round(shown - answering, 2),
        "gene_first_ms": median(first, 0),
        "gene_again_ms": median(again, 0),
        "receipt_ms": median(receipts, 0),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=19600)
    parser.add_argument("--genes", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, browser() as tab:
        folder = arguments.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        result, slide = made(folder, arguments.side, arguments.genes)
        row = looked_at(tab, result, slide, arguments.repeats)
    report([row], arguments.json, genes=arguments.genes)


if __name__ == "__main__":
    main()
