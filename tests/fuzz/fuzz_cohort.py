"""Cohort files, altered: read as far as they name sections."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from doors import Samples

from bleep_cli.cohort.cohort_file import cohort_entries, cohort_texts
from bleep_cli.errors import ReferenceError, UsageError

SOUND = """
species = "human"
licence = "CC0-1.0"
citation = "Nobody, 2020"
min_counts = 1

[[section]]
id = "A"
donor = "D1"
image = "A.tif"
counts = "A.tsv"
positions = "A-spots.tsv"
mpp = 0.5
scene = 0

[[section]]
id = "B"
donor = "D2"
image = "B.tif"
spaceranger = "B/outs"
"""


class CohortFile(Samples):
    """A file of two sections."""

    def __init__(self, folder: Path) -> None:
        path = folder / "cohort.toml"
        path.write_text(SOUND, encoding="utf-8")
        super().__init__(folder, {path: partial(self._read, path)}, ReferenceError, UsageError)

    @staticmethod
    def _read(path: Path) -> None:
        entries = cohort_entries(path)
        assert len({entry["id"] for entry in entries}) == len(entries) > 0
        assert all(isinstance(text, str) for text in cohort_texts(path).values())


door = CohortFile
