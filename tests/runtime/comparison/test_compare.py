"""Groups compared by results on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_results import DOUBTFUL, SYMBOLS, write_halves, write_result

from bleep_cli.api import compare_groups
from bleep_cli.errors import OutputError, UsageError

UPS = {"a1": 1.0, "a1b": 1.2, "a2": 1.3, "a3": 0.9, "b1": 2.0, "b2": 2.2, "b3": 2.4}
PATIENT = {"a1": "A1", "a1b": "A1"}
GMT = "UPSET\t\tUP\tSAME\tABSENT\nOTHER\tsaid\tENSG-NOISE\n"


@pytest.fixture
def cohort(tmp_path: Path) -> tuple[list[Path], Path]:
    """Seven results of six patients, and their table."""
    results = [write_result(tmp_path, name, up) for name, up in UPS.items()]
    rows = [f"{name};{PATIENT.get(name, name.upper())};{'case' if name[0] == 'b' else 'control'}" for name in UPS]
    groups = tmp_path / "groups.csv"
    groups.write_text("\n".join(["slide;patient;group", *rows]))
    return results, groups


def table(out: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(out / f"{name}.csv", keep_default_na=False)


def test_the_patient_is_the_unit(cohort: tuple[list[Path], Path], tmp_path: Path) -> None:
    """Two slides of a patient are one value: a mean of means, and one of three in its group."""
    out = tmp_path / "out"
    compared = compare_groups(*cohort, out)
    row = table(out, "comparison").set_index("name").loc["UP"]
    assert (row["first"], row["second"], row["patients_first"], row["patients_second"]) == (
        "case",
        "control",
        3,
        3,
    )
    assert row["mean_second"] == pytest.approx((1.1 + 1.3 + 0.9) / 3, rel=1e-5)
    assert row["effect"] == pytest.approx(1.1 - 2.2, rel=1e-5)
    assert row["p"] == pytest.approx(2 / 20)
    assert row["low"] < row["effect"] < row["high"] < 0
    assert set(table(out, "comparison")["name"]) == set(SYMBOLS)
    assert table(out, "comparison").set_index("name").loc["SAME", "p"] == 1
    assert [finding.code for finding in compared.findings] == ["patients-few"]  # no p below 0.1


def test_tables_say_what_each_slide_holds(cohort: tuple[list[Path], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    compare_groups(*cohort, out, above=1.25, genes=["LEFT", "ENSG-UP"])
    mean, share = (table(out, name).set_index("slide") for name in ("mean", "fraction"))
    assert list(mean.columns) == ["patient", "group", "region", "LEFT", "UP"]
    assert (mean.loc["a2", "UP"], mean.loc["a2", "LEFT"]) == pytest.approx((1.3, 2.0), rel=1e-5)
    assert (share.loc["a1", "UP"], share.loc["a2", "UP"], share.loc["a1", "LEFT"]) == (0, 1, 0.5)
    region = table(out, "regions").set_index("slide").loc["b1"]
    assert (region["tiles"], region["area_mm2"]) == (24, 0.24)


def test_scores_of_sets_are_mean_z_over_patients_of_equal_weight(
    cohort: tuple[list[Path], Path], tmp_path: Path
) -> None:
    gmt = tmp_path / "x.gmt"
    gmt.write_text(GMT)
    out = tmp_path / "out"
    compare_groups(*cohort, out, sets=gmt, genes=["LEFT"])
    of = np.array(list(UPS.values()))
    weight = np.array([0.5, 0.5, 1, 1, 1, 1, 1])
    centre = np.average(of, weights=weight)
    z = (of - centre) / np.sqrt(np.average((of - centre) ** 2, weights=weight))  # SAME does not vary: no part
    np.testing.assert_allclose(table(out, "sets")["UPSET"], z, rtol=1e-4)
    row = table(out, "comparison").query("kind == 'set'").set_index("name").loc["UPSET"]
    assert row["mean_first"] == pytest.approx(z[4:].mean(), rel=1e-4)


def test_regions_are_compared_as_pairs_within_patients(cohort: tuple[list[Path], Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    outlines = [write_halves(tmp_path, name) for name in UPS]
    compare_groups(*cohort, out, regions=outlines)
    found = table(out, "comparison")
    pair = found[found["paired"]].set_index("name").loc["LEFT"]
    assert (pair["first"], pair["second"], pair["patients_first"]) == ("Tumor", "Stroma", 6)
    assert (pair["effect"], pair["low"], pair["high"]) == (-2, -2, -2)
    assert pair["p"] == 2 / 64
    inside = found.query("region == 'Tumor' and name == 'LEFT'").iloc[0]
    assert (inside["mean_first"], inside["p"]) == (3, 1)
    assert table(out, "regions").query("slide == 'a1'")["tiles"].tolist() == [24, 12, 12]


def test_rows_of_regions_make_groups_of_regions(cohort: tuple[list[Path], Path], tmp_path: Path) -> None:
    results = cohort[0]
    rows = [
        f"{n},{n},{g},{r}" for n in UPS for g, r in (("in", "Tumor"), ("out", "Stroma")) if (n, g) != ("b3", "out")
    ]
    groups = tmp_path / "regions.csv"
    groups.write_text("\n".join(["slide,patient,group,region", *rows]))
    for name in UPS:
        write_halves(tmp_path, name)
    compared = compare_groups(results, groups, tmp_path / "out", regions=[tmp_path])
    (outcome,) = compared.outcomes
    assert (outcome.contrast.paired, len(outcome.contrast.patients[0]), outcome.contrast.left_out) == (
        True,
        6,
        ("b3",),
    )
    assert outcome.genes.p[SYMBOLS.index("LEFT")] == 2 / 64
    assert [finding.code for finding in compared.findings] == ["patients-unpaired"]


def test_every_fault_is_told_before_anything_is_measured(cohort: tuple[list[Path], Path], tmp_path: Path) -> None:
    results, groups = cohort
    stray = write_result(tmp_path, "stray", 1.0, reference="other.zarr")
    groups.write_text(groups.read_text() + "\nb9;B9;case\n")
    write_halves(tmp_path, "a1")
    with pytest.raises(UsageError) as caught:
        compare_groups(
            [*results, stray, tmp_path / "none.h5ad"], groups, tmp_path / "out", regions=[tmp_path / "a1.geojson"]
        )
    told = str(caught.value)
    for fault in (
        "none.h5ad: no such file",
        "b9: the table of groups names it",
        "stray: there is a result of it",
        "of different references",
        "b1: regions names no file",
    ):
        assert fault in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("slide,patient\na,b", "has no column group"),
        ("slide,patient,group,grade\na,b,c,d", "column grade is not known"),
        ("slide,patient,group\na1,,x", "row 1: patient is empty"),
        ("slide,patient,group\na1,p,x\na1,p,y", "a1 stands in it twice"),
        ("slide,patient,group,region\na1,p,x,r\na1,q,y,s", "a1 is of several patients: p, q"),
    ],
)
def test_a_table_that_cannot_be(text: str, fault: str, tmp_path: Path) -> None:
    groups = tmp_path / "g.csv"
    groups.write_text(text)
    with pytest.raises(UsageError, match=fault):
        compare_groups([write_result(tmp_path, "a1", 1.0)], groups, tmp_path / "out")


def test_genes_are_those_of_all_results_and_findings_are_carried(
    cohort: tuple[list[Path], Path], tmp_path: Path
) -> None:
    results, groups = cohort
    results[0] = write_result(tmp_path / "again", "a1", 1.0, symbols=("NOISE", "UP"), findings=[DOUBTFUL])
    compared = compare_groups(results, groups, tmp_path / "out")
    assert {"genes-of-some-results", "mpp-doubtful"} <= {finding.code for finding in compared.findings}
    assert [finding.where for finding in compared.findings if finding.code == "mpp-doubtful"] == ["a1"]
    found = table(tmp_path / "out", "mean").set_index("slide")
    assert list(found.columns)[3:] == ["NOISE", "UP"]
    assert found.loc["b3", "UP"] == pytest.approx(2.4, rel=1e-5)
    with pytest.raises(UsageError, match="LEFT: not in every result"):
        compare_groups(results, groups, tmp_path / "other", genes=["LEFT"])
    with pytest.raises(UsageError, match="refused, as strict asks"):
        compare_groups(results, groups, tmp_path / "other", strict=True)
    assert not (tmp_path / "other").exists()


def test_the_page_escapes_names_and_the_bytes_are_the_same_again(
    cohort: tuple[list[Path], Path], tmp_path: Path
) -> None:
    results, groups = cohort
    groups.write_text(groups.read_text().replace("case", "<script>x</script>"))
    out = tmp_path / "out"
    compare_groups(results, groups, out)
    page = (out / "comparison.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "script-src 'none'" in page
    assert "http" not in page.replace("http-equiv", "")
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(OutputError, match="exists already"):
        compare_groups(results, groups, out)
    compare_groups(results, groups, out, force=True)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_too_few_patients_are_said_not_compared(cohort: tuple[list[Path], Path], tmp_path: Path) -> None:
    results, groups = cohort
    groups.write_text(groups.read_text().replace("B2", "B1").replace("B3", "B1"))
    compared = compare_groups(results, groups, tmp_path / "out")
    assert not compared.outcomes
    assert [str(finding) for finding in compared.findings] == [
        "control against case in all tissue: 1 and 3 patients are too few to be compared"
    ]
