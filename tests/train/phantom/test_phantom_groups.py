"""``bleep cohort`` from slide to table on phantom slides: a planted effect found, by predictions from the demo's
reference."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bleep_cli.cli import app
from bleep_train.phantom.section import PhantomOptions, write_phantom

GROUPS = {"lean": 0.05, "fatty": 0.9}  # level of fat


@pytest.mark.slow
def test_fat_of_patients_is_found_in_their_slides(tmp_path: Path) -> None:
    rows, slides = ["slide,patient,group"], []
    for group, fat in GROUPS.items():
        for number in range(3):
            name = f"{group}{number}"
            options = PhantomOptions(11, name, name, (1000.0, 900.0), steatosis=fat, fold=False)
            slides.append(write_phantom(tmp_path / name, options).image)
            rows.append(f"{slides[-1].name},{name},{group}")
    results, out = tmp_path / "results", tmp_path / "out"
    run("predict", *slides, "--ref", "demo", "--device", "cpu", "-o", results, "--format", "h5ad")
    groups = tmp_path / "groups.csv"
    groups.write_text("\n".join(rows))
    gmt = tmp_path / "fat.gmt"
    gmt.write_text("DROPLETS\tof fat\tPLIN2\tCIDEC\tPLIN4\tG0S2\tPLIN1\n")
    run("cohort", *sorted(results.glob("*.h5ad")), "--groups", groups, "--sets", gmt, "-o", out)
    found = pd.read_csv(out / "comparison.csv").set_index("name")
    assert (found["first"] == "fatty").all()
    assert (found["patients_first"] == 3).all()
    assert found.loc["DROPLETS", "effect"] < 0
    assert found.loc["DROPLETS", "p"] == pytest.approx(0.1)  # the smallest of three against three
    assert found.loc["PLIN2", "effect"] < 0
    assert found["p"].min() >= 0.1 - 1e-6


def run(*words: object) -> None:
    assert not app([str(word) for word in words], standalone_mode=False)
