"""A walk as a new user, with the seconds of every step: from the clone to the report in a browser, and from wheels
without a network to a predicted slide, as QuPath's GeoJSON and as a picture by squidpy.

    python tools/looking/walk.py FOLDER [--slide CMU-1-Small-Region.svs] [--squidpy PYTHON]

FOLDER must not be there yet; everything is made in it. The steps are what README.md, docs/install.md and
docs/other-programs.md say, line by line. Needs git, make, unshare, Chromium, and an index of packages for what
comes before the installation without a network. ``--squidpy`` is a Python that has squidpy, by default this one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from browser import browser

ROOT = Path(__file__).parents[2]
NO_NETWORK = ["unshare", "--map-root-user", "--net"]
GENE = "ALB"
PLOT = """
import sys
import anndata, matplotlib, squidpy as sq
matplotlib.use("Agg")
adata = anndata.read_h5ad(sys.argv[1])
sq.pl.spatial_scatter(adata, color=sys.argv[2], save=sys.argv[3])
print(f"{adata.n_obs} tiles × {adata.n_vars} genes")
"""


class Walk:
    """Runs steps and tells how long each took."""

    def __init__(self) -> None:
        self.environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
        print("| step | s |\n|---|---|", flush=True)

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        print(f"| {what} | {time.perf_counter() - start:.1f} |", flush=True)

    def run(self, what: str, command: list[str], folder: Path) -> None:
        """One command in a folder; the program ends where it fails, with what it printed."""
        with self.step(what):
            done = subprocess.run(
                command, cwd=folder, env=self.environment, capture_output=True, text=True, check=False
            )
        if done.returncode:
            sys.exit(f"{what}: exit code {done.returncode}\n{done.stdout}{done.stderr}")


def offline_lines(clone: Path) -> list[str]:
    """What docs/install.md says to type on the machine without the internet, with the Python that runs this."""
    page = (clone / "docs" / "install.md").read_text(encoding="utf-8").split("## Without the internet\n")[1]
    (block,) = re.findall(r"```bash\n(.*?)```", page.split("\n## ")[0], re.DOTALL)
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    return [
        line.replace("python3.11", f"'{sys.executable}'").replace("-3.11.txt", f"-{version}.txt")
        for line in block.splitlines()
    ]


def from_the_clone(walk: Walk, folder: Path) -> Path:
    """Clone, demo, report in a browser; the clone."""
    clone = folder / "bleep"
    walk.run("git clone", ["git", "clone", "--quiet", str(ROOT), str(clone)], folder)
    walk.run("`make demo`, the first time: environment and prediction", ["make", "demo"], clone)
    walk.run("`make demo` again: prediction alone", ["make", "demo"], clone)
    with browser() as tab:
        tab.size(1280, 800)
        with walk.step("the report open in a browser, drawn"):
            tab.go(clone / "bleep-demo" / "demo-slide.html")
        assert tab.console == [], tab.console
    return clone


def from_the_wheels(walk: Walk, clone: Path, folder: Path, slide: Path, squidpy: str) -> None:
    """Wheelhouse, installation and prediction without a network, and what other programs take."""
    walk.run("`make wheelhouse`", ["make", "wheelhouse", f"PYTHON={sys.executable}"], clone)
    away = folder / "another machine"
    away.mkdir()
    shutil.move(clone / "wheels", away / "wheels")
    shutil.copy(slide, away / slide.name)
    *install, check = offline_lines(clone)
    offline = [*NO_NETWORK, "bash", "-e", "-c"]
    walk.run("installed offline, from the wheels", [*offline, "\n".join(install)], away)
    walk.run("`bleep doctor && bleep demo`, offline", [*offline, check], away)
    line = f"bleep/bin/bleep predict '{slide.name}' --ref demo -o results --format h5ad,geojson"
    walk.run(f"`bleep predict {slide.name} --format h5ad,geojson`, offline", [*offline, line], away)
    with walk.step("QuPath's GeoJSON read"):
        drawn = json.loads((away / "results" / f"{slide.stem}.bleep.geojson").read_text(encoding="utf-8"))
    tiles = drawn["features"]
    print(f"{len(tiles)} tiles with {len(tiles[0]['properties']['measurements'])} measurements each")
    plot = [squidpy, "-W", "ignore", "-c", PLOT, f"results/{slide.stem}.h5ad", GENE, str(away / "squidpy.png")]
    walk.run("plotted by squidpy", plot, away)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--slide", type=Path, default=Path("CMU-1-Small-Region.svs"))
    parser.add_argument("--squidpy", default=sys.executable)
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    walk, folder = Walk(), arguments.folder.resolve()
    clone = from_the_clone(walk, folder)
    from_the_wheels(walk, clone, folder, arguments.slide.resolve(), arguments.squidpy)


if __name__ == "__main__":
    main()
