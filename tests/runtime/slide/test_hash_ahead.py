"""A slide's hash, begun before it is asked for."""

import hashlib
import os
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from slide_samples import noise, write_tiff

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    options = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER"}
    return write_tiff(tmp_path / "a.tif", noise(300, 200), tile=(64, 64), **options)


def test_it_is_the_hash_of_the_file_and_pixels_are_read_meanwhile(picture: Path) -> None:
    with closing(open_slide(picture)) as slide:
        before = slide.read((3.0, 4.0), (50.0, 50.0), (20, 20))
        slide.hash_ahead()
        np.testing.assert_array_equal(slide.read((3.0, 4.0), (50.0, 50.0), (20, 20)), before)
        assert slide.sha256 == hashlib.sha256(picture.read_bytes()).hexdigest()


def test_a_closed_slide_leaves_no_thread_and_still_has_its_hash(picture: Path) -> None:
    with closing(open_slide(picture)) as slide:
        slide.hash_ahead()
    assert not [thread for thread in threading.enumerate() if thread.name == "bleep-hash"]
    assert slide.sha256 == hashlib.sha256(picture.read_bytes()).hexdigest()


def test_a_file_that_was_changed_after_it_was_hashed_is_told(picture: Path) -> None:
    with closing(open_slide(picture)) as slide:
        slide.hash_ahead()
        assert slide.sha256
        os.utime(picture, ns=(1, 1))
        with pytest.raises(SlideError, match="was replaced or changed while it was read"):
            _ = slide.sha256
