"""Figures of several genes: where panels and tiles lie, what colours span, which files come out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_slide import HOSTILE, make_slide
from PIL import Image

from bleep_cli.errors import OutputError, UsageError
from bleep_cli.plotting.gene import FOOTER
from bleep_cli.plotting.genes import GENES_DPI, genes_figure
from bleep_cli.report.figure import write_genes_figure
from bleep_cli.types import Prediction

SYMBOLS = ("LEFT", "DOWN", "FLAT", "$x_1$", HOSTILE)


@pytest.fixture
def prediction() -> Prediction:
    return make_slide(genes=SYMBOLS, slide_id="S1")


def values_of(prediction: Prediction, *genes: str) -> np.ndarray:
    whole = np.concatenate([block for _, block in prediction])
    return np.stack([whole[:, SYMBOLS.index(gene)] for gene in genes])


def tiles_of(figure: Any) -> list[Any]:
    """The collection of tiles of every panel that has one."""
    return [axes.collections[0] for axes in figure.axes if axes.collections and axes.get_title(loc="left")]


def test_a_panel_for_the_slide_and_one_for_each_gene(prediction: Prediction) -> None:
    figure = genes_figure(prediction, ["LEFT", "DOWN", "FLAT"], values_of(prediction, "LEFT", "DOWN", "FLAT"))
    panels = [axes for axes in figure.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == ["H&E", "LEFT", "DOWN", "FLAT"]
    assert len({axes.get_xlim() for axes in panels}) == len({axes.get_ylim() for axes in panels}) == 1
    for axes in panels:
        assert len(axes.images) == 1
    assert len({round(axes.get_position().y0, 3) for axes in panels}) == 1  # four in a row
    words = [text.get_text() for text in figure.texts]
    assert words == ["S1, predicted: log1p of counts per 10,000, a scale each", FOOTER]


@pytest.mark.parametrize(("genes", "columns", "rows"), [(1, 2, 1), (3, 4, 1), (4, 3, 2), (5, 3, 2), (11, 4, 3)])
def test_panels_fill_their_rows(prediction: Prediction, genes: int, columns: int, rows: int) -> None:
    names = [f"G{i}" for i in range(genes)]
    figure = genes_figure(prediction, names, np.ones((genes, 600), np.float32))
    boxes = [axes.get_position() for axes in figure.axes if axes.get_title(loc="left")]
    assert len({round(box.x0, 3) for box in boxes}) == columns
    assert len({round(box.y0, 3) for box in boxes}) == rows


def test_colours_span_each_gene_or_all(prediction: Prediction) -> None:
    values = values_of(prediction, "LEFT", "DOWN")
    free, shared = (tiles_of(genes_figure(prediction, ["a", "b"], values, scale=s)) for s in ("free", "shared"))
    spans = [[(t.norm.vmin, t.norm.vmax) for t in tiles] for tiles in (free, shared)]
    np.testing.assert_allclose(spans[0], [np.percentile(row, (1, 99)) for row in values])
    np.testing.assert_allclose(spans[1], [np.percentile(values, (1, 99))] * 2)
    np.testing.assert_array_equal(free[0].get_array(), values[0])
    assert {t.get_alpha() for t in free} == {0.8}


def test_the_slide_shines_through_the_tiles(prediction: Prediction, tmp_path: Path) -> None:
    """The first column is the darkest of viridis, over pink by three quarters."""
    write_genes_figure(prediction, ["LEFT"], tmp_path / "a.png", opacity=0.75)
    figure = genes_figure(prediction, ["LEFT"], values_of(prediction, "LEFT"), opacity=0.75)
    (panel,) = [axes for axes in figure.axes if axes.get_title(loc="left") == "LEFT"]
    x, y = panel.transData.transform((2.5 * 25, 12.5 * 25))  # a tile of the first column, in px of the overview
    with Image.open(tmp_path / "a.png") as image:
        high = round(figure.get_figheight() * GENES_DPI)
        seen = image.convert("RGB").getpixel((round(x), round(high - y)))
    wanted = [0.75 * a + 0.25 * b for a, b in zip((68, 1, 84), (240, 200, 220), strict=True)]
    np.testing.assert_allclose(seen, wanted, atol=2)


@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_every_format_and_any_name(prediction: Prediction, tmp_path: Path, ending: str) -> None:
    for name in "ab":
        write_genes_figure(prediction, [HOSTILE, "$x_1$", "LEFT", "LEFT"], tmp_path / f"{name}.{ending}")
    data = (tmp_path / f"a.{ending}").read_bytes()
    assert data == (tmp_path / f"b.{ending}").read_bytes()
    assert data.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[ending])
    if ending == "svg":
        assert b">$x_1$<" in data
        assert data.count(b">LEFT<") == 1
        assert b"<script" not in data
        assert FOOTER.encode() in data
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{ending}", f"b.{ending}"]


@pytest.mark.parametrize(
    ("genes", "name", "opacity", "message"),
    [
        (["LEFT"], "a.gif", 0.8, r"^out a\.gif: its ending has to be \.png, \.svg or \.pdf$"),
        (["LEFT"], "a", 0.8, r"^out a: its ending has to be"),
        (["LEFT"], "a.png", 0.0, r"^opacity 0: give more than 0, up to 1$"),
        (["LEFT"], "a.png", float("nan"), r"^opacity nan: give more than 0"),
        (["LEFF"], "a.png", 0.8, r"^genes LEFF: not among the 5 predicted genes; did you mean LEFT\?$"),
        ([], "a.png", 0.8, r"^genes names 0 genes; a figure takes 1 to 60$"),
    ],
)
def test_what_cannot_be_drawn(
    prediction: Prediction, tmp_path: Path, genes: list[str], name: str, opacity: float, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        write_genes_figure(prediction, genes, tmp_path / name, opacity=opacity)
    assert not list(tmp_path.iterdir())


def test_needs_force_to_replace(prediction: Prediction, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"^a\.png exists already; force replaces it$"):
        write_genes_figure(prediction, ["LEFT"], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    write_genes_figure(prediction, ["LEFT"], tmp_path / "a.png", force=True)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
