"""``bleep`` and ``bleep-train`` of this checkout as commands, for what runs lines as a page has them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = {"bleep": "bleep_cli.cli", "bleep-train": "bleep_train"}


def with_commands(folder: Path) -> dict[str, str]:
    """This process's environment with a new folder on its path that holds both commands, of this Python."""
    folder.mkdir()
    packages = os.pathsep.join([str(ROOT), str(ROOT / "train")])
    for name, module in MODULES.items():
        script = folder / name
        script.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" -m {module} "$@"\n')
        script.chmod(0o755)
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}
