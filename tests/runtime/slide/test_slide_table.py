"""Every sample of the table is read as the table says, or refused in its words."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from slide_table import SAMPLES, Sample

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide


def test_samples_have_names_of_their_own() -> None:
    assert len({sample.id for sample in SAMPLES}) == len(SAMPLES)


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.shown is not None], ids=lambda s: s.id)
def test_read(tmp_path: Path, sample: Sample) -> None:
    with closing(open_slide(sample.make(tmp_path), **sample.options)) as slide:
        assert sample.shown is not None and sorted(f.code for f in slide.findings) == sorted(sample.says)
        assert all(f.where == slide.name for f in slide.findings)
        size = slide.size_l0
        assert size == sample.shown.shape[1::-1]
        pixels = slide.read((0, 0), size, size).astype(int)
        assert np.abs(pixels - sample.shown).max() <= sample.apart
        # a reduction has the same geometry, whatever level it comes from
        small = slide.read((0, 0), size, (size[0] // 8, size[1] // 8)).astype(int)
        h, w = (side // 8 * 8 for side in sample.shown.shape[:2])
        rough = sample.shown[:h, :w].reshape(h // 8, 8, w // 8, 8, 3).mean(axis=(1, 3))
        assert np.abs(small - rough)[1:-1, 1:-1].mean() < 12


@pytest.mark.parametrize("sample", [s for s in SAMPLES if s.shown is None], ids=lambda s: s.id)
def test_refused(tmp_path: Path, sample: Sample) -> None:
    with pytest.raises(SlideError) as caught:
        open_slide(sample.make(tmp_path), **sample.options)
    message = str(caught.value)
    assert all(words in message for words in sample.says), message
    assert str(tmp_path) not in message
