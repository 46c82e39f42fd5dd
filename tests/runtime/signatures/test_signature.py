"""The signature of sections: what is kept, of which, in how much, and how it grows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_nuclei import section, small_signature, tissue
from PIL import Image

from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.signatures.make import grow_signature, signature_or_why
from bleep_cli.signatures.tiles import (
    SCALES,
    Features,
    TileShape,
    backbone_sha256,
    evenly,
    read_tiles,
    signature_mpp,
    spread,
)
from bleep_cli.tiles.section import section_slide
from bleep_cli.types import Section, TileSpec

SPEC = TileSpec(224, (112.0,))


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    folder = tmp_path_factory.mktemp("tissue")
    fine = [section(folder / f"{s}.png", tissue(s, um=(450, 450)), 0.5, f"S{s}", pitch_um=150.0) for s in (1, 2)]
    coarse = tissue(3, um=(450, 450)).reduce(4)
    return [fine[0], section(folder / "3.png", coarse, 2.0, "S3", pitch_um=150.0), fine[1]]


@pytest.fixture(scope="module")
def signature(sections: list[Section]) -> Signature:
    made, none = signature_or_why(sections, SPEC)
    assert made is not None and none == ()
    return made


def test_tiles_are_twice_as_coarse_as_images_or_as_the_references_tiles() -> None:
    assert signature_mpp(0.69, 155.0) == pytest.approx(1.384, abs=1e-3)  # 155 µm on 112 px
    assert signature_mpp(0.25, 155.0) == pytest.approx(1.384, abs=1e-3)
    assert signature_mpp(2.76, 267.0) == 5.52


def test_every_scale_holds_the_tiles_as_they_are_read_at_it(signature: Signature, sections: list[Section]) -> None:
    assert signature.scales == SCALES
    assert (signature.px, signature.mpp) == (112, 1.0)
    assert signature.section.tolist() == [0] * 9 + [2] * 9  # the coarse one has no part in it
    assert signature.backbone_sha256 == backbone_sha256()
    assert signature.tiles.shape == (5, 18, 64)
    np.testing.assert_allclose(signature.basis.T @ signature.basis, np.eye(64), atol=1e-4)
    last = sections[2]
    with section_slide(last) as slide:
        chosen = last.xy_l0[spread(last.xy_l0, 32)]
        features = Features().of(read_tiles(slide, chosen, TileShape(112, 1.0), 1.4))
    tiles, rest = signature.project(features)
    np.testing.assert_allclose(signature.tiles[3, 9:], tiles, atol=2e-3)
    np.testing.assert_allclose(signature.rest[3, 9:], rest, atol=1e-4)
    centred = features - signature.mean
    np.testing.assert_allclose((tiles**2).sum(axis=1) + rest, (centred**2).sum(axis=1), rtol=1e-4)


def test_a_scale_is_read_as_if_it_were_stated(tmp_path: Path) -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[..., 0] = np.arange(96)
    made = section(tmp_path / "ramp.png", Image.fromarray(pixels), 2.0, "R")
    with section_slide(made) as slide:
        centre = np.array([[48.0, 32.0]])
        at = {scale: read_tiles(slide, centre, TileShape(8, 2.0), scale)[0, 4, :, 0] for scale in (0.5, 1.0, 2.0)}
    assert at[1.0].tolist() == list(range(44, 52))  # 16 µm are 8 pixels
    assert np.ptp(at[0.5].astype(int)) == 14  # stated at half: twice as many
    assert np.ptp(at[2.0].astype(int)) in (3, 4)


def test_tiles_are_spread_evenly() -> None:
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly(3, 4).tolist() == [0, 1, 2]
    assert evenly(0, 4).tolist() == []
    xy = np.array([[0.0, 30.0], [5.0, 0.0], [1.0, 0.0], [0.0, 20.0], [0.0, 10.0]])
    assert spread(xy, 5).tolist() == [2, 1, 4, 3, 0]  # from the top, from the left
    assert spread(xy, 3).tolist() == [2, 4, 0]


def test_growing_adds_tiles_in_the_same_components(signature: Signature, sections: list[Section]) -> None:
    grown = grow_signature(signature, [sections[1], sections[0]], first=3)
    assert grown is not None
    assert grown.section.tolist() == [0] * 9 + [2] * 9 + [4] * 9
    np.testing.assert_array_equal(grown.tiles[:, :18], signature.tiles)
    np.testing.assert_allclose(grown.tiles[:, 18:], signature.tiles[:, :9], atol=2e-3)
    np.testing.assert_allclose(grown.rest[:, 18:], signature.rest[:, :9], atol=1e-4)
    np.testing.assert_array_equal(grown.basis, signature.basis)


def test_what_cannot_grow_stays(sections: list[Section]) -> None:
    assert grow_signature(None, sections, first=3) is None
    others = small_signature()  # by another network
    assert grow_signature(others, sections, first=3) is others


def test_a_reference_without_a_signature_says_why(tmp_path: Path, sections: list[Section]) -> None:
    coarse = replace(sections[0], mpp=3.2)
    none, told = signature_or_why([coarse], SPEC)
    assert none is None
    assert told == (
        Finding(
            "signature-missing",
            "the scale of slides will not be checked: images of 3.2 µm/px are too coarse for it",
        ),
    )
    elsewhere = replace(sections[0], image=str(tmp_path / "elsewhere.png"))
    none, (finding,) = signature_or_why([elsewhere], SPEC)
    assert none is None
    assert "section S1: elsewhere.png: no such file" in str(finding)


def test_growing_by_an_image_that_cannot_be_read_is_refused(
    tmp_path: Path, signature: Signature, sections: list[Section]
) -> None:
    with pytest.raises(ReferenceError, match=r"elsewhere\.png: no such file"):
        grow_signature(signature, [replace(sections[0], image=str(tmp_path / "elsewhere.png"))], first=3)
