"""Each slide and region of a cohort reduced to a few numbers per gene, by one pass over its expression."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.choices import Plane
from bleep_cli.comparison.regions import WHOLE, tiles_of
from bleep_cli.errors import BleepError
from bleep_cli.findings import Finding
from bleep_cli.outputs.blocks import checked_blocks
from bleep_cli.outputs.read import open_result
from bleep_cli.types import F64, I64, Bool, Progress

COMPARED_OPTIONS = ("k", "aggregation", "key", "views")
"""Options that change every value of a prediction: slides that differ in them differ for no reason of theirs."""


@dataclass(frozen=True)
class Source:
    """A result that was opened and closed again: what is kept of it until it is measured."""

    path: Path
    slide: str
    names: frozenset[str]
    """What a table may call the slide: its name in the result, its file's name, that without its ending."""
    slide_sha256: str
    """Hash of the slide's file; empty where the result does not state it."""
    gene_ids: tuple[str, ...]
    symbols: tuple[str, ...]
    reference: str
    """Content hash."""
    reference_name: str
    units: str
    options: Mapping[str, Any]
    tile_mm2: float
    regions: Mapping[str, Bool]
    """bool[n] by region, the whole tissue first; none where those that were given are at fault."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Measured:
    """A region of a slide."""

    slide: str
    region: str
    tiles: int
    area_mm2: float
    """Of its tiles, each the square of the distance between them."""
    mean: F64
    """f64[g] over its tiles; NaN without any."""
    squares: F64
    """f64[g] mean of the squares."""
    above: F64
    """f64[g] share of its tiles above the stated value."""


def open_sources(
    paths: Sequence[Path], regions_of: Callable[[frozenset[str]], Path | None], origin: Plane
) -> tuple[list[Source], list[str]]:
    """Every result, and what is wrong with those that cannot be taken, a line each."""
    sources: list[Source] = []
    faults: list[str] = []
    for path in paths:
        try:
            sources.append(_source(path, regions_of, origin, sources[0].gene_ids if sources else (), faults))
        except BleepError as error:
            faults.append(error.text)
    return sources, faults


def _source(
    path: Path,
    regions_of: Callable[[frozenset[str]], Path | None],
    origin: Plane,
    known: tuple[str, ...],
    faults: list[str],
) -> Source:
    result = open_result(path)
    said = result.provenance
    slide, reference = said.get("slide", {}), said.get("reference", {})
    file = str(slide.get("name", ""))
    names = frozenset({result.slide_id, path.stem, file, Path(file).stem} - {""})
    ids = tuple(map(str, result.gene_ids))
    regions: Mapping[str, Bool] = {}
    findings: tuple[Finding, ...] = ()
    try:
        regions, findings = tiles_of(result, regions_of(names), origin)
    except BleepError as error:
        faults.append(error.text)
    return Source(
        path=path,
        slide=result.slide_id,
        names=names,
        slide_sha256=str(slide.get("sha256", "")),
        gene_ids=known if ids == known else ids,  # one copy for a whole cohort
        symbols=tuple(map(str, result.symbols)),
        reference=str(reference.get("content_sha256", "")),
        reference_name=str(reference.get("name", "")),
        units=str(said.get("expression_units", "")),
        options={name: said.get("options", {}).get(name) for name in COMPARED_OPTIONS},
        tile_mm2=(result.grid.pitch_um / 1000) ** 2,
        regions=regions,
        findings=tuple(
            replace(found, where=found.where or result.slide_id) for found in (*result.findings, *findings)
        ),
    )


def measure(source: Source, gene_ids: Sequence[str], above: float, progress: Progress) -> Iterator[Measured]:
    """Every region of a result, of these genes, in their order; in memory of a block of it."""
    result = open_result(source.path)
    slot = {gene: place for place, gene in enumerate(map(str, result.gene_ids))}
    columns: I64 = np.array([slot[gene] for gene in gene_ids], np.int64)
    sums, squares, over = (np.zeros((len(source.regions), len(columns))) for _ in range(3))
    masks = np.stack(list(source.regions.values()))
    for first, block in checked_blocks(result):
        values = block[:, columns].astype(np.float64)
        inside = masks[:, first : first + len(block)].astype(np.float64)
        sums += inside @ values
        over += inside @ (values > above)
        squares += inside @ np.square(values, out=values)
        progress("measure", first + len(block), len(result.grid))
    for place, region in enumerate(source.regions):
        tiles = int(masks[place].sum())
        with np.errstate(invalid="ignore"):
            mean, square, share = (total[place] / np.float64(tiles) for total in (sums, squares, over))
        yield Measured(source.slide, region, tiles, tiles * source.tile_mm2, mean, square, share)


def spread(measured: Sequence[Measured], patients: Mapping[str, str]) -> tuple[F64, F64]:
    """(mean, standard deviation) f64[g] of tiles in tissue over a cohort.

    Every patient counts the same, and so does every slide of a patient.
    """
    whole = [part for part in measured if part.region == WHOLE]
    slides: dict[str, int] = {}
    for part in whole:
        slides[patients[part.slide]] = slides.get(patients[part.slide], 0) + 1
    weights = np.array([1 / slides[patients[part.slide]] for part in whole])
    mean, square = (
        np.average([getattr(p, name) for p in whole], axis=0, weights=weights) for name in ("mean", "squares")
    )
    variance = square - mean**2
    return mean, np.sqrt(np.where(variance > 1e-12 * square, variance, 0.0))
