"""``bleep report``, ``bleep plot`` and ``bleep predict --format html`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.cli import app
from bleep_cli.errors import BleepError, OutputError, UsageError
from bleep_cli.outputs.read import open_result


@pytest.fixture(scope="module")
def results(small_bundle: Path, query_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an h5ad, a Zarr and a page of one prediction."""
    out = tmp_path_factory.mktemp("results")
    words = [
        "predict",
        query_slide,
        "--ref",
        small_bundle,
        "--device",
        "cpu",
        "-o",
        out,
        "--format",
        "html,h5ad,zarr",
    ]
    assert not app([str(word) for word in words], standalone_mode=False)
    return out


@pytest.fixture
def result(results: Path, query_slide: Path) -> Path:
    return results / f"{query_slide.stem}.h5ad"


def run(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert not app([str(word) for word in words], standalone_mode=False)
    return capsys.readouterr().out


def head_of(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    return dict(json.loads(text.split('id="head">')[1].split("</script>")[0]))


def names_on(page: Path) -> set[str]:
    return {gene["name"] for gene in head_of(page)["genes"]}


def test_the_page_of_a_result_is_that_of_the_prediction(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From both formats, and from the command that predicts."""
    pages = []
    for written in (result, result.with_suffix(".zarr")):
        page = tmp_path / f"{written.suffix[1:]}.html"
        told = json.loads(run(capsys, "--json", "report", written, "-o", page))
        assert told == {"page": str(page), "bytes": page.stat().st_size}
        pages.append(page.read_bytes())
    assert pages[0] == pages[1]
    assert head_of(tmp_path / "h5ad.html") == head_of(result.with_suffix(".html"))


def test_the_page_lies_beside_the_result_unless_told_otherwise(
    result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = tmp_path / "slide.7.h5ad"
    moved.write_bytes(result.read_bytes())
    page = tmp_path / "slide.7.html"
    assert run(capsys, "report", moved) == f"page {page} ({page.stat().st_size / 1e6:.1f} MB)\n"
    first = page.read_bytes()
    with pytest.raises(OutputError, match=r"^slide\.7\.html exists already; force replaces it$"):
        run(capsys, "report", moved, "--genes", "GENE1")
    assert page.read_bytes() == first
    run(capsys, "report", moved, "--genes", "GENE1,GENE3", "--force")
    assert names_on(page) == {"GENE1", "GENE3"}


def test_genes_may_stand_in_a_file(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "genes.txt").write_text("GENE3\nGENE1\n")
    run(capsys, "report", result, "--genes", tmp_path / "genes.txt", "-o", tmp_path / "a.html")
    assert names_on(tmp_path / "a.html") == {"GENE1", "GENE3"}


def test_a_figure_of_a_result(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "figure.svg"
    out = run(capsys, "plot", result, "--genes", "GENE1,GENE3", "-o", figure, "--scale", "shared")
    assert out == f"figure {figure}\n"
    text = figure.read_text(encoding="utf-8")
    assert all(word in text for word in (">GENE1<", ">GENE3<", "one scale<"))


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (("report", "none.h5ad"), UsageError, r"^none\.h5ad: no such file$"),
        (("plot", "none.h5ad", "--genes", "A", "-o", "a.png"), UsageError, r"^none\.h5ad: no such file$"),
        (("report", "RESULT", "--genes", "NONE", "-o", "OUT/a.html"), UsageError, r"^genes NONE: not among the"),
        (("report", "RESULT", "--genes", ",", "-o", "OUT/a.html"), UsageError, r"^genes names no gene$"),
        (("plot", "RESULT", "--genes", "GENE1", "-o", "OUT/a.jpg"), UsageError, r"^out a\.jpg: its ending has to"),
        (
            ("report", "PAGE", "-o", "OUT/a.html"),
            UsageError,
            r"\.html is no result of bleep: give an h5ad or a zarr",
        ),
    ],
)
def test_mistakes_are_told(
    result: Path, tmp_path: Path, words: tuple[str, ...], error: type[BleepError], message: str
) -> None:
    meant = {"RESULT": str(result), "PAGE": str(result.with_suffix(".html"))}
    with pytest.raises(error, match=message):
        app([meant.get(word, word.replace("OUT", str(tmp_path))) for word in words], standalone_mode=False)
    assert not list(tmp_path.iterdir())


def test_a_result_says_what_was_measured_and_of_how_many_donors(result: Path, small_bundle: Path) -> None:
    found = open_result(result)
    assert (found.var["reference_p01"] <= found.var["reference_p99"]).all()
    assert found.var["reference_p99"].shape == found.symbols.shape
    assert found.provenance["reference"]["donors"] == len(set(open_bundle(small_bundle).spots("donor")))
    assert {"species", "licence", "citation"} <= found.provenance["reference"].keys()
