"""The paper's figures: what is drawn where, in which colour, and what is refused."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from visium_sample import HIRES, made_sample, write_cohort_of, write_visium

from bleep_cli.errors import OutputError, UsageError
from bleep_cli.plotting.style import colour_limits
from bleep_train.figures.clusters import by_size, clusters_figure, colours_of
from bleep_train.figures.data import Result, load_result, pick_gene
from bleep_train.figures.gene import gene_figure
from bleep_train.figures.gene_gene import gene_gene_figure, hierarchical_order
from bleep_train.figures.moments import moments_figure
from bleep_train.figures.style import house_style
from bleep_train.figures.tissue import WASH, SectionPicture, read_tissue, spot_pitch
from bleep_train.figures.write import FigureOptions, _tissue, write_figures
from bleep_train.metrics.gene_gene import gene_gene
from bleep_train.study.saved import FoldFolder, FoldTruth, StudyRecord, load_study, save_study

MPP, SPOTS_X, SPOTS_Y, PITCH = 5.0, 8, 5, 20.0  # a spot every 100 µm
GREEN = (10, 200, 40)
NAMES = [f"G{i}" for i in range(12)]


def _xy() -> NDArray[np.float64]:
    x, y = np.meshgrid(60 + PITCH * np.arange(SPOTS_X), 45 + PITCH * np.arange(SPOTS_Y))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _expression(m: int, seed: int) -> NDArray[np.float32]:
    """f32[m, 12] of two programmes; G0 to G5 follow the first, the others the second."""
    rng = np.random.default_rng(seed)
    programmes = rng.normal(size=(m, 2)).repeat(6, axis=1)
    return np.asarray(2 + programmes + 0.4 * rng.normal(size=(m, 12)), np.float32)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort whose slide, 280 × 190 px, is pink with a green mark between spots; counts are never opened."""
    folder = tmp_path_factory.mktemp("cohort")
    slide = np.full((190, 280, 3), (230, 180, 210), np.uint8)
    slide[52:58, 187:193] = GREEN
    Image.fromarray(slide).save(folder / "slide.png")
    keys = f'donor = "D"\nimage = "slide.png"\nmpp = {MPP}\ncounts = "c"\npositions = "p"\n'
    entries = [f'[[section]]\nid = "{name}"\n{keys}' for name in ("S1", "S2")]
    (folder / "cohort.toml").write_text("".join(entries))
    return folder / "cohort.toml"


@pytest.fixture
def study(cohort: Path, tmp_path: Path) -> Path:
    """Fold F holds out S1 and S2, with four methods; ``knn`` was run with seed 7 alone, ``late`` not at all."""
    out, xy, measured = tmp_path / "study", _xy(), _expression(80, 0)
    m = len(xy)
    folder = FoldFolder.of(out, "F")
    truth = FoldTruth(
        symbols=np.array(NAMES),
        measured=measured,
        train_mean=measured.mean(axis=0),
        section=np.repeat(["S1", "S2"], m),
        barcode=np.array([str(i) for i in range(2 * m)]),
        xy_l0=np.concatenate([xy, xy + 1]),
        reference=_expression(60, 1).astype(np.float16),
    )
    folder.save_truth(truth, {"hvg50": NAMES[:8], "heg50": NAMES[:4], "all": NAMES})
    noise = np.random.default_rng(2).normal(size=measured.shape).astype(np.float32)
    noise[:, [3, 9]] *= 0.1  # bleep's best genes: G3 in HVG50, G9 not
    noise[:, 9] *= 0.01
    bleep = 2 + (measured - 2) / 2 + 0.2 * noise
    predictions = {"bleep": bleep, "bleep:clip": bleep[::-1], "mean": np.repeat(measured.mean(0)[None], 2 * m, 0)}
    labels = np.arange(2 * m) % 3
    folder.save_clusters(labels)
    for method, predicted in {**predictions, "shuffled": noise}.items():
        folder.save_predicted(method, 0, predicted)
        folder.save_clusters((labels + 1) % 3, method, 0)
    folder.save_predicted("knn", 7, noise)
    methods = (*predictions, "shuffled", "knn", "late")
    config: dict[str, Any] = {"data": {"target_sum": 1e4}}
    folds: dict[str, Any] = {"F": {"sections": ["S1", "S2"]}}
    kind = ("leave-one-donor-out", "leak-free")
    save_study(out, StudyRecord(str(cohort), *kind, methods, (0, 7), (), folds, config))
    return out


ASKED = ("bleep", "bleep:clip", "mean")


@pytest.fixture
def result(study: Path) -> Result:
    """Section S1."""
    return load_result(study, methods=ASKED)


@pytest.fixture
def tissue(cohort: Path, result: Result) -> SectionPicture:
    """S1's slide, at its own resolution."""
    return read_tissue(cohort.parent / "slide.png", MPP, result.xy_l0, 440)


def _pixels(draw: Callable[[], Figure]) -> tuple[Figure, NDArray[np.int64]]:
    """A figure and its pixels i64[h, w, 3]."""
    with house_style():
        figure, file = draw(), io.BytesIO()
        figure.savefig(file, format="png")
    return figure, np.asarray(Image.open(file).convert("RGB"), np.int64)


def _at(figure: Figure, axes: Any, pixels: NDArray[np.int64], xy: NDArray[np.float64]) -> NDArray[np.int64]:
    """Colours i64[n, 3] at data coordinates of an axes."""
    x, y = axes.transData.transform(xy).T
    return pixels[len(pixels) - 1 - np.floor(y).astype(int), np.floor(x).astype(int)]


def _panels(figure: Figure) -> list[Any]:
    """Axes with H&E."""
    return [axes for axes in figure.axes if axes.images and axes.collections]


def _words(figure: Figure) -> list[str]:
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def test_spots_have_the_colour_of_their_value_where_they_lie(result: Result, tissue: SectionPicture) -> None:
    figure, pixels = _pixels(lambda: gene_figure(result, 3, tissue, 200))
    viridis, panels = matplotlib.colormaps["viridis"], _panels(figure)
    assert len(panels) == 2 * 4
    fixed = colour_limits(result.measured[:, 3].astype(float))
    bar = tissue.xy_l0[:, 1] > tissue.xy_l0[:, 1].max() - 1  # may lie under the scale bar
    for i, values in enumerate(result.everything().values()):
        value = values[:, 3].astype(float)
        for axes, (low, high) in zip(panels[2 * i : 2 * i + 2], (colour_limits(value), fixed), strict=True):
            expected = np.round(255 * viridis(np.clip((value - low) / (high - low), 0, 1))[:, :3])
            seen = _at(figure, axes, pixels, result.xy_l0)
            assert np.abs(seen - expected)[~bar].max() <= 3
    assert colour_limits(result.predicted["bleep"][:, 3].astype(float)) != fixed


def test_the_slide_lies_under_its_spots_upright(result: Result, tissue: SectionPicture) -> None:
    figure, pixels = _pixels(lambda: gene_figure(result, 0, tissue, 200))
    paled = 255 - (1 - WASH) * (255 - np.array(GREEN))
    for axes in _panels(figure):
        assert np.abs(_at(figure, axes, pixels, np.array([[190.0, 55.0]])) - paled).max() <= 6
        box = axes.get_window_extent()
        aspect = (tissue.size_l0[1] / tissue.size_l0[0], box.height / box.width)
        assert aspect[0] == pytest.approx(aspect[1], rel=1e-6)
        assert axes.get_ylim()[0] > axes.get_ylim()[1]


def test_scale_bar_is_as_long_as_it_says(result: Result, tissue: SectionPicture) -> None:
    figure, pixels = _pixels(lambda: clusters_figure(result, tissue, 200))
    black = (pixels.max(axis=2) == 0).sum(axis=1).max()
    px_per_l0 = _panels(figure)[0].get_window_extent().width / tissue.size_l0[0]
    assert "200 µm" in _words(figure)
    assert abs(black - 200 / MPP * px_per_l0) <= 1


def test_small_spots_are_drawn_side_by_side(tissue: SectionPicture) -> None:
    assert spot_pitch(tissue.xy_l0) == tissue.pitch_l0 == PITCH
    assert tissue.diameter_l0(2.0) == pytest.approx(0.55 * PITCH)
    assert tissue.diameter_l0(0.2) == pytest.approx(0.95 * PITCH)


def test_r_is_printed_and_a_constant_has_none(result: Result, tissue: SectionPicture) -> None:
    figure, _ = _pixels(lambda: gene_figure(result, 3, tissue, 80))
    r = np.corrcoef(result.predicted["bleep"][:, 3], result.measured[:, 3])[0, 1]
    assert {f"r = {r:.2f}", "no r: constant", "40 spots"} <= set(_words(figure))


def test_genes_that_cannot_be_drawn_are_told(result: Result, tissue: SectionPicture) -> None:
    lacking = result.predicted["bleep"].copy()
    lacking[:, 3] = np.nan
    without = replace(result, predicted={"bleep": lacking})
    figure, _ = _pixels(lambda: gene_figure(without, 3, tissue, 80))
    assert "no r: not predicted" in _words(figure)
    figure, _ = _pixels(lambda: moments_figure(without, 80))
    assert [len(axes.collections[0].get_offsets()) for axes in figure.axes] == [11, 11]
    lacking[:, 3] = -1
    figure, _ = _pixels(lambda: moments_figure(without, 80))
    assert [len(axes.collections[0].get_offsets()) for axes in figure.axes] == [11, 11]
    assert "1 below 0 not shown" in _words(figure)


def test_mean_and_variance_say_how_far_they_agree(result: Result) -> None:
    half = replace(result, predicted={"bleep": result.measured / 2, "mean": result.predicted["mean"]})
    figure, _ = _pixels(lambda: moments_figure(half, 80))
    words = _words(figure)
    assert words.count("r = 1.00") == 1
    assert "r = 1.00, median ratio 0.25" in words
    assert {"median ratio 0", "12 of 12 genes at 0"} <= set(words)
    upper = [axes for axes in figure.axes if axes.get_xlabel() == "measured mean"]
    assert len({(axes.get_xlim(), axes.get_ylim()) for axes in upper}) == 1
    points = np.asarray(upper[0].collections[0].get_offsets())
    assert points[:, 1] == pytest.approx(result.measured.mean(axis=0, dtype=float) / 2)


def test_heat_maps_share_the_order_of_the_measured_one(result: Result) -> None:
    same = replace(result, predicted={"bleep": result.measured, "mean": result.predicted["mean"]})
    figure, _ = _pixels(lambda: gene_gene_figure(same, 80))
    assert {"r = 1.00, mean |Δr| 0.00", "no correlations: constant"} <= set(_words(figure))
    measured, bleep, mean = (axes.images[0] for axes in figure.axes if axes.images and axes.get_title(loc="left"))
    assert (measured.get_array() == bleep.get_array()).all()
    figure, _ = _pixels(lambda: gene_gene_figure(result, 80))
    drawn = [axes.images[0].get_array() for axes in figure.axes if axes.images and axes.get_title(loc="left")]
    matrices = [gene_gene(matrix[:, result.sets["hvg50"]]) for matrix in result.everything().values()]
    order = hierarchical_order(matrices[0])
    assert order.tolist() != sorted(order)
    for seen, matrix in zip(drawn[:3], matrices[:3], strict=True):
        assert np.asarray(seen) == pytest.approx(matrix[np.ix_(order, order)])
    assert np.ma.getmaskarray(mean.get_array()).all()
    assert measured.get_clim() == bleep.get_clim() == (-1.0, 1.0)


def test_matched_clusters_have_the_measured_colours(result: Result, tissue: SectionPicture) -> None:
    figure, pixels = _pixels(lambda: clusters_figure(result, tissue, 200))
    truth = np.round(255 * colours_of(by_size(result.clusters["measured"]))[:, :3])
    above = result.xy_l0[:, 1] < result.xy_l0[:, 1].max()
    for axes in _panels(figure):  # every method has the measured clusters under other numbers
        assert np.abs(_at(figure, axes, pixels, result.xy_l0) - truth)[above].max() <= 3
    assert "NMI 1.00, ARI 1.00" in _words(figure)


@pytest.mark.slow
def test_command_writes_every_figure(study: Path, tmp_path: Path, bleep_train: Callable[..., str]) -> None:
    asked = ("--methods", "bleep,mean", "--dpi", 100)
    printed = bleep_train("figures", study, "-o", tmp_path / "out", "--gene", "G1", "--gene", "G9", *asked)
    paths = [Path(line) for line in printed.split()]
    assert [path.name for path in paths] == [
        "fig2_mean_variance.png", "fig3_G1.png", "fig3_G9.png", "fig4_gene_gene.png", "fig5_clusters.png",
        "figS_umap.png",
    ]  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in paths)
    for path in paths:
        with Image.open(path) as picture:
            assert 450 <= picture.width <= 730  # 7.2 in at most
            assert len(picture.convert("RGB").getcolors(1 << 20) or []) > 50
    bleep_train("figures", study, "-o", tmp_path / "finer", "--only", "2", "--methods", "bleep,mean", "--dpi", 200)
    with Image.open(tmp_path / "finer" / paths[0].name) as finer, Image.open(paths[0]) as coarse:
        assert finer.width == pytest.approx(2 * coarse.width, abs=2)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "only"), [("png", ("2", "3", "4", "5")), ("pdf", ("5",)), ("svg", ("4",))])
def test_rerun_gives_the_same_bytes(study: Path, tmp_path: Path, form: Any, only: tuple[str, ...]) -> None:
    options = FigureOptions(only=only, methods=ASKED, form=form, dpi=60)
    first = {path.name: path.read_bytes() for path in write_figures(study, tmp_path, options)}
    second = {path.name: path.read_bytes() for path in write_figures(study, tmp_path, options, force=True)}
    assert first == second
    assert len(first) == len(only)
    if form == "pdf":
        assert all(b"/Type3" not in body and b"/FontFile2" in body for body in first.values())


def test_nothing_is_overwritten_or_half_done(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "fig5_clusters.png").write_text("mine")
    with pytest.raises(OutputError, match=r"fig5_clusters.png exists already; force"):
        write_figures(study, out, FigureOptions(only=("2", "5"), methods=ASKED, dpi=60))
    assert [path.name for path in out.iterdir()] == ["fig5_clusters.png"]
    assert (out / "fig5_clusters.png").read_text() == "mine"


def test_default_gene_is_the_best_of_the_variable_ones(result: Result) -> None:
    assert pick_gene(result, None) == NAMES.index("G3")
    without = replace(result, predicted={"mean": result.predicted["mean"], "clip": result.predicted["bleep:clip"]})
    assert pick_gene(without, None) in result.sets["hvg50"]


def test_section_and_seed_are_chosen(study: Path) -> None:
    first = load_result(study, methods=ASKED)
    second = load_result(study, section="S2", methods=["knn"], clusters=False)
    assert (first.section, second.section) == ("S1", "S2")
    assert (second.xy_l0 == first.xy_l0 + 1).all()
    assert (second.measured == _expression(80, 0)[40:]).all()
    assert (second.predicted["knn"] == FoldFolder.of(study, "F").predicted("knn", 7)[40:]).all()
    assert first.unit == "log1p CP10k"


def test_all_methods_but_the_control_are_drawn(study: Path) -> None:
    record = load_study(study)
    save_study(study, replace(record, methods=(*ASKED, "shuffled")))
    assert tuple(load_result(study).predicted) == ASKED
    assert tuple(load_result(study, methods=["shuffled", "bleep"]).predicted) == ("shuffled", "bleep")
    save_study(study, record)
    with pytest.raises(UsageError, match=r"methods late: fold F has no prediction"):
        load_result(study)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (FigureOptions(genes=("g3",)), r"gene g3: not among the study's 12 genes; did you mean .*G3"),
        (FigureOptions(fold="X"), r"fold X: the study has F"),
        (FigureOptions(section="X"), r"section X: fold F has S1, S2"),
        (FigureOptions(methods=("his", "bleep")), r"methods his: fold F has no prediction of it; it has bleep,"),
        (FigureOptions(methods=("knn",)), r"F holds no clusters-knn-7.npz"),
        (FigureOptions(only=("2", "7")), r"only 7: choose among 2, 3, 4, 5, S"),
        (FigureOptions(dpi=5), r"dpi 5: choose 50 to 1200"),
        (FigureOptions(cohort=Path("gone.toml")), r"gone.toml: the study's cohort is not there"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(study: Path, tmp_path: Path, options: FigureOptions, message: str) -> None:
    options = options if options.methods else replace(options, methods=ASKED)
    with pytest.raises(UsageError, match=message):
        write_figures(study, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_folder_without_a_study_is_told(tmp_path: Path, bleep_train: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match=r"holds no study.json; run bleep-train evaluate"):
        bleep_train("figures", tmp_path, "-o", tmp_path / "out")


def test_a_scale_that_only_the_array_of_the_spots_knows(study: Path, result: Result, tmp_path: Path) -> None:
    sample = made_sample()
    write_visium(tmp_path, sample)
    cohort = write_cohort_of(tmp_path, "outs/spatial/tissue_hires_image.png")
    of_visium = replace(result, section="v", xy_l0=sample.xy[sample.inside] * HIRES)
    drawn = _tissue(study, of_visium, FigureOptions(cohort=cohort))
    assert drawn.um_per_l0 == pytest.approx(2.0)
    assert drawn.pitch_l0 == pytest.approx(50.0, rel=1e-3)
