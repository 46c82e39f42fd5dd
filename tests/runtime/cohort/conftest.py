"""A made-up Visium folder for the tests of its scale and of its pictures."""

from __future__ import annotations

from pathlib import Path

import pytest
from visium_sample import Sample, made_sample, write_visium


@pytest.fixture(scope="module")
def sample() -> Sample:
    """The picture and the array over it."""
    return made_sample()


@pytest.fixture
def folder(tmp_path: Path, sample: Sample) -> Path:
    """The folder that holds them, as Space Ranger writes it."""
    write_visium(tmp_path, sample)
    return tmp_path
