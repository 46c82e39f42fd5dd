"""Spots of hardly any molecules: which are left out of a section, and that it stays the same section."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bleep_cli.cohort.read import read_cohort, read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import Section


def spots_of(folder: Path, totals: list[int], **entry: Any) -> Section:
    """A section of one spot per total."""
    Image.new("RGB", (40, 30)).save(folder / "i.png")
    counts = ["\tA\tB", *(f"{i}x1\t{total}\t0" for i, total in enumerate(totals))]
    spots = ["x\ty\tpixel_x\tpixel_y", *(f"{i}\t1\t{10 + i}\t20" for i in range(len(totals)))]
    for name, lines in {"c.tsv": counts, "p.tsv": spots}.items():
        (folder / name).write_text("\n".join(lines) + "\n")
    named = {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0, "counts": "c.tsv", "positions": "p.tsv"}
    return read_section(named | entry, folder)


@pytest.mark.parametrize(
    ("totals", "kept"),
    [
        ([4, 99, 100, 5000, 6000, 7000], [100, 5000, 6000, 7000]),  # a whole transcriptome: 100
        ([21, 22, 23, 220, 220, 230, 240, 250], [22, 23, 220, 220, 230, 240, 250]),  # a tenth of the median, 220
        ([1, 2, 3, 4], [1, 2, 3, 4]),  # a small panel: every spot has more than a tenth
    ],
)
def test_spots_under_100_counts_and_a_tenth_of_the_median_are_left_out(
    tmp_path: Path, totals: list[int], kept: list[int]
) -> None:
    found = spots_of(tmp_path, totals)
    assert found.counts.toarray()[:, 0].tolist() == kept
    assert found.xy_l0[:, 0].tolist() == [10 + totals.index(t) for t in kept[:2]] + found.xy_l0[2:, 0].tolist()
    assert len(found.barcodes) == len(found.xy_l0) == len(kept)
    told = [finding for finding in found.findings if finding.code == "spots-few-counts"]
    assert [finding.mend for finding in told] == ["min_counts = 0 in the cohort file keeps them"] * (
        len(kept) < len(totals)
    )


def test_min_counts_as_given_and_the_same_section_whatever_it_is(tmp_path: Path) -> None:
    totals = [4, 99, 100, 5000, 6000]
    least = {0: totals, 99: totals[1:], 100: totals[2:], 5001: totals[4:]}
    found = {n: spots_of(tmp_path, totals, min_counts=n) for n in least}
    assert {n: section.counts.toarray()[:, 0].tolist() for n, section in found.items()} == least
    assert found[0].findings == ()
    assert found[100].findings[0].what.startswith("2 of 5 spots with fewer than 100 counts were left out")
    assert len({section.sha256 for section in found.values()}) == 1
    with pytest.raises(ReferenceError, match="section s: no spot has 7000 counts, the most are 6000; lower"):
        spots_of(tmp_path, totals, min_counts=7000)


def test_min_counts_of_a_section_goes_before_that_of_the_cohort(make_sections: Callable[..., Path]) -> None:
    path = make_sections(["st", "st"])
    plain = path.read_text()
    whole = read_cohort(path)
    least = int(np.median(np.asarray(whole[1].counts.sum(axis=1)))) + 1
    path.write_text(f"min_counts = {least}\n" + plain.replace('id = "S0"', 'id = "S0"\nmin_counts = 0'))
    first, second = read_cohort(path)
    assert len(first.barcodes) == len(whole[0].barcodes)
    assert 0 < len(second.barcodes) < len(whole[1].barcodes)
    assert np.asarray(second.counts.sum(axis=1)).min() >= least
    assert [s.sha256 for s in (first, second)] == [s.sha256 for s in whole]


@pytest.mark.parametrize("value", ["-1", "1.5", "true", '"9"'])
def test_min_counts_that_make_no_sense(make_sections: Callable[..., Path], value: str) -> None:
    path = make_sections(["st"])
    plain = path.read_text()
    for text in (f"min_counts = {value}\n" + plain, plain + f"\nmin_counts = {value}\n"):
        path.write_text(text)
        with pytest.raises(ReferenceError, match="section S0: min_counts must be a whole number, 0"):
            read_cohort(path)
    path.write_text("min_count = 3\n" + plain)
    with pytest.raises(
        ReferenceError, match=r"cohort\.toml: unknown key min_count; known are section, .*min_counts"
    ):
        read_cohort(path)
