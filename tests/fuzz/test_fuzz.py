"""A short run of every door's fuzzing; ``python tools/trials/fuzz.py DOOR --minutes N`` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from doors import DOORS, find, fuzz

ATTEMPTS = 60


@pytest.mark.parametrize("name", DOORS)
def test_altered_input_is_refused_or_read(name: str, tmp_path: Path) -> None:
    ended, faults = fuzz(find(name)(tmp_path), range(ATTEMPTS))
    assert [f"seed {fault.seed}: {fault.error!r}" for fault in faults] == []
    assert sum(ended.values()) == ATTEMPTS and len(ended) > 1  # it alters, and not everything is refused


def test_every_file_of_a_door_is_registered() -> None:
    files = {path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.py")}
    assert files == set(DOORS)
