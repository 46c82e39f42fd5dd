"""Regions on slides of which only a part was scanned: QuPath counts from its corner, others from the slide's."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from made_results import SIZE_L0, write_halves, write_result
from slide_files import write_scn

from bleep_cli import api
from bleep_cli.comparison.compare import Compared
from bleep_cli.errors import UsageError
from bleep_cli.slide.open import open_slide

CORNER = (3000, 2000)
MRXS = {"width_px": 8000, "height_px": 6000, "bounds_l0": [*CORNER, *SIZE_L0]}
WIDE = MRXS | {"bounds_l0": [200, 200, 7000, 5000]}
"""Bounds that both planes lie in, each with tissue under most of the regions."""
NAMES = ("a", "b", "c", "d")


def compared(folder: Path, results: list[Path], regions: list[Path], **options: str | bool) -> Compared:
    rows = [f"{path.stem},{path.stem.upper()},{'case' if i % 2 else 'control'}" for i, path in enumerate(results)]
    groups = folder / "groups.csv"
    groups.write_text("\n".join(["slide,patient,group", *rows]))
    return api.compare_groups(results, groups, folder / "out", regions=regions, **options)  # type: ignore[arg-type]


def tiles(folder: Path, slide: str = "a") -> list[int]:
    """Of all tissue, Tumor and Stroma."""
    table = pd.read_csv(folder / "out" / "regions.csv")
    return [int(n) for n in table[table["slide"] == slide]["tiles"]]


def left(folder: Path, slide: str = "a") -> list[float]:
    """Means of a gene that the left half of the tiles has more of: in all tissue, Tumor and Stroma."""
    table = pd.read_csv(folder / "out" / "mean.csv")
    return [float(value) for value in table[table["slide"] == slide]["LEFT"]]


@pytest.mark.parametrize("origin", ["auto", "named"])
@pytest.mark.parametrize(("counted", "plane", "words"), [
    ((0, 0), "bounds", "the corner of the scanned part, as in QuPath"),
    (CORNER, "level0", "the corner of the slide"),
])  # fmt: skip
def test_regions_are_laid_where_the_tissue_is(
    tmp_path: Path, counted: tuple[int, int], plane: str, words: str, origin: str
) -> None:
    results = [write_result(tmp_path, name, 1.0, slide=MRXS, corner=CORNER) for name in NAMES]
    outlines = [write_halves(tmp_path, name, counted) for name in NAMES]
    found = compared(tmp_path, results, outlines, origin="auto" if origin == "auto" else plane)
    assert tiles(tmp_path) == [24, 12, 12]
    assert left(tmp_path) == [2, 3, 1]
    told = [finding for finding in found.findings if finding.code == "plane-taken"]
    assert [finding.where for finding in told] == ([f"{name}.svs" for name in NAMES] if origin == "auto" else [])
    assert all(f"is taken to count from {words} (" in finding.what for finding in told)
    assert not [finding for finding in found.findings if finding.code.startswith("mask-")]


def test_the_other_corner_asked_for_misses_the_tissue_and_is_told(tmp_path: Path) -> None:
    results = [write_result(tmp_path, name, 1.0, slide=MRXS, corner=CORNER) for name in NAMES]
    outlines = [write_halves(tmp_path, name) for name in NAMES]
    found = compared(tmp_path, results, outlines, origin="level0")
    assert tiles(tmp_path) == [24, 0, 0]
    codes = [finding.code for finding in found.findings if finding.where in ("a", "a.svs")]
    assert sorted(codes) == ["mask-off-tissue", "region-empty", "region-empty"]


def test_where_either_may_be_right_it_is_warned_of_and_strict_refuses(tmp_path: Path) -> None:
    results = [write_result(tmp_path, name, 1.0, slide=WIDE, corner=(300, 300)) for name in NAMES]
    outlines = [write_halves(tmp_path, name, (200, 200)) for name in NAMES]
    with pytest.raises(UsageError, match=r"either may be right.*origin says which it is.*refused, as strict asks"):
        compared(tmp_path, results, outlines, strict=True)
    found = compared(tmp_path, results, outlines)
    assert sum(finding.code == "plane-unsure" for finding in found.findings) == len(NAMES)


def test_outlines_of_a_reduced_copy_are_told(tmp_path: Path) -> None:
    """Drawn on a picture of a thirty-second of the slide's resolution, they lie in its corner."""
    plain = MRXS | {"bounds_l0": [0, 0, 8000, 6000]}
    results = [write_result(tmp_path, name, 1.0, slide=plain, corner=CORNER) for name in NAMES]
    outlines = [write_halves(tmp_path, name, CORNER, 1 / 32) for name in NAMES]
    found = compared(tmp_path, results, outlines)
    assert sum(finding.code == "mask-off-tissue" for finding in found.findings) == len(NAMES)
    assert tiles(tmp_path) == [24, 0, 0]


def test_outlines_that_miss_their_slides_are_refused_all_at_once(tmp_path: Path) -> None:
    results = [write_result(tmp_path, name, 1.0) for name in NAMES]
    outlines = [write_halves(tmp_path, name, (50_000, 0)) for name in NAMES]
    with pytest.raises(UsageError) as caught:
        compared(tmp_path, results, outlines)
    lines = caught.value.text.splitlines()
    assert len(lines) == len(NAMES)
    assert lines[0] == (
        "a.svs: the outlines of a.geojson do not touch the slide: they reach x 50000 to 51200, y 0 to 800, "
        "the slide x 0 to 1200, y 0 to 800 (level-0 px)"
    )
    assert not (tmp_path / "out").exists()


def test_what_is_no_polygon_is_counted_and_errors_name_the_option(tmp_path: Path) -> None:
    results = [write_result(tmp_path, name, 1.0) for name in NAMES]
    outlines = [write_halves(tmp_path, name) for name in NAMES]
    drawn = json.loads(outlines[0].read_text())
    point = {"type": "Feature", "properties": {}, "geometry": {"type": "Point", "coordinates": [1, 1]}}
    outlines[0].write_text(json.dumps(drawn | {"features": [*drawn["features"], point]}))
    found = compared(tmp_path, results, outlines)
    assert [f.where for f in found.findings if f.code == "mask-passed-over"] == ["a"]
    outlines[0].write_text(json.dumps(drawn | {"features": [point]}))
    with pytest.raises(UsageError) as caught:
        compared(tmp_path, results, outlines, force=True)
    assert "regions" in str(caught.value) and "mask" not in str(caught.value)


def test_from_a_scanned_slide_to_the_table(tmp_path: Path, small_bundle: Path, query_slide: Path) -> None:
    """A real slide with bounds, predicted; regions drawn over it as QuPath counts."""
    slide = open_slide(query_slide)
    try:
        size, mpp = slide.size_l0, slide.mpp
        pixels = slide.read((0, 0), size, size)
    finally:
        slide.close()
    results, outlines = [], []
    options = api.PredictOptions(mpp=mpp)  # its objective says otherwise
    for name in NAMES:
        scanned = write_scn(tmp_path / f"{name}.scn", pixels, (4 * size[0], 4 * size[1]), size, mpp)
        prediction = api.Predictor(small_bundle, options).predict(scanned)
        results.append(api.write(prediction, tmp_path / f"{name}.h5ad"))
        x, _ = prediction.grid.centre_l0.T - size[0]
        middle = float((x.min() + x.max()) / 2)
        halves = (("Tumor", 0, middle), ("Stroma", middle, size[0]))
        features = [
            {
                "type": "Feature",
                "properties": {"classification": {"name": label}},
                "geometry": {"type": "Polygon", "coordinates": [[[a, 0], [b, 0], [b, size[1]], [a, size[1]]]]},
            }
            for label, a, b in halves
        ]
        outlines.append(tmp_path / f"{name}.geojson")
        outlines[-1].write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    wanted = [len(x), int((x < middle).sum()), int((x >= middle).sum())]
    compared(tmp_path, results, outlines)
    assert tiles(tmp_path) == wanted
    assert min(wanted) > 0
