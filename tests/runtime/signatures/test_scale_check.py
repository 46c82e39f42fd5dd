"""A slide weighed against the signature of a reference: made-up tissue, and sections that took no part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_nuclei import checks, section, small_signature, tissue
from PIL import Image, ImageFilter

from bleep_cli.bundle.contents import SectionRecord
from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.signatures.make import signature_or_why
from bleep_cli.signatures.scale import ERROR, NO_CHECK, ScaleCheck, check_scale, kept_out_groups, told_of
from bleep_cli.signatures.tiles import backbone_sha256
from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.grid import grid_over_tissue
from bleep_cli.tiles.mask import find_tissue
from bleep_cli.tiles.positions import read_positions
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import Section, TileSpec

SPEC = TileSpec(224, (112.0,))
MPP = 0.5


def records(sections: list[Section]) -> list[SectionRecord]:
    return [SectionRecord(s.id, s.sha256, s.donor, len(s.barcodes)) for s in sections]


@pytest.fixture(scope="module")
def sections(tmp_path_factory: pytest.TempPathFactory) -> list[Section]:
    folder = tmp_path_factory.mktemp("tissue")
    return [section(folder / f"{seed}.png", tissue(seed), MPP, f"S{seed}") for seed in (1, 2)]


@pytest.fixture(scope="module")
def signature(sections: list[Section]) -> Signature:
    made, none = signature_or_why(sections, SPEC)
    assert made is not None and none == ()
    return made


Weigh = Callable[..., ScaleCheck]


@pytest.fixture
def weighed(signature: Signature, sections: list[Section], tmp_path: Path) -> Weigh:
    """Weighs a picture that is ``mpp``, by the tiles over it every 60 µm."""

    def check(image: Image.Image, mpp: float) -> ScaleCheck:
        made = section(tmp_path / "q.png", image, mpp, "Q", pitch_um=60.0)
        slide = open_slide(made.image, mpp)
        grid = section_grid(made, mpp, SPEC)
        found = check_scale(slide, grid, np.ones(len(grid), bool), signature, records(sections))
        slide.close()
        return found

    return check


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_a_scale_wrong_by_two_is_doubted_and_the_right_one_named(weighed: Weigh, factor: float) -> None:
    found = weighed(tissue(7), MPP * factor)
    assert found.verdict == "doubtful"
    assert found.estimate is not None and found.low is not None and found.high is not None
    assert found.low < MPP < found.high
    assert found.high / found.low == pytest.approx(ERROR**2)


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], float]] = {
    "as it is": (lambda image: image, MPP),
    "of half the resolution, and so stated": (lambda image: image.reduce(2), 2 * MPP),
    "enlarged from half the resolution": (lambda image: image.reduce(2).resize(image.size), MPP),
    "of twice the resolution, and so stated": (
        lambda image: image.resize((2 * image.width, 2 * image.height)),
        MPP / 2,
    ),
    "blurred by a pixel": (lambda image: image.filter(ImageFilter.GaussianBlur(1)), MPP),
    "stained half as much again": (
        lambda image: image.point([round(255 * (v / 255) ** 1.5) for v in range(256)] * 3),
        MPP,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_right_scale_is_not_doubted(weighed: Weigh, change: str) -> None:
    make, mpp = CHANGES[change]
    found = weighed(make(tissue(8)), mpp)
    assert found.verdict == "agrees", found
    assert found.low is not None and found.high is not None and found.low < mpp < found.high


def test_what_does_not_look_like_the_reference_is_not_judged(weighed: Weigh) -> None:
    for mpp in (MPP / 2, MPP, 2 * MPP):
        found = weighed(checks(3), mpp)
        assert found == ScaleCheck("not checked", reason="its tissue does not look like the reference's")


def test_too_coarse_too_little_and_no_signature_are_told_apart(
    weighed: Weigh, sections: list[Section], signature: Signature, tmp_path: Path
) -> None:
    assert weighed(tissue(8).reduce(4), 4 * MPP).reason == "2 µm/px are too coarse to tell"
    assert weighed(tissue(8, um=(200, 150)), MPP).reason == "6 tiles in tissue are too few"
    made = section(tmp_path / "q.png", tissue(8), MPP, "Q", pitch_um=60.0)
    slide = open_slide(made.image, MPP)
    grid = section_grid(made, MPP, SPEC)
    inside = np.ones(len(grid), bool)
    assert check_scale(slide, grid, inside, None, records(sections)) == NO_CHECK
    other = replace(signature, backbone_sha256="another")
    told = check_scale(slide, grid, inside, other, records(sections))
    assert (told.verdict, told.reason) == ("not checked", "the reference's signature is by another network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bleep_cli.signatures.tiles.BACKBONE", "absent.onnx")
        told = check_scale(slide, grid, inside, signature, records(sections))
        assert (told.verdict, told.reason.split(";")[0]) == ("not checked", "this installation lacks absent.onnx")
    few = replace(small_signature(11), backbone_sha256=backbone_sha256())
    assert check_scale(slide, grid, inside, few, records(sections)).reason.endswith("of too few tiles")
    assert check_scale(slide, grid, np.arange(len(grid)) < 11, signature, records(sections)).reason.startswith(
        "11 tiles"
    )
    slide.close()


def test_only_a_doubtful_scale_is_a_finding(sections: list[Section]) -> None:
    with section_slide(sections[0]) as slide:
        assert told_of(NO_CHECK, slide) == []
        assert told_of(ScaleCheck("agrees", 0.5, 0.4, 0.6), slide) == []
        (told,) = told_of(ScaleCheck("doubtful", 0.52, 0.39, 0.7), slide)
    assert (told.code, told.severity, told.where) == ("mpp-doubtful", "warning", "1.png")
    assert str(told) == (
        "1.png: 0.5 µm/px are stated, but the tissue looks like the reference's at about 0.52 (0.39 to 0.7); "
        "see where the scale comes from, and give the right one with mpp"
    )


def test_distances_are_measured_against_other_donors_else_sections_else_bands() -> None:
    def record(donor: str) -> SectionRecord:
        return SectionRecord("s", "", donor, 1)

    section = np.array([0, 0, 1, 2])
    assert kept_out_groups(section, [record("a"), record("a"), record("b")]).tolist() == [0, 0, 0, 1]
    assert kept_out_groups(section, [record("a")] * 3).tolist() == [0, 0, 1, 2]
    assert kept_out_groups(np.zeros(8, np.int64), [record("a")]).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@pytest.mark.slow
def test_a_section_that_took_no_part_and_other_tissue(data_dir: Path) -> None:
    names = ("C2", "C3", "C4", "C5")
    files = {name: data_dir / f"her2st/images/{name}.jpg" for name in names}
    spots = {name: read_positions(data_dir / f"her2st/spots/{name}_selection.tsv").xy_l0 for name in names}
    none = np.empty(0, str)
    kept = [
        Section(n, "C", n, None, none, none, np.arange(len(spots[n])).astype(str), spots[n], str(files[n]), 0.69)
        for n in names[:3]
    ]
    made, _ = signature_or_why(kept, TileSpec(224, (155.0,)))

    def verdicts(path: Path, mpp: float) -> list[str]:
        found = []
        for factor in (0.5, 1.0, 2.0):
            slide = open_slide(path, mpp * factor)
            grid = grid_over_tissue(slide, find_tissue(slide), TileSpec(224, (155.0,)), 155.0, 0.5).grid
            found.append(check_scale(slide, grid, np.ones(len(grid), bool), made, records(kept)).verdict)
            slide.close()
        return found

    assert verdicts(files["C5"], 0.69) == ["doubtful", "agrees", "doubtful"]
    assert verdicts(data_dir / "slides/real/CMU-1-Small-Region.svs", 0.499) == ["not checked"] * 3
