"""``bleep inspect COHORT.toml``: what a cohort's sections hold, and whether their spots lie on their pictures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.files.atomic import check_free
from bleep_cli.cohort.cohort_file import each_entry
from bleep_cli.cohort.pitch import neighbour_distance
from bleep_cli.cohort.place import fitted, looked_at, on_slide
from bleep_cli.cohort.read import read_section
from bleep_cli.cohort.spot_fit import SpotFit
from bleep_cli.errors import BleepError, OutputError, ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.fitting.backbone import TILE_PX
from bleep_cli.fitting.onnx_settings import FIELDS_UM
from bleep_cli.genes.names import is_ensembl
from bleep_cli.genes.species import MOUSE_OR_RAT, guessed_species
from bleep_cli.outputs.picture import SECTION_SUFFIX, write_section_png
from bleep_cli.plotting.section import SpotPicture
from bleep_cli.types import F64, Progress, Section, Slide, no_progress

COARSE = 2.0  # times the µm per pixel of tiles, as on a slide to predict


@dataclass
class SectionReport:
    """What was found of one section, as far as it could be read."""

    id: str
    facts: dict[str, Any] = field(default_factory=dict)
    """JSON-able; docs/api.md lists them."""
    findings: tuple[Finding, ...] = ()
    error: BleepError | None = None
    """What the section is refused for."""
    picture: Path | None = None
    """Where its spots were drawn."""


@dataclass(frozen=True)
class CohortReport:
    """What was found of every section of a cohort file, those that are refused among them."""

    name: str
    sections: tuple[SectionReport, ...]
    findings: tuple[Finding, ...]
    """Of all sections, and of them together."""

    @property
    def errors(self) -> list[BleepError]:
        """What sections are refused for, in the file's order."""
        return [section.error for section in self.sections if section.error is not None]


def inspect_cohort(
    path: Path, out: Path | None = None, *, force: bool = False, progress: Progress = no_progress
) -> CohortReport:
    """Reads every section and compares its spots with its picture; draws them into the folder ``out``, if given.

    Raises ``UsageError`` or ``ReferenceError`` for a file that is broken as a whole, ``OutputError`` for pictures
    that are there already, unless ``force``, or cannot be written.
    """
    entries = each_entry(path)
    pictures = _pictures(out, [name for name, _ in entries])
    for file in filter(None, pictures):
        check_free(file, force)
    reports = []
    for i, ((name, entry), picture) in enumerate(zip(entries, pictures, strict=True)):
        progress("sections", i, len(entries))
        if isinstance(entry, ReferenceError):
            reports.append(SectionReport(name, error=entry))
        else:
            reports.append(_inspected(entry, path.parent, picture, force))
    progress("sections", len(entries), len(entries))
    together = _together(reports)
    return CohortReport(path.name, tuple(reports), (*(f for r in reports for f in r.findings), *together))


def _pictures(out: Path | None, names: Sequence[str]) -> list[Path | None]:
    """A file in ``out`` for each section: its id as far as a file may be called so."""
    if out is None:
        return [None] * len(names)
    safe = [re.sub(r"[^\w.-]+", "_", name) for name in names]
    stems = [stem if safe.count(stem) == 1 else f"{i}-{stem}" for i, stem in enumerate(safe, 1)]
    return [out / f"{stem}{SECTION_SUFFIX}" for stem in stems]


def _inspected(entry: dict[str, Any], base: Path, picture: Path | None, force: bool) -> SectionReport:
    report = SectionReport(entry["id"], {"donor": entry["donor"]})
    try:
        section = read_section(entry, base)
        report.findings = section.findings
        report.facts |= _of_counts(section)
        _compare(report, section, picture, force)
    except OutputError:
        raise
    except BleepError as error:
        report.error = error
    return report


def _of_counts(section: Section) -> dict[str, Any]:
    least, low, middle, high = np.percentile(_totals(section), (0, 25, 50, 75)).tolist()
    return {
        "spots": len(section.barcodes),
        "counts_per_spot": {"least": least, "lower_quartile": low, "median": middle, "upper_quartile": high},
        "genes": len(section.gene_ids),
        "gene_names": "ids" if is_ensembl(section.gene_ids) else "symbols",
        "species": guessed_species(section.gene_ids, section.symbols),
    }


def _totals(section: Section) -> F64:
    return np.asarray(section.counts.sum(axis=1, dtype=np.float64)).ravel()


def _compare(report: SectionReport, section: Section, picture: Path | None, force: bool) -> None:
    """Adds what is to say of the spots on the picture, and draws them. Raises what the section is refused for."""
    try:
        with on_slide(section) as (placed, slide):
            report.findings = placed.findings
            fit = _look(report, placed, slide, picture, force)
            report.facts["mpp_from"] = _mpp_from(section, placed)
            report.findings += _coarse(placed, slide)
            report.findings += looked_at(placed, slide, fit, section.plane)
    except ReferenceError:
        if report.picture is None and section.plane is not None:
            _draw_as_they_are(report, section, picture, force)
        raise


def _draw_as_they_are(report: SectionReport, section: Section, picture: Path | None, force: bool) -> None:
    """The spots where their positions stand, for a person to see why they do not fit; nothing where that fails."""
    mpp = section.mpp or (section.plane.um if section.plane else None)
    try:
        with on_slide(replace(section, plane=None, mpp=mpp)) as (bare, slide):
            _look(report, bare, slide, picture, force)
    except OutputError:
        raise
    except BleepError:
        return


def _look(report: SectionReport, section: Section, slide: Slide, picture: Path | None, force: bool) -> SpotFit:
    fit = fitted(section, slide)
    pitch = neighbour_distance(section.xy_l0) if len(section.xy_l0) > 1 else 0.0
    outside, on_glass = int(fit.outside.sum()), int(fit.on_glass.sum())
    report.facts |= {
        "picture": slide.name,
        "picture_px": list(slide.size_l0),
        "mpp": slide.mpp,
        "spots_outside": outside,
        "spots_on_glass": on_glass,
        "pitch_um": pitch * slide.mpp,
        "tile_um": FIELDS_UM[0],
    }
    if picture is not None:
        scale = fit.ground.scale
        width, height = slide.size_l0
        below = (
            f"{len(section.xy_l0):,} spots, {pitch * slide.mpp:.3g} µm apart; {outside} beside the picture, "
            f"{on_glass} on glass; {slide.name}, {width} × {height} px at {slide.mpp:.3g} µm/px"
        )
        drawn = SpotPicture(
            overview=fit.ground.overview,
            um_per_hires=slide.mpp / scale,
            xy_hires=section.xy_l0 * scale,
            pitch_hires=pitch * scale or 10.0,
            totals=_totals(section),
            astray=fit.outside | fit.on_glass,
            title=f"{section.id} (donor {section.donor})",
            below=below,
        )
        write_section_png(drawn, picture, force=force)
        report.picture = picture
    return fit


def _mpp_from(section: Section, placed: Section) -> str:
    if any(finding.code == "mpp-by-array" for finding in placed.findings):
        return "the array of its spots"
    return "the picture" if section.mpp is None else "the cohort file or folder"


def _coarse(section: Section, slide: Slide) -> tuple[Finding, ...]:
    finest = FIELDS_UM[0] / TILE_PX
    if slide.mpp < COARSE * finest:
        return ()
    what = f"{slide.name} has {slide.mpp:.3g} µm per pixel, tiles of {FIELDS_UM[0]:g} µm are read at {finest:.3g}"
    return (Finding("slide-coarse", what, section.id),)


def _together(reports: Sequence[SectionReport]) -> tuple[Finding, ...]:
    """What there is to say of the sections together."""
    species = sorted({report.facts["species"] for report in reports if report.facts.get("species")})
    if len(species) < 2 or set(species) == {MOUSE_OR_RAT, "Mus musculus"}:
        return ()
    of = ", ".join(f"{report.id}: {report.facts['species']}" for report in reports if report.facts.get("species"))
    return (Finding("species-mixed", f"by the names of their genes the sections are of different species ({of})"),)


def cohort_record(report: CohortReport) -> dict[str, Any]:
    """The report as JSON-able values."""
    sections = [
        {
            "id": section.id,
            **section.facts,
            "file": str(section.picture) if section.picture else None,
            "findings": [finding.plain() for finding in section.findings],
            "error": str(section.error) if section.error else None,
        }
        for section in report.sections
    ]
    return {
        "name": report.name,
        "sections": sections,
        "refused": [section.id for section in report.sections if section.error],
        "findings": [finding.plain() for finding in report.findings],
    }


def cohort_lines(report: CohortReport) -> list[str]:
    """The report for a person, but for findings and errors."""
    lines = [f"{report.name}: {len(report.sections)} sections, {len(report.errors)} of them refused"]
    for section in report.sections:
        facts = section.facts
        lines.append(
            f"{section.id}: {'REFUSED' if section.error else 'ok'}, donor {facts.get('donor', 'not stated')}"
        )
        if "spots" in facts:
            counts = facts["counts_per_spot"]
            lines.append(
                f"  {facts['spots']:,} spots × {facts['genes']:,} genes, named by {facts['gene_names']}"
                + (f" of {facts['species']}" if facts["species"] else "")
            )
            lines.append(
                f"  counts per spot: median {counts['median']:,.0f}, quartiles {counts['lower_quartile']:,.0f} to "
                f"{counts['upper_quartile']:,.0f}, least {counts['least']:,.0f}"
            )
        if "picture" in facts:
            width, height = facts["picture_px"]
            source = f" by {facts['mpp_from']}" if "mpp_from" in facts else ""
            lines += [
                f"  {facts['picture']}: {width} × {height} px, {facts['mpp']:.4g} µm/px{source}",
                f"  {facts['spots_outside']} spots outside it, {facts['spots_on_glass']} on glass; they lie "
                f"{facts['pitch_um']:.3g} µm apart, the smallest tiles are {facts['tile_um']:g} µm",
            ]
        if section.picture:
            lines.append(f"  drawn in {section.picture.name}")
    return lines
