"""The paper's figures (section 4), drawn from the saved predictions of a study.

| figure | file |
| --- | --- |
| ``2`` | ``fig2_mean_variance``: mean and variance per gene |
| ``3`` | ``fig3_GENE``: a gene on the H&E |
| ``4`` | ``fig4_gene_gene``: gene-gene correlations |
| ``5`` | ``fig5_clusters``: Leiden clusters on the H&E |
| ``S`` | ``figS_umap``: predictions among the reference |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bleep_cli.base.files.atomic import check_free
from bleep_cli.cohort.cohort_file import cohort_entries
from bleep_cli.cohort.place import on_picture
from bleep_cli.cohort.read import read_section
from bleep_cli.errors import UsageError, option
from bleep_cli.types import Progress, no_progress
from bleep_train.figures.clusters import clusters_figure
from bleep_train.figures.data import Result, load_result, pick_gene
from bleep_train.figures.gene import gene_figure
from bleep_train.figures.gene_gene import gene_gene_figure
from bleep_train.figures.moments import moments_figure
from bleep_train.figures.style import FIGURES, Format, house_style, save
from bleep_train.figures.tissue import SectionPicture, read_tissue
from bleep_train.figures.umap import umap_figure
from bleep_train.study.saved import file_name, load_study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ON_TISSUE = {"3", "5"}
_WIDEST_PANEL_IN = 2.2


@dataclass(frozen=True)
class FigureOptions:
    """What is drawn, and how."""

    fold: str | None = None
    """Its name; None: the first."""
    section: str | None = None
    """Its id; None: the fold's first."""
    methods: tuple[str, ...] = ()
    """Their names; empty: all."""
    genes: tuple[str, ...] = ()
    """Of figure 3; empty: BLEEP's best of HVG50."""
    only: tuple[str, ...] = FIGURES
    """Figures of ``FIGURES``."""
    form: Format = "png"
    """File format."""
    dpi: int = 200
    """Pixels per inch."""
    cohort: Path | None = None
    """Replaces the path that the study remembers."""

    def check(self) -> None:
        """Raises ``UsageError`` for figures and resolutions that cannot be drawn."""
        unknown = [name for name in self.only if name not in FIGURES]
        if unknown or not self.only:
            raise UsageError(f"{option('only')} {','.join(unknown)}: choose among {', '.join(FIGURES)}")
        if not 50 <= self.dpi <= 1200:
            raise UsageError(f"{option('dpi')} {self.dpi}: choose 50 to 1200")


def write_figures(
    study: Path, out: Path, options: FigureOptions, *, force: bool = False, progress: Progress = no_progress
) -> list[Path]:
    """Draws the figures of one section of a study into ``out`` and returns their paths.

    Nothing is drawn if one of the files exists and not ``force``. The same study gives the same bytes on one
    machine. ``UsageError`` for what the study does not hold, ``OutputError`` for what cannot be written.
    """
    options.check()
    result = load_result(
        study,
        fold=options.fold,
        section=options.section,
        methods=options.methods,
        clusters="5" in options.only,
    )
    genes = [pick_gene(result, gene) for gene in options.genes or (None,)]
    tissue = _tissue(study, result, options) if _ON_TISSUE & set(options.only) else None
    drawings = _drawings(result, tissue, genes, options)
    paths = [out / f"{stem}.{options.form}" for stem, _ in drawings]
    for path in paths:
        check_free(path, force)
    with house_style():
        for i, (path, (_, draw)) in enumerate(zip(paths, drawings, strict=True)):
            progress("figures", i, len(paths))
            save(draw(), path, options.form, force=force)
    progress("figures", len(paths), len(paths))
    return paths


def _drawings(
    result: Result, tissue: SectionPicture | None, genes: Sequence[int], options: FigureOptions
) -> list[tuple[str, Callable[[], Figure]]]:
    """(file stem, how it is drawn) of each figure asked for."""
    dpi = options.dpi
    out: list[tuple[str, Callable[[], Figure]]] = []
    if "2" in options.only:
        out.append(("fig2_mean_variance", partial(moments_figure, result, dpi)))
    if "3" in options.only and tissue is not None:
        out += [
            (f"fig3_{file_name(str(result.symbols[gene]))}", partial(gene_figure, result, gene, tissue, dpi))
            for gene in dict.fromkeys(genes)
        ]
    if "4" in options.only:
        out.append(("fig4_gene_gene", partial(gene_gene_figure, result, dpi)))
    if "5" in options.only and tissue is not None:
        out.append(("fig5_clusters", partial(clusters_figure, result, tissue, dpi)))
    if "S" in options.only:
        out.append(("figS_umap", partial(umap_figure, result, dpi)))
    return out


def _tissue(study: Path, result: Result, options: FigureOptions) -> SectionPicture:
    """The section's H&E, from the cohort the study was run on."""
    path = options.cohort or Path(load_study(study).cohort)
    if not path.is_file():
        raise UsageError(f"{path.name}: the study's cohort is not there any more; name it with {option('cohort')}")
    entry = next((e for e in cohort_entries(path) if e["id"] == result.section), None)
    if entry is None:
        raise UsageError(
            f"{path.name} has no section {result.section}; name the study's own cohort with {option('cohort')}"
        )
    mpp = entry.get("mpp")
    if mpp is None:  # the picture states it, or the array of the spots, which its counts come with
        mpp = on_picture(read_section(entry, path.parent)).mpp
    width_px = round(_WIDEST_PANEL_IN * options.dpi)
    return read_tissue(path.parent / entry["image"], mpp, result.xy_l0, width_px)
