"""The public face of the runtime: what ``bleep_cli`` hands on, and what its commands call.

What is public is listed in ``bleep_cli.__all__`` and described in docs/api.md; the rest serves the command line.
What a prediction does not need is loaded when it is first used: a slide should not wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bleep_cli.base.progress import reporting
from bleep_cli.batch.anonymous import without_names
from bleep_cli.batch.entries import Entry
from bleep_cli.batch.kinds import WRITERS
from bleep_cli.batch.listed import list_slides
from bleep_cli.batch.prepare import Batch, prepare_batch
from bleep_cli.batch.run import predict_batch, tell_estimates
from bleep_cli.batch.table import read_table
from bleep_cli.bundle.encoders_folder import Encoders, load_encoders
from bleep_cli.bundle.open import Bundle, bundle_of, open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.choices import Device, GeneRule, Plane
from bleep_cli.errors import UsageError, option
from bleep_cli.outputs.blocks import default_gene
from bleep_cli.outputs.memory import to_anndata
from bleep_cli.outputs.picture import write_gene_png
from bleep_cli.outputs.read import open_result
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.parts import Built, described, opened, with_findings
from bleep_cli.slide.open import open_slide
from bleep_cli.slide.pictures.kept import keeping_pictures
from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import Neighbours, Prediction, Progress, Section, Slide, TileGrid, TileSpec

if TYPE_CHECKING:
    from anndata import AnnData

    from bleep_cli.batch.convert import convert
    from bleep_cli.checks.cohort import cohort_lines, cohort_record, inspect_cohort
    from bleep_cli.checks.demo import predict_demo, score_demo, write_demo
    from bleep_cli.checks.doctor import examine
    from bleep_cli.checks.gene_inspection import inspect_genes
    from bleep_cli.checks.inspection import inspect_bundle
    from bleep_cli.checks.slide_inspection import inspect_slide
    from bleep_cli.cohort.read import read_cohort
    from bleep_cli.comparison.compare import compare_groups
    from bleep_cli.genes.gene_sets import genes_of_sets
    from bleep_cli.outputs.anonymous import names_of
    from bleep_cli.qc.slide import qc
    from bleep_cli.receipts.explain import explain
    from bleep_cli.reference.build import EmbedImages
    from bleep_cli.reference.sign import sign_reference
    from bleep_cli.reliability.of_bundles import merge_references, shrink_reference
    from bleep_cli.report.figure import plot
    from bleep_cli.report.page import report
    from bleep_cli.viewer.view import view

__all__ = [
    "Batch", "Built", "Bundle", "Encoders", "Entry", "Neighbours", "PredictOptions", "Prediction", "Predictor",
    "Progress", "Section", "Slide", "TileGrid", "TileSpec", "build_reference", "cohort_lines", "cohort_record",
    "compare_groups", "convert", "describe", "examine", "explain", "genes_of_sets", "grow_reference",
    "inspect_bundle", "inspect_cohort", "inspect_genes", "inspect_slide", "list_slides", "load_encoders",
    "merge_references", "names_of", "open_bundle", "open_result", "open_slide", "plot", "predict",
    "predict_batch", "predict_demo", "prepare_batch", "qc", "read_cohort", "read_table", "report", "score_demo",
    "shrink_reference", "sign_reference", "tell_estimates", "to_anndata", "view", "without_names", "write",
    "write_demo",
]  # fmt: skip

_LATER = {
    "batch.convert": ("convert",), "checks.cohort": ("cohort_lines", "cohort_record", "inspect_cohort"),
    "checks.demo": ("predict_demo", "score_demo", "write_demo"), "checks.doctor": ("examine",),
    "checks.gene_inspection": ("inspect_genes",),
    "checks.inspection": ("inspect_bundle",), "checks.slide_inspection": ("inspect_slide",),
    "cohort.read": ("read_cohort",), "comparison.compare": ("compare_groups",),
    "genes.gene_sets": ("genes_of_sets",), "outputs.anonymous": ("names_of",), "qc.slide": ("qc",),
    "receipts.explain": ("explain",), "reference.sign": ("sign_reference",),
    "reliability.of_bundles": ("merge_references", "shrink_reference"), "report.figure": ("plot",),
    "report.page": ("report",), "viewer.view": ("view",),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _LATER.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"bleep_cli.{module}"), name)


Asked = Progress | bool | None
"""What a caller may give as ``progress``: a callback, or whether to draw bars; None draws them at a prompt and
in a notebook, and not in a script."""


def predict(
    slide: Path | str,
    ref: Bundle | Path | str,
    *,
    ref_sha256: str | None = None,
    ref_key: Path | str | None = None,
    genes: Sequence[str] | None = None,
    at: Path | str | None = None,
    mask: Path | str | None = None,
    mask_class: Sequence[str] = (),
    origin: Plane = "auto",
    mpp: float | None = None,
    scene: int | str | None = None,
    k: int | None = None,
    exclude_donor: Sequence[str] = (),
    exclude_section: Sequence[str] = (),
    include_own: bool = False,
    device: Device = "auto",
    progress: Asked = None,
) -> AnnData:
    """Spatial gene expression of one slide, as ``bleep predict`` writes it, in memory.

    Parameters
    ----------
    slide
        Any file that ``bleep predict`` takes.
    ref
        A bundle's path, or an open bundle; ``ref_sha256`` is the content hash that one of a path must have,
        ``ref_key`` a file of public keys (OpenSSH), one of which must have signed it.
    genes
        Symbols or ids; all by default.
    at
        A table of positions in place of the grid over the tissue: of Space Ranger, ST, Seurat or QuPath, or
        with id, x and y in level-0 px.
    mask
        A GeoJSON or picture file in place of the tissue that would be found.
    mask_class
        Classes of the mask that are tissue (of a label image its values); all but QuPath's ``Ignore*`` by default.
    origin
        What ``at`` or ``mask`` count from, on a slide with bounds: its corner (``level0``), or that of its scanned
        part (``bounds``), as in QuPath; by default where the tissue is.
    mpp
        µm per level-0 pixel, where the slide states none or a wrong one.
    scene
        Which picture of a file that holds several, by its index from 0 or its name; the largest by default.
    k
        Neighbours to average; the bundle's own number by default.
    exclude_donor, exclude_section, include_own
        Whose spots have no part; by default those of the donor of a slide that is a section of the reference.
    device
        Where the image tower runs.
    progress
        A callback ``progress(stage, done, total)``, or whether to draw bars; by default where it can be seen

    Returns
    -------
    ``anndata.AnnData`` with ``X`` f32[tiles, genes], log1p of normalised counts; the other elements are those of
    the h5ad (:mod:`bleep_cli.outputs.formats`).

    Raises ``SlideError``, ``ReferenceError``, ``UsageError`` and ``DeviceError`` (:mod:`bleep_cli.errors`).
    """
    chosen = None if genes is None else tuple(genes)
    donors, excluded = tuple(exclude_donor), tuple(exclude_section)
    options = PredictOptions(genes=chosen, k=k, device=device, origin=origin, mask_class=tuple(mask_class))
    options = replace(options, exclude_donor=donors, exclude_section=excluded, include_own=include_own)
    predictor = Predictor(bundle_of(ref, ref_sha256, ref_key), options)
    return to_anndata(predictor.predict(slide, at=at, mask=mask, mpp=mpp, scene=scene, progress=progress))


def build_reference(
    cohort: Path | str | Sequence[Section],
    encoders: Path | str | Encoders | None = None,
    *,
    backbone: Path | str | None = None,
    backbone_config: Path | str | None = None,
    only: Sequence[str] | None = None,
    views: int | None = None,
    device: Device = "auto",
    embed_images: EmbedImages | None = None,
    progress: Asked = None,
) -> Built:
    """A reference of the sections of a cohort; :func:`write` makes a bundle of it.

    ``cohort`` is a cohort file, or sections that were read; ``only`` names sections. ``encoders`` is a folder that
    ``bleep-train export`` made, or what was read of one; without them the towers are fitted in closed form to the
    sections themselves, which needs the package onnx (extra ``build``), and ``views`` says how many flips and
    rotations are averaged, 1 or 8 (default). ``backbone`` is then an image encoder of one's own in place of the
    shipped one, ``FILE.onnx`` or ``FILE.onnx:tensor,tensor``, and ``backbone_config`` a TOML file that says what
    it takes, by default ``FILE.toml`` beside it (docs/own-backbone.md). Raises ``ReferenceError``, ``UsageError``
    and ``DeviceError``.
    """
    from bleep_cli.cohort.read import sections_of
    from bleep_cli.fitting.backbone import load_backbone
    from bleep_cli.fitting.given_looks import with_fitted_looks, with_raw_looks
    from bleep_cli.fitting.recipe import fit_towers
    from bleep_cli.reference import build
    from bleep_cli.reliability.measure import with_reliability

    if encoders is not None and views is not None:
        raise UsageError(f"{option('views')} goes without {option('encoders')}, which say it themselves")
    if encoders is not None and backbone is not None:
        raise UsageError(f"{option('backbone')} goes without {option('encoders')}, which hold theirs")
    if backbone is None and backbone_config is not None:
        raise UsageError(f"{option('backbone_config')} says what a {option('backbone')} takes; name one")
    with reporting(progress, "reference") as report, keeping_pictures():
        network = None if backbone is None else load_backbone(backbone, backbone_config)
        sections = sections_of(cohort, only, report)
        if encoders is None:
            fitted = fit_towers(sections, network, views=views or ALL_VIEWS, device=device, progress=report)
            built = build.build_reference(
                sections,
                fitted.encoders,
                device=device,
                towers_saw_them=True,
                embed_images=fitted.embed_images,
                progress=report,
            )
            built = with_reliability(built, fitted.refit, progress=report)
            return _as_stated(with_findings(built, fitted.findings), cohort)
        towers = encoders if isinstance(encoders, Encoders) else load_encoders(Path(encoders))
        looking, told = with_raw_looks(towers)
        built = build.build_reference(sections, looking, device=device, embed_images=embed_images, progress=report)
        built = with_reliability(with_fitted_looks(built, towers, told), progress=report)
        return _as_stated(built, cohort)


def grow_reference(
    base: Bundle | Path | str,
    cohort: Path | str | Sequence[Section],
    *,
    only: Sequence[str] | None = None,
    genes: GeneRule = "shared",
    device: Device = "auto",
    progress: Asked = None,
) -> Built:
    """``base`` with the sections of a cohort added, embedded by its own towers; the base stays as it is.

    Genes of the base that not all of the sections measure are left out; with ``genes`` "base" they count as not
    detected. Raises ``ReferenceError`` for a base that cannot grow, or sections that are in already or do not fit.
    """
    from bleep_cli.cohort.read import sections_of
    from bleep_cli.reference import grow
    from bleep_cli.reliability.measure import with_reliability

    bundle = opened(base)
    with reporting(progress, bundle.name) as report, keeping_pictures():
        sections = sections_of(cohort, only, report)
        grown = grow.grow_reference(bundle, sections, genes=genes, device=device, progress=report)
        return _as_stated(with_reliability(grown, progress=report), cohort)


def describe(built: Built, *, species: str = "", licence: str = "", citation: str = "") -> Built:
    """A reference with these texts in its attributes, where a cohort file's keys of the same names put them, too.

    A text that is there already is kept and the new one added behind it: terms of towers and of a bundle that was
    grown go on holding.
    """
    return described(built, {"species": species, "licence": licence, "citation": citation})


def write(
    result: Prediction | Built,
    path: Path | str,
    *,
    format: str | None = None,
    gene: str | None = None,
    force: bool = False,
) -> Path:
    """Writes a prediction, or a reference as a bundle; whole or not at all.

    ``format`` of a prediction is ``h5ad``, ``zarr``, ``spatialdata``, ``parquet``, ``csv``, ``geojson``,
    ``ometiff``, ``cellxgene``, ``html`` (a page with maps) or ``png`` (of ``gene``, by default the one that varies
    most); without it the ending of ``path`` says which. A bundle is a folder ``.zarr`` or a ``.zarr.zip``. Returns
    ``path``. Raises ``OutputError`` for what exists, unless ``force``, or cannot be written, else ``UsageError``.
    """
    target = Path(path)
    if isinstance(result, Built):
        write_bundle(target, result.info, result.arrays, force=force)
        return target
    kind = format or target.suffix.lstrip(".")
    if kind == "png":
        write_gene_png(result, gene or default_gene(result), target, force=force)
    elif kind in WRITERS:
        WRITERS[kind].write(result, target, force=force)
    else:
        raise UsageError(f"{option('format')} {kind or target.name}: choose among {', '.join((*WRITERS, 'png'))}")
    return target


def _as_stated(built: Built, cohort: Path | str | Sequence[Section]) -> Built:
    from bleep_cli.cohort.cohort_file import cohort_texts

    return described(built, cohort_texts(cohort)) if isinstance(cohort, Path | str) else built
