"""``bleep inspect COHORT.toml``: every section is read, told of and drawn, and every bad one is listed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bleep_cli.checks.cohort import cohort_lines, cohort_record, inspect_cohort
from bleep_cli.errors import OutputError, ReferenceError, UsageError
from bleep_cli.plotting.section import FOOTER, SpotPicture, section_figure

Make = Callable[..., Path]


def bleep(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "bleep_cli.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def broken(make_sections: Make) -> Path:
    """Five sections: a good one, a picture on its side, no picture, no counts, no keys; and a good one again."""
    path = make_sections(("st", "st", "st", "st", "tiff"))
    folder = path.parent
    with Image.open(folder / "S1.png") as image:
        image.transpose(Image.Transpose.ROTATE_270).save(folder / "S1.png")
    (folder / "S2.png").unlink()
    (folder / "S3.tsv").write_text("nothing\n")
    tables = path.read_text().split("[[section]]")
    tables.insert(5, '\nid = "S9"\ncounts = "S0.tsv"\npositions = "S0-spots.tsv"\n\n')
    path.write_text("[[section]]".join(tables))
    return path


def test_what_is_told_of_a_section(make_sections: Make) -> None:
    path = make_sections(("st", "tiff", "spaceranger"))
    report = inspect_cohort(path)
    record: dict[str, Any] = json.loads(json.dumps(cohort_record(report)))
    assert (record["name"], record["refused"], [s["id"] for s in record["sections"]]) == (
        "cohort.toml",
        [],
        ["S0", "S1", "S2"],
    )
    first, _, last = record["sections"]
    spots = len((path.parent / "S0-spots.tsv").read_text().splitlines()) - 1
    totals = [
        sum(map(int, line.split("\t")[1:])) for line in (path.parent / "S0.tsv").read_text().splitlines()[1:]
    ]
    low, middle, high = np.percentile(totals, (25, 50, 75))
    told = {"least": min(totals), "lower_quartile": low, "median": middle, "upper_quartile": high}
    assert first["counts_per_spot"] == told
    assert {key: first[key] for key in ("donor", "spots", "genes", "gene_names", "species")} == {
        "donor": "DS0",
        "spots": spots,
        "genes": 12,
        "gene_names": "symbols",
        "species": "Homo sapiens",  # GENE0, GENE1, ... are written as human ones are
    }
    keys = (
        "picture",
        "picture_px",
        "mpp",
        "mpp_from",
        "spots_outside",
        "spots_on_glass",
        "tile_um",
        "error",
        "file",
    )
    assert [first[key] for key in keys] == [
        *("S0.png", [300, 200], 4.0, "the cohort file or folder", 0, 0, 155.0, None, None)
    ]
    assert first["pitch_um"] == pytest.approx(80.0)
    assert (record["sections"][1]["mpp_from"], last["gene_names"]) == ("the picture", "ids")
    lines = cohort_lines(report)
    assert lines[0] == "cohort.toml: 3 sections, 0 of them refused"
    assert lines[1] == "S0: ok, donor DS0"
    assert f"  {spots} spots × 12 genes, named by symbols of Homo sapiens" in lines
    assert "  S0.png: 300 × 200 px, 4 µm/px by the cohort file or folder" in lines
    assert "  0 spots outside it, 0 on glass; they lie 80 µm apart, the smallest tiles are 155 µm" in lines


def test_every_bad_section_is_listed_and_drawn_as_far_as_it_goes(broken: Path, tmp_path: Path) -> None:
    report = inspect_cohort(broken, tmp_path / "out")
    assert [(s.id, s.error is not None) for s in report.sections] == [
        *(("S0", False), ("S1", True), ("S2", True), ("S3", True), ("S9", True), ("S4", False))
    ]
    told = [str(error) for error in report.errors]
    assert 'say orientation "turned by 90 degrees" if the picture was' in told[0]
    assert told[1] == "section S2: no image S2.png"
    assert told[2].startswith("section S3: ")
    assert told[3] == "cohort.toml, section S9: donor, image missing"
    drawn = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert drawn == ["S0.spots.png", "S1.spots.png", "S4.spots.png"]  # the turned one, too: for a person to see


def test_the_command_lists_them_and_ends_with_the_first_ones_code(broken: Path, tmp_path: Path) -> None:
    result = bleep("inspect", broken, "-o", tmp_path / "out", "--json")
    assert result.returncode == ReferenceError.exit_code
    assert json.loads(result.stdout)["refused"] == ["S1", "S2", "S3", "S9"]
    lines = result.stderr.strip().splitlines()
    assert lines[-1] == "bleep: cohort.toml: 4 of 6 sections cannot be used: S1, S2, S3, S9"
    assert 'say orientation = "turned by 90 degrees"' in result.stderr  # as the cohort file writes it
    assert "Traceback" not in result.stderr and str(tmp_path) not in result.stderr
    again = bleep("inspect", broken, "-o", tmp_path / "out")
    assert again.returncode == OutputError.exit_code
    assert again.stderr.strip() == "bleep: S0.spots.png exists already; --force replaces it"


def test_strict_refuses_warnings(make_sections: Make) -> None:
    path = make_sections(("tiff",))
    plain, strict = bleep("inspect", path), bleep("inspect", path, "--strict")
    assert (plain.returncode, strict.returncode) == (0, ReferenceError.exit_code)
    assert "warning: S0: S0.tif has 4 µm per pixel, tiles of 155 µm are read at 0.692" in plain.stderr
    assert "S0.tif has 4 µm per pixel" in strict.stderr.splitlines()[-1]


def test_a_file_that_is_broken_as_a_whole(tmp_path: Path, make_sections: Make) -> None:
    with pytest.raises(UsageError, match="no such cohort file"):
        inspect_cohort(tmp_path / "c.toml")
    path = make_sections(("st",))
    path.write_text(path.read_text() * 2)
    with pytest.raises(ReferenceError, match="two sections have the same id"):
        inspect_cohort(path)
    result = bleep("inspect", path)
    assert result.returncode == ReferenceError.exit_code and not result.stdout


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("a.zarr.zip", ["-o", "x"], "-o is for a cohort; a.zarr.zip is taken for a bundle"),
        ("a.zarr.zip", ["--mpp", "0.5"], "--mpp is for a slide; a.zarr.zip is taken for a bundle"),
        ("a.tif", ["--ref-key", "k.pub"], "--ref-key is for a bundle; a.tif is taken for a slide"),
        ("a.tif", ["--ref-sha256", "0" * 64], "--ref-sha256 is for a bundle; a.tif is taken for a slide"),
        ("c.toml", ["--genes", "all"], "--genes is for a bundle; c.toml is taken for a cohort"),
    ],
)
def test_an_option_of_another_kind_is_not_passed_over(
    name: str, given: list[str], told: str, tmp_path: Path
) -> None:
    (tmp_path / name).touch()
    result = bleep("inspect", tmp_path / name, *given)
    assert (result.returncode, result.stderr.strip()) == (UsageError.exit_code, f"bleep: {told}")


def test_ids_become_names_of_files(make_sections: Make, tmp_path: Path) -> None:
    path = make_sections(("tiff", "tiff", "tiff"))
    text = path.read_text().replace('id = "S0"', 'id = "a/b"').replace('id = "S1"', 'id = "a b"')
    path.write_text(text.replace('id = "S2"', 'id = "../ä"'))
    inspect_cohort(path, tmp_path / "out")
    drawn = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert drawn == [".._ä.spots.png", "1-a_b.spots.png", "2-a_b.spots.png"]


def test_sections_of_different_species_are_warned_of(make_sections: Make) -> None:
    path = make_sections(("st", "st"))
    counts = path.parent / "S1.tsv"
    counts.write_text(counts.read_text().replace("GENE", "Gene"))
    report = inspect_cohort(path)
    (told,) = [finding for finding in report.findings if finding.code == "species-mixed"]
    assert told.what.endswith("(S0: Homo sapiens, S1: Mus musculus or Rattus norvegicus)")


def picture(**given: Any) -> SpotPicture:
    spots = {
        "overview": np.full((100, 200, 3), 230, np.uint8),
        "um_per_hires": 8.0,
        "xy_hires": np.array([[50.0, 50.0], [62.5, 50.0], [230.0, 50.0]]),
        "pitch_hires": 12.5,
        "totals": np.array([100.0, 300.0, 200.0]),
        "astray": np.array([False, False, True]),
        "title": "S (donor D)",
        "below": "3 spots",
    }
    return SpotPicture(**(spots | given))


def test_the_picture_of_a_section() -> None:
    figure = section_figure(picture())
    left, right, bar = figure.axes
    assert [text.get_text() for text in figure.texts] == ["S (donor D)", "3 spots", FOOTER]
    assert (bar.get_ylabel(), [text.get_text() for text in left.texts]) == ("counts per spot", ["200 µm"])
    good, astray = left.collections
    assert (good.get_offsets().tolist(), astray.get_offsets().tolist()) == (
        [[50.0, 50.0], [62.5, 50.0]],
        [[230.0, 50.0]],
    )
    assert left.get_xlim()[1] >= 230  # what lies beside the picture is in the window
    filled = right.collections[1]
    assert filled.get_array().tolist() == [100.0, 300.0, 200.0]
    assert filled.get_widths().tolist() == [pytest.approx(0.55 * 12.5)] * 3  # of Visium: 55 of 100 µm
