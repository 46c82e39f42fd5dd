"""``bleep qc`` on the command line: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from made_nuclei import tissue
from PIL import ImageFilter

from bleep_cli.cli import app
from bleep_cli.errors import SlideError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.qc.told import SlideQuality


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Tissue in focus, and the same out of focus."""
    folder, image = tmp_path_factory.mktemp("qc"), tissue(6)
    image.save(folder / "sharp.png")
    image.filter(ImageFilter.GaussianBlur(6)).save(folder / "soft.png")
    return folder / "sharp.png", folder / "soft.png"


def run(*words: object) -> None:
    assert not app([str(word) for word in words], standalone_mode=False)


def test_it_prints_lines_and_a_picture_or_a_record(
    slides: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("qc", slides[0], "--mpp", "0.5", "-o", tmp_path / "qc.png")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "sharp.png: fit to predict, as far as it could be judged"
    names = [line.split(":")[0].strip() for line in lines[1:-1]]
    assert names == ["scale", "stain", "focus", "tissue", "pen ink", "folds", "strange tiles"]
    assert lines[-1] == f"  picture {tmp_path / 'qc.png'}"
    run("--json", "qc", slides[0], "--mpp", "0.5")
    record = json.loads(capsys.readouterr().out)
    assert (record["verdict"], record["reasons"], record["picture"]) == ("fit to predict", [], None)


def test_a_doubtful_slide_is_refused_when_strict_alone(
    slides: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run("qc", slides[1], "--mpp", "0.5")
    told = capsys.readouterr()
    assert told.out.startswith("soft.png: doubtful (focus-soft)")
    assert "warning: soft.png: out of focus" in told.err
    with pytest.raises(SlideError, match="refused, as strict asks"):
        run("qc", slides[1], "--mpp", "0.5", "--strict")


def test_a_slide_that_is_not_fit_ends_with_exit_code_3(
    slides: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = SlideQuality("not fit", {"verdict": "not fit"}, ["a: not fit"], (Finding("mpp-doubtful", "x", "a"),))
    monkeypatch.setattr("bleep_cli.api.qc", lambda *_args, **_options: found)
    with pytest.raises(SlideError, match="a: not fit") as caught:
        run("--json", "qc", slides[0])
    assert caught.value.exit_code == 3
    assert json.loads(capsys.readouterr().out) == {"verdict": "not fit"}


def test_a_picture_of_another_kind_is_refused(slides: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"has to be \.png"):
        run("qc", slides[0], "-o", tmp_path / "qc.pdf")
