"""The picture of a gene: every tile lies on its own tissue, and nothing a user may name breaks it."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bleep_cli.errors import OutputError, UsageError
from bleep_cli.outputs.blocks import default_gene, gene_values
from bleep_cli.outputs.picture import write_gene_png
from bleep_cli.plotting import gene as report
from bleep_cli.plotting.panels import DPI
from bleep_cli.plotting.style import colour_limits
from bleep_cli.types import F32, Neighbours, Prediction, TileGrid, TileSpec

PITCH_L0 = 200.0
SCALEF = 0.05


def make_prediction(
    expression: F32,
    array_xy: list[tuple[int, int]],
    *,
    symbols: tuple[str, ...] = ("ERBB2", "ESR1"),
    size: tuple[int, int] = (400, 250),
    pitch_um: float = 100.0,
) -> Prediction:
    """Tiles of 100 µm (10 hires px) at array (column, row), on a white overview of ``size`` (w, h)."""
    xy = np.array(array_xy)
    n, genes = expression.shape
    assert genes == len(symbols)
    grid = TileGrid(
        centre_l0=(xy + 0.5) * PITCH_L0,
        array_row=xy[:, 1],
        array_col=xy[:, 0],
        tile_id=np.array([f"t{i}" for i in range(n)]),
        region=np.array(["1"] * n),
        spec=TileSpec(px=224, um=(100.0,)),
        mpp=0.5,
        pitch_um=pitch_um,
    )

    def blocks() -> Iterator[tuple[int, F32]]:
        for first in range(0, n, 7):
            yield first, expression[first : first + 7]

    return Prediction(
        slide_id="slide 1",
        grid=grid,
        in_tissue=np.ones(n, bool),
        symbols=np.array(symbols),
        gene_ids=np.array([f"E{i}" for i in range(genes)]),
        neighbours=Neighbours(np.zeros((n, 3), np.int64), np.zeros((n, 3), np.float32)),
        obs={},
        blocks=blocks,
        hires=np.full((size[1], size[0], 3), 255, np.uint8),
        hires_scalef=SCALEF,
        provenance={},
    )


def square(columns: int, rows: int) -> list[tuple[int, int]]:
    return [(x, y) for y in range(rows) for x in range(columns)]


def pixels(path: Path) -> np.ndarray:
    """u8[h, w, 3] of a PNG."""
    with Image.open(path) as image:
        return np.array(image.convert("RGB"))


def panels(prediction: Prediction, gene: str = "ERBB2") -> list[tuple[slice, slice]]:
    """Rows and columns of the PNG that the two panels take."""
    figure = report.gene_figure(prediction, gene, gene_values(prediction, gene))
    high = round(figure.get_figheight() * DPI)
    boxes = [axes.get_window_extent() for axes in figure.axes[:2]]
    return [(slice(round(high - b.y1), round(high - b.y0)), slice(round(b.x0), round(b.x1))) for b in boxes]


def centre(mask: np.ndarray) -> tuple[float, float]:
    y, x = np.nonzero(mask)
    return float(x.mean()), float(y.mean())


@pytest.mark.parametrize("size", [(400, 250), (250, 400), (1000, 200), (200, 1000)])
def test_a_tile_lies_on_its_own_tissue(tmp_path: Path, size: tuple[int, int]) -> None:
    corners = [(0, 0), (size[0] // 10 - 1, size[1] // 10 - 1)]
    marked = (size[0] // 10 - 4, 3)
    prediction = make_prediction(np.array([[0, 1], [0, 1], [2, 1]], np.float32), [*corners, marked], size=size)
    prediction.hires[30:40, marked[0] * 10 : marked[0] * 10 + 10] = (255, 0, 0)
    write_gene_png(prediction, "ERBB2", tmp_path / "a.png")
    image = pixels(tmp_path / "a.png").astype(int)
    left, right = (image[panel] for panel in panels(prediction))
    assert left.shape == right.shape
    red = (left[..., 0] > 200) & (left[..., 1] < 60)
    yellow = (right[..., 0] > 200) & (right[..., 2] < 90)  # the end of the colours: the highest value
    assert red.sum() > 50
    assert centre(red) == pytest.approx(centre(yellow), abs=1.0)
    assert red.sum() == pytest.approx(yellow.sum(), rel=0.25)


def test_tiles_have_their_true_size_and_never_overlap() -> None:
    expression = np.zeros((4, 2), np.float32)
    for pitch_um, edge_hires in ((100.0, 10.0), (250.0, 10.0), (40.0, 4.0)):
        prediction = make_prediction(expression, square(2, 2), pitch_um=pitch_um)
        assert prediction.grid.drawn_edge_l0() * prediction.hires_scalef == pytest.approx(edge_hires)


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (40, 25), (40, 1), (1, 25), (30, 12)], ids=str)
def test_pictures_stay_within_bounds(tmp_path: Path, columns: int, rows: int) -> None:
    expression = np.random.default_rng(1).random((columns * rows, 2), np.float32)
    write_gene_png(make_prediction(expression, square(columns, rows)), "ERBB2", tmp_path / "a.png")
    image = pixels(tmp_path / "a.png")
    assert max(image.shape) <= 2400
    assert min(image.shape[:2]) > 600
    for edge in (image[0], image[-1], image[:, 0], image[:, -1]):
        assert (edge == 255).all()


@pytest.mark.slow
def test_twenty_thousand_tiles_leave_no_seams(tmp_path: Path) -> None:
    prediction = make_prediction(np.ones((20_000, 2), np.float32), square(200, 100), size=(2000, 1000))
    write_gene_png(prediction, "ERBB2", tmp_path / "a.png")
    _, right = panels(prediction)
    inner = pixels(tmp_path / "a.png")[right][40:-40, 40:-40]
    assert (inner == inner[0, 0]).all()
    assert np.ptp(inner[0, 0].astype(int)) > 30


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 1.5, -0.2, np.nan])
def test_constant_expression(tmp_path: Path, value: float) -> None:
    prediction = make_prediction(np.full((12, 2), value, np.float32), square(4, 3))
    write_gene_png(prediction, "ERBB2", tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


@pytest.mark.parametrize(
    ("values", "limits"),
    [
        (np.linspace(0, 100, 101), (1.0, 99.0)),
        ([0.0, 0.0], (0.0, 0.5)),
        ([1.5], (1.0, 2.0)),
        ([-1.0], (-1.5, -0.5)),
        ([np.nan], (0.0, 1.0)),
        ([np.nan, 1.0, np.inf], (0.5, 1.5)),
    ],
)
def test_limits_of_the_colours(values: Any, limits: tuple[float, float]) -> None:
    assert colour_limits(np.array(values, np.float32), least=0.0) == pytest.approx(limits)


def test_words_on_the_picture() -> None:
    prediction = make_prediction(np.eye(2, dtype=np.float32), square(2, 1))
    figure = report.gene_figure(prediction, "ESR1", gene_values(prediction, "ESR1"))
    left, right, bar = figure.axes
    assert [text.get_text() for text in figure.texts] == [
        "slide 1",
        f"2 tiles, 100 µm apart; 0.5 µm/px; K {prediction.neighbours.index.shape[1]}",
        "BLEEP prediction, not a measurement; research use only",
    ]
    assert (left.get_title("left"), right.get_title("left")) == ("H&E", "ESR1, predicted")
    assert bar.get_ylabel() == "ESR1, log1p(CP10k), predicted"
    assert [text.get_text() for text in left.texts] == ["200 µm"]
    reference = {"name": "r.zarr", "species": "Homo sapiens"}
    told = replace(prediction, provenance={"slide": {"mpp_source": "OME-XML"}, "reference": reference})
    figure = report.gene_figure(told, "ESR1", gene_values(told, "ESR1"))
    about = f"2 tiles, 100 µm apart; 0.5 µm/px (OME-XML); K {told.neighbours.index.shape[1]}; "
    assert figure.texts[1].get_text() == about + "reference r.zarr: Homo sapiens"
    units = replace(prediction, provenance={"expression_units": "log1p(counts per 5,000)"})
    assert report.gene_figure(units, "ESR1", np.zeros(2, np.float32)).axes[2].get_ylabel() == (
        "ESR1, log1p(counts per 5,000), predicted"
    )


def test_the_scale_bar_has_its_length() -> None:
    prediction = make_prediction(np.zeros((1000, 2), np.float32), square(40, 25))
    left = report.gene_figure(prediction, "ERBB2", np.zeros(1000, np.float32)).axes[0]
    assert [text.get_text() for text in left.texts] == ["1 mm"]
    assert left.patches[0].get_width() == pytest.approx(1000 / 0.5 * SCALEF)


@pytest.mark.parametrize("name", ["HLA-A/B", "$x_1$", "$", "a" * 300, "切片", "line\nbreak\tand  space"])
def test_names_of_any_kind(tmp_path: Path, name: str) -> None:
    prediction = make_prediction(np.eye(2, dtype=np.float32), square(2, 1), symbols=(name, "B"))
    write_gene_png(replace(prediction, slide_id=name), name, tmp_path / "a.png")
    assert max(pixels(tmp_path / "a.png").shape) <= 2400


def test_same_prediction_same_bytes(tmp_path: Path) -> None:
    prediction = make_prediction(np.random.default_rng(1).random((20, 2), np.float32), square(5, 4))
    for name in ("a.png", "b.png"):
        write_gene_png(prediction, "ERBB2", tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    with Image.open(tmp_path / "a.png") as image:
        assert image.info.keys() <= {"Description", "dpi"}


def test_a_users_style_does_not_count(tmp_path: Path) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    prediction = make_prediction(np.eye(2, dtype=np.float32), square(2, 1))
    write_gene_png(prediction, "ERBB2", tmp_path / "a.png")
    with matplotlib.rc_context({"axes.facecolor": "black", "savefig.bbox": "tight", "font.size": 30}):
        write_gene_png(prediction, "ERBB2", tmp_path / "b.png")
        assert matplotlib.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_default_gene_has_the_largest_variance() -> None:
    rng = np.random.default_rng(3)
    expression = (1000 + rng.random((50, 4)) * [0.1, 0.2, 0.9, 0.3]).astype(np.float32)
    symbols = ("A", "B", "C", "D")
    prediction = make_prediction(expression, square(10, 5), symbols=symbols)
    assert default_gene(prediction) == symbols[int(expression.astype(np.float64).var(axis=0).argmax())] == "C"


def test_default_gene_of_a_constant_prediction_is_the_first() -> None:
    assert default_gene(make_prediction(np.ones((9, 2), np.float32), square(3, 3))) == "ERBB2"


def test_gene_values_come_from_every_block() -> None:
    expression = np.random.default_rng(1).random((20, 2), np.float32)
    np.testing.assert_array_equal(gene_values(make_prediction(expression, square(5, 4)), "ESR1"), expression[:, 1])


@pytest.mark.parametrize(
    ("gene", "message"),
    [
        ("ERBB3", "gene ERBB3: not among the 2 predicted genes; did you mean ERBB2?"),
        ("esr1", "gene esr1: not among the 2 predicted genes; did you mean ESR1?"),
        ("XYZ", "gene XYZ: not among the 2 predicted genes"),
    ],
)
def test_an_unknown_gene(tmp_path: Path, gene: str, message: str) -> None:
    prediction = make_prediction(np.eye(2, dtype=np.float32), square(2, 1))
    with pytest.raises(UsageError) as caught:
        write_gene_png(prediction, gene, tmp_path / "a.png")
    assert str(caught.value) == message


@pytest.mark.slow
def test_needs_force_to_replace(tmp_path: Path) -> None:
    prediction = make_prediction(np.eye(2, dtype=np.float32), square(2, 1))
    path = tmp_path / "a.png"
    path.write_text("mine")
    with pytest.raises(OutputError, match=r"a\.png exists already; force replaces it"):
        write_gene_png(prediction, "ERBB2", path)
    write_gene_png(prediction, "ERBB2", path, force=True)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_pyplot_is_never_loaded(tmp_path: Path) -> None:
    code = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
import numpy as np
from test_report import make_prediction, square
from bleep_cli.outputs.picture import write_gene_png
write_gene_png(make_prediction(np.eye(2, dtype="f4"), square(2, 1)), "ERBB2", Path(sys.argv[2]))
assert "matplotlib.pyplot" not in sys.modules
"""
    here = str(Path(__file__).parent)
    subprocess.run([sys.executable, "-c", code, here, str(tmp_path / "a.png")], check=True)
