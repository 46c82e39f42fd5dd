"""What the build adds to a wheel, and to an editable install: OpenSeadragon, fetched once.

Without a network the build goes on without it: everything but ``bleep view`` works, and that says what to do.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BuildHook(BuildHookInterface):
    """Called by hatchling before it collects files."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Fetches what is not there; what git ignores goes into the wheel by ``artifacts`` of pyproject.toml."""
        sys.path.insert(0, str(Path(self.root) / "tools" / "distribution"))
        import openseadragon

        folder = Path(self.root) / "bleep_cli" / "viewer" / "assets" / "openseadragon"
        if openseadragon.is_there(folder):
            return
        try:
            openseadragon.fetch(folder)
        except (OSError, ValueError) as error:
            self.app.display_warning(f"bleep view will lack OpenSeadragon ({error}); make viewer fetches it")
