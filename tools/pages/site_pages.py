"""Builds the documentation as a site: ``build/site``, which opens from the disk and loads nothing from elsewhere.

    python tools/pages/site_pages.py [FOLDER]         (make site)

The pages stay where they are, readable on the code host. They are copied with whatever they link to into a folder
of the same shape, README.md as the first page, so that every relative link leads where it led; mkdocs then checks
links and anchors, and any warning ends the build. Needs the extra ``docs``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "docs" / "mkdocs.yml"
LINK = re.compile(r"\]\(([^)#\s]+)")


def linked(page: Path) -> set[Path]:
    """The files of the project that a page links to or shows."""
    targets = [page.parent.joinpath(found).resolve() for found in LINK.findall(page.read_text(encoding="utf-8"))]
    return {target for target in targets if target.is_file() and target.is_relative_to(ROOT)}


def sources() -> list[Path]:
    """README.md and whatever is reached from it by links: pages, pictures, examples."""
    found, waiting = {ROOT / "README.md"}, [ROOT / "README.md"]
    while waiting:
        new = linked(waiting.pop()) - found
        found |= new
        waiting += [path for path in new if path.suffix == ".md"]
    return sorted(found)


def build(folder: Path) -> None:
    """Builds the site into ``folder``, which is emptied first. Exits with mkdocs' status where it finds fault."""
    with tempfile.TemporaryDirectory() as made:
        for path in sources():
            copy = Path(made, "pages", path.relative_to(ROOT))
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
        shutil.copyfile(CONFIG, Path(made, "mkdocs.yml"))
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--clean"]
        done = subprocess.run([*command, "-f", f"{made}/mkdocs.yml", "-d", str(folder.resolve())], check=False)
    if done.returncode:
        sys.exit(done.returncode)


if __name__ == "__main__":
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site")
