"""Slides judged by a reference, and without one: made-up tissue whose faults are known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from made_looks import looking
from made_nuclei import section, tissue
from PIL import Image, ImageDraw, ImageFilter

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import OutputError, SlideError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.fitting.looks import stain_of
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.qc.check import verdict_of
from bleep_cli.qc.slide import LEAST_EMBEDDED, qc
from bleep_cli.reference.build import build_reference
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.signatures.make import signature_or_why
from bleep_cli.signatures.tiles import spread
from bleep_cli.tiles.read import read_tiles
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import Section, TileSpec

MPP = 0.5
UM = (600, 500)
BORDER_UM = 200


@pytest.fixture(scope="module")
def reference(
    small_sections: list[Section], make_encoders: Callable[..., Encoders], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    path = tmp_path_factory.mktemp("qc") / "ref.zarr.zip"
    built = with_reliability(build_reference(small_sections, looking(make_encoders()), device="cpu"))
    write_bundle(path, built.info, built.arrays)
    return path


def on_glass(image: Image.Image) -> Image.Image:
    """Tissue in the middle of a glass."""
    rim = round(BORDER_UM / MPP)
    slide = Image.new("RGB", (image.width + 2 * rim, image.height + 2 * rim), (243, 242, 244))
    slide.paste(image, (rim, rim))
    return slide


def saved(folder: Path, image: Image.Image) -> Path:
    image.save(folder / "slide.png")
    return folder / "slide.png"


def test_as_many_tiles_are_strange_as_a_prediction_says(reference: Path, query_slide: Path) -> None:
    found = qc(query_slide, reference, device="cpu")
    predicted = Predictor(reference, PredictOptions(device="cpu")).predict(query_slide)
    strange = found.record["checks"]["strange_tiles"]
    rows = spread(predicted.grid.centre_l0, LEAST_EMBEDDED)  # its eight views cost as much as eight tiles
    assert (strange["tiles"], strange["share"]) == (64, round(np.mean(predicted.obs["ood"][rows]), 4))
    assert found.record["checks"]["stain"]["state"] == "good"
    assert found.record["reference"]["content_sha256"] == open_bundle(reference).content_sha256
    assert found.record["not_judged"] == ["scale", "focus", "folds"]


def test_the_references_stain_is_that_of_its_sections(
    reference: Path, query_slide: Path, small_sections: list[Section]
) -> None:
    told = qc(query_slide, reference, device="cpu").record["checks"]["stain"]
    own = []
    for one in small_sections:
        with section_slide(one) as slide:
            grid = section_grid(one, slide.mpp, open_bundle(reference).info.tile)
            own.append(stain_of(read_tiles(slide, grid, 0, len(grid))))
    mean = np.concatenate(own).mean(axis=0)
    np.testing.assert_allclose(told["reference_density_mean"], mean[:3], atol=0.02)
    np.testing.assert_allclose(told["reference_density_sd"], mean[3:], atol=0.02)


def test_another_stain_is_told_and_not_fit(reference: Path, query_slide: Path, tmp_path: Path) -> None:
    pixels = np.asarray(Image.open(query_slide).convert("RGB")).astype(float)
    glass = (pixels > 225).all(axis=2, keepdims=True)
    dark = saved(tmp_path, Image.fromarray(np.where(glass, pixels, pixels * 0.5).astype(np.uint8)))
    found = qc(dark, reference, mpp=4.0, device="cpu")
    assert found.verdict == "not fit"
    assert {f.code for f in found.findings if f.severity == "warning"} == {"stain-differs", "slide-strange"}
    density = found.record["checks"]["stain"]["density_mean"]
    plain = qc(query_slide, device="cpu", mpp=4.0).record["checks"]["stain"]["density_mean"]
    assert np.all(np.array(density) > np.array(plain) + 0.3)


@pytest.mark.slow
def test_a_wrong_scale_is_not_fit_and_focus_then_not_judged(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = [section(tmp_path / f"{seed}.png", tissue(seed), MPP, f"S{seed}") for seed in (1, 2)]
    signature, _ = signature_or_why(sections, TileSpec(224, (112.0,)))
    monkeypatch.setattr(Bundle, "signature", lambda _self: signature)
    slide = saved(tmp_path, tissue(7))
    right, wrong = (qc(slide, small_bundle, mpp=mpp, device="cpu") for mpp in (MPP, 2 * MPP))
    assert right.record["checks"]["scale"]["state"] == "good"
    assert right.verdict == "fit to predict"
    assert wrong.verdict == "not fit"
    scale = wrong.record["checks"]["scale"]
    assert (scale["state"], scale["verdict"]) == ("bad", "doubtful")
    assert scale["low"] < MPP < scale["high"]
    assert wrong.record["checks"]["focus"]["state"] == "not judged"
    assert [reason.split(":")[0] for reason in wrong.record["reasons"]] == ["mpp-doubtful"]


def test_without_a_reference_area_and_focus_are_told(tmp_path: Path) -> None:
    found = qc(saved(tmp_path, on_glass(tissue(4))), mpp=MPP)
    checks = found.record["checks"]
    assert found.verdict == "fit to predict"
    assert found.lines[0] == "slide.png: fit to predict, as far as it could be judged"
    assert checks["tissue"]["area_mm2"] == pytest.approx(UM[0] * UM[1] / 1e6, rel=0.1)
    assert (checks["tissue"]["pieces"], checks["pen_ink"]["share"]) == (1, 0.0)
    assert found.record["not_judged"] == ["scale", "stain", "folds", "strange tiles"]


def test_a_blurred_slide_is_doubtful(tmp_path: Path) -> None:
    found = qc(saved(tmp_path, on_glass(tissue(4)).filter(ImageFilter.GaussianBlur(3 / MPP))), mpp=MPP)
    assert (found.verdict, [f.code for f in found.findings]) == ("doubtful", ["focus-soft"])


def test_the_share_of_ink_is_that_of_the_stroke(tmp_path: Path) -> None:
    image = on_glass(tissue(4))
    middle = image.height // 2
    stroke = [(0, middle), (image.width, middle)]
    ImageDraw.Draw(image).line(stroke, fill=(30, 60, 180), width=round(60 / MPP))
    found = qc(saved(tmp_path, image), mpp=MPP)
    ink = found.record["checks"]["pen_ink"]
    assert ink["colours"][0] == "blue"
    long, tissue_um2 = image.width * MPP, UM[0] * UM[1]
    narrow, wide = (long * w / (tissue_um2 + (long - UM[0]) * w) for w in (60, 60 + 3 * 8))  # a rim on each side
    assert narrow < ink["share"] < wide
    assert {"ink-left-out", "tiles-ink-left-out"} <= {f.code for f in found.findings}


def test_a_mask_says_where_the_tissue_is(tmp_path: Path) -> None:
    image = on_glass(tissue(4))
    mask = Image.new("L", image.size)
    mask.paste(255, (400, 400, 1000, 1400))
    mask.save(tmp_path / "mask.png")
    found = qc(saved(tmp_path, image), mpp=MPP, mask=tmp_path / "mask.png")
    assert found.record["checks"]["tissue"]["area_mm2"] == pytest.approx(0.3 * 0.5, rel=0.05)


def test_the_picture_comes_whole_and_replaces_nothing_unasked(tmp_path: Path) -> None:
    slide = saved(tmp_path, on_glass(tissue(4)))
    first = qc(slide, mpp=MPP, out=tmp_path / "a.png")
    qc(slide, mpp=MPP, out=tmp_path / "b.png")
    assert first.record["picture"] == str(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        qc(slide, mpp=MPP, out=tmp_path / "a.png")
    for out, words in ((tmp_path / "a.pdf", "has to be .png"), (slide, "would replace what it is made of")):
        with pytest.raises(UsageError, match=words):
            qc(slide, mpp=MPP, out=out, force=True)


def test_a_hash_without_a_reference_is_refused(query_slide: Path) -> None:
    with pytest.raises(UsageError, match="ref_sha256 is of a ref"):
        qc(query_slide, ref_sha256="0" * 64)


def test_glass_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="no tissue"):
        qc(saved(tmp_path, Image.new("RGB", (800, 800), (243, 242, 244))), mpp=MPP)


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [((), "fit to predict"), (("ink-left-out",), "fit to predict"), (("focus-soft",), "doubtful")]
    + [((code, "focus-soft"), "not fit") for code in ("mpp-doubtful", "slide-strange")],
)
def test_the_verdict_is_the_worst_finding(codes: tuple[str, ...], verdict: str) -> None:
    assert verdict_of(Finding(code, "") for code in codes) == verdict
