"""Pictures are decoded once while a reference is built, and what is built of them is the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from made_models import MAP, encoder, saved
from PIL import Image

import bleep_cli
from bleep_cli.slide.open import open_slide
from bleep_cli.slide.pictures import kept
from bleep_cli.slide.pictures.flat import FlatRaster
from bleep_cli.slide.pictures.kept import keeping_pictures

Decoded = Counter[str]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoded]:
    """How often each picture was decoded, by its name."""
    found, whole = Counter[str](), FlatRaster._decode

    def counted(self: FlatRaster, data: bytes) -> Any:
        found[self._name] += 1
        return whole(self, data)

    monkeypatch.setattr(FlatRaster, "_decode", counted)
    return found


def picture(path: Path, seed: int = 0, **options: Any) -> Path:
    noise = np.random.default_rng(seed).integers(60, 200, (90, 120, 3), np.uint8)
    Image.fromarray(noise).save(path, **options)
    return path


def opened(path: Path) -> tuple[Any, ...]:
    """What there is to be seen of a picture."""
    with closing(open_slide(path, 2.0)) as slide:
        w, h = slide.size_l0
        return slide.read((0, 0), (w, h), (w, h)).tobytes(), slide.size_l0, slide.sha256, slide.findings, slide.mpp


def turned(path: Path) -> Path:
    exif = Image.Exif()
    exif[274] = 6
    return picture(path, exif=exif)


def deep(path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 4096, (90, 120, 3)).astype(np.uint16)
    path.write_bytes(imagecodecs.png_encode(noise))
    return path


@pytest.mark.parametrize("path", ["a.png", "a.jpg", "a.bmp"], ids=lambda name: name.rpartition(".")[2])
def test_a_picture_is_decoded_once(path: str, decoded: Decoded, tmp_path: Path) -> None:
    file, other = picture(tmp_path / path), picture(tmp_path / "other.png", 1)
    before = opened(file)
    with keeping_pictures():
        found = [(opened(file), opened(other)) for _ in range(3)]
    assert all(first == before for first, _ in found)
    assert decoded == {path: 2, "other.png": 1}
    opened(file)
    assert decoded[path] == 3  # what was kept is gone


@pytest.mark.parametrize("made", [turned, deep])
def test_turned_and_deep_pictures_are_the_same_again(
    made: Callable[[Path], Path], decoded: Decoded, tmp_path: Path
) -> None:
    file = made(tmp_path / "a.png")
    before = opened(file)
    with keeping_pictures():
        assert opened(file) == opened(file) == before
    assert decoded == {"a.png": 2}


def test_a_picture_that_was_replaced_is_another(decoded: Decoded, tmp_path: Path) -> None:
    file = picture(tmp_path / "a.png")
    with keeping_pictures():
        first = opened(file)
        picture(tmp_path / "new.png", 1)
        (tmp_path / "new.png").replace(file)
        assert opened(file)[0] != first[0]
    assert decoded == {"a.png": 2}


def test_what_does_not_fit_is_decoded_each_time(
    decoded: Decoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, other = picture(tmp_path / "a.png"), picture(tmp_path / "b.png", 1)
    monkeypatch.setattr(kept, "MOST_BYTES", 90 * 120 * 3)
    with keeping_pictures():
        assert [opened(first), opened(other)] == [opened(first), opened(other)]
    assert decoded == {"a.png": 1, "b.png": 2}


def test_a_full_disk_costs_time_and_nothing_else(
    decoded: Decoded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = picture(tmp_path / "a.png")
    before = opened(file)
    with Path("/dev/full").open("r+b", buffering=0) as full:
        monkeypatch.setattr(kept.tempfile, "TemporaryFile", lambda **_options: full)
        with keeping_pictures():
            assert opened(file) == opened(file) == before
    assert decoded == {"a.png": 3}


@pytest.mark.parametrize("own_towers", [False, True], ids=["encoders", "fitted"])
def test_a_build_decodes_each_section_s_picture_once(
    own_towers: bool,
    decoded: Decoded,
    write_cohort: Callable[..., Path],
    make_encoders: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cohort = write_cohort(tmp_path / "cohort", ("st", "st", "spaceranger"), n_genes=60 if own_towers else 12)

    def built(name: str) -> str:
        if own_towers:
            backbone = f"{saved(tmp_path, encoder(), 'fields_um = [64]')}:{MAP}"
            reference = bleep_cli.build_reference(cohort, backbone=backbone, views=1, device="cpu")
        else:
            reference = bleep_cli.build_reference(cohort, make_encoders(), device="cpu")
        bleep_cli.write(reference, tmp_path / name)
        return bleep_cli.open_bundle(tmp_path / name).content_sha256

    once = built("once.zarr")
    assert sorted(decoded.values()) == [1, 1, 1]
    decoded.clear()
    monkeypatch.setattr(kept, "MOST_BYTES", 0)
    assert built("each.zarr") == once
    assert min(decoded.values()) >= 3
    decoded.clear()
    monkeypatch.undo()


def test_growing_decodes_new_pictures_once(
    decoded: Decoded, small_bundle: Path, write_cohort: Callable[..., Path], tmp_path: Path
) -> None:
    cohort = write_cohort(tmp_path / "more", ("st",), first_seed=5)
    grown = bleep_cli.grow_reference(small_bundle, cohort, device="cpu")
    assert len(grown.info.sections) == 4
    assert list(decoded.values()) == [1]
