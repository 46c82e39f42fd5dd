"""A cohort compared: everything checked first, every slide measured, every contrast tested, then written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.files.atomic import check_free
from bleep_cli.base.hidden import Hidden
from bleep_cli.base.progress import reporting
from bleep_cli.base.reasons import did_you_mean
from bleep_cli.choices import Plane
from bleep_cli.comparison.anonymous import without_names
from bleep_cli.comparison.contrast import Contrast, contrasts
from bleep_cli.comparison.groups_file import Member, named, read_groups
from bleep_cli.comparison.measure import Source, measure, open_sources, spread
from bleep_cli.comparison.outcome import FEWEST, Outcome, Setting, Tally, tested
from bleep_cli.comparison.page import write_page
from bleep_cli.comparison.regions import region_files, slide_of
from bleep_cli.comparison.tables import PAGE, file_names, write_tables
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding, refuse_warnings
from bleep_cli.genes.gene_sets import known_of, read_gmt, set_columns
from bleep_cli.types import I64, Progress

ABOVE = 1.0  # log1p(counts per 10,000): 1.7 of 10,000
PERMUTATIONS = 10_000


@dataclass(frozen=True)
class Compared:
    """What came of a comparison."""

    files: tuple[Path, ...]
    outcomes: tuple[Outcome, ...]
    findings: tuple[Finding, ...]
    anonymous: bool = False
    """Whether folders are not told either."""

    def _shown(self, file: Path) -> str:
        return file.name if self.anonymous else str(file)

    def record(self) -> dict[str, Any]:
        """As JSON-able values."""
        told = [
            {
                "comparison": o.contrast.title,
                "paired": o.contrast.paired,
                "patients": [*map(len, o.contrast.patients)],
            }
            | {"genes": len(o.genes.p), "genes_q_0.05": _found(o), "smallest_p": o.genes.smallest_p}
            for o in self.outcomes
        ]
        findings = [finding.plain() for finding in self.findings]
        return {"files": [self._shown(file) for file in self.files], "comparisons": told, "findings": findings}

    def lines(self) -> list[str]:
        """In words, a line a comparison."""
        lines = [
            f"{o.contrast.title}: {_found(o)} of {len(o.genes.p):,} genes with q <= 0.05 ({o.contrast.sizes})"
            for o in self.outcomes
        ]
        return [*lines, f"page {self._shown(self.files[0])}"]


def _found(outcome: Outcome) -> int:
    return int((outcome.genes.q <= 0.05).sum())


def compare_groups(
    results: Sequence[Path | str],
    groups: Path | str,
    out: Path | str,
    *,
    regions: Sequence[Path | str] = (),
    sets: Path | str | None = None,
    genes: Sequence[str] | None = None,
    above: float = ABOVE,
    origin: Plane = "auto",
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    anonymise: bool = False,
    strict: bool = False,
    force: bool = False,
    progress: Progress | bool | None = None,
) -> Compared:
    """Groups of patients compared by written results; tables and a page in the folder ``out``.

    Parameters
    ----------
    results
        What ``bleep predict`` wrote, h5ad or Zarr, a slide each; all of one reference.
    groups
        A table with the columns slide, patient, group, and region where a row is of one region of a slide.
    regions
        GeoJSON files named after their slides; each class is a region.
    sets
        A GMT file of gene sets.
    genes
        Symbols or ids of what is tested and written; by default every gene that all results hold.
    above
        Tables tell the share of tiles whose value (log1p) is above this.
    origin
        What regions count from on slides with bounds: "level0", "bounds" (the corner of the scanned part, as in
        QuPath), or "auto": told by where the tissue is.
    permutations
        As many are looked at: all there are, or else so many random ones by ``seed``.
    anonymise
        Calls slides by their hashes and patients by numbers, in files, findings and faults.

    Raises
    ------
    UsageError
        Every fault of the inputs, a line each, before a slide is measured; warnings where ``strict``.
    OutputError
        A file in ``out`` exists and not ``force``, or cannot be written.
    """
    if permutations < 99:
        raise UsageError(f"{option('permutations')} {permutations}: at least 99 are needed")
    folder = Path(out)
    files = tuple(folder / name for name in file_names(with_sets=sets is not None))
    for file in files:
        check_free(file, force)
    outlines = {slide_of(path): path for path in region_files(regions)}
    sources, faults = open_sources(
        [Path(path) for path in results],
        lambda names: next((outlines[name] for name in sorted(names) if name in outlines), None),
        origin,
    )
    rows, hidden = read_groups(Path(groups), anonymise=anonymise), Hidden({})
    members, more = named(rows, {name: s.slide for s in sources for name in s.names})
    faults += [*more, *_faults(sources, members, outlines)]
    if anonymise:
        named_files = [*map(Path, results), *outlines.values()]
        sources, members, hidden = without_names(sources, members, rows, named_files)
    if faults:
        raise UsageError("\n".join(map(hidden.text, dict.fromkeys(faults))))
    setting = _setting(sources, members, genes, sets, above, permutations, seed)
    with reporting(progress, folder.name) as report:
        measured = [part for source in sources for part in measure(source, setting.all_ids, above, report)]
    mean, deviation = spread(measured, setting.patients)
    tally = Tally(setting, measured, mean, deviation)
    chosen = list(contrasts(members, measured))
    outcomes = tuple(tested(contrast, tally) for contrast in chosen if _enough(contrast))
    findings = (*_noticed(sources, setting), *_of_contrasts(chosen, outcomes))
    if strict:
        refuse_warnings(findings, UsageError)
    write_tables(folder, tally, outcomes, force=force)
    write_page(folder / PAGE, tally, outcomes, findings, force=force)
    return Compared(files, outcomes, findings, anonymise)


def _faults(sources: Sequence[Source], members: Sequence[Member], outlines: Mapping[str, Path]) -> Iterator[str]:
    for slide, number in Counter(source.slide for source in sources).items():
        if number > 1:
            yield f"{slide}: {number} results are of a slide of this name"
    if len({source.reference for source in sources}) > 1:
        told = ", ".join(f"{source.slide} ({source.reference_name})" for source in sources)
        yield f"the results are of different references, whose values cannot be compared: {told}"
    if len({source.units for source in sources}) > 1:
        yield f"the results are in different units: {', '.join(sorted({source.units for source in sources}))}"
    known = {name for source in sources for name in source.names}
    for name, path in outlines.items():
        if name not in known:
            yield f"{path.name}: there is no result of a slide {name}{did_you_mean(name, known)}"
    found = {source.slide: source.regions for source in sources}
    for source in sources:
        if outlines and len(source.regions) == 1:
            yield f"{source.slide}: {option('regions')} names no file of this slide"
    for member in members:
        regions = found.get(member.slide, {})
        if member.region and regions and member.region not in regions:
            yield f"{member.slide}: has no region {member.region}{did_you_mean(member.region, regions)}"
    if len({member.group for member in members}) < 2 and not outlines:
        yield "the table of groups holds fewer than two groups"


def _setting(
    sources: Sequence[Source],
    members: Sequence[Member],
    genes: Sequence[str] | None,
    sets: Path | str | None,
    above: float,
    permutations: int,
    seed: int,
) -> Setting:
    """What is measured and tested; ``UsageError`` for genes and sets of which there is nothing."""
    shared = set(sources[0].gene_ids).intersection(*(source.gene_ids for source in sources))
    kept = [place for place, gene in enumerate(sources[0].gene_ids) if gene in shared]
    if not kept:
        raise UsageError("the results have no gene in common")
    ids, symbols = ([names[place] for place in kept] for names in (sources[0].gene_ids, sources[0].symbols))
    slots = {name: place for names in (ids, symbols) for place, name in enumerate(names)}
    genes = None if genes is None else known_of(genes, slots, "the results")
    absent = [gene for gene in genes or () if gene not in slots]
    if absent:
        hint = did_you_mean(absent[0], symbols)
        raise UsageError(f"{option('genes')} {', '.join(absent[:10])}: not in every result{hint}")
    columns: I64 = np.arange(len(ids)) if genes is None else np.array(list(dict.fromkeys(slots[g] for g in genes)))
    given = {} if sets is None else read_gmt(Path(sets))
    found = {name: set_columns(names, slots) for name, names in given.items()}
    empty = [name for name, places in found.items() if not len(places)]
    if empty:
        raise UsageError(f"{option('sets')} {', '.join(empty[:10])}: none of its genes is in every result")
    return Setting(
        all_ids=tuple(ids),
        all_symbols=tuple(symbols),
        columns=columns,
        sets=found,
        set_sizes={name: len(names) for name, names in given.items()},
        patients={member.slide: member.patient for member in members},
        groups={s.slide: tuple(sorted({m.group for m in members if m.slide == s.slide})) for s in sources},
        reference=sources[0].reference_name,
        units=sources[0].units,
        above=above,
        permutations=permutations,
        seed=seed,
        genes_of_some=len(set().union(*(source.gene_ids for source in sources)) - shared),
    )


def _enough(contrast: Contrast) -> bool:
    return min(map(len, contrast.patients)) >= FEWEST


def _noticed(sources: Sequence[Source], setting: Setting) -> Iterator[Finding]:
    if setting.genes_of_some:
        what = f"{setting.genes_of_some} genes that not all results hold were left out"
        yield Finding("genes-of-some-results", what)
    for name in sources[0].options:
        values = {str(source.options[name]): source.slide for source in sources}
        if len(values) > 1:
            told = ", ".join(f"{value} ({slide}, ...)" for value, slide in values.items())
            yield Finding("results-differ", f"results were predicted with different {name}: {told}")
    for source in sources:
        for region, tiles in source.regions.items():
            if not tiles.any():
                yield Finding("region-empty", f"no tile has its centre in {region}", source.slide)
        yield from source.findings


def _of_contrasts(chosen: Sequence[Contrast], outcomes: Sequence[Outcome]) -> Iterator[Finding]:
    for contrast in chosen:
        if contrast.left_out:
            what = f"{len(contrast.left_out)} patients are on one side alone and were left out of the pairs: "
            yield Finding("patients-unpaired", what + ", ".join(contrast.left_out), contrast.title)
        if not _enough(contrast):
            yield Finding("patients-few", f"{contrast.sizes} are too few to be compared", contrast.title)
    for outcome in outcomes:
        if outcome.genes.smallest_p > 0.05:
            what = f"with so few patients no p value is below {outcome.genes.smallest_p:.3g}"
            yield Finding("patients-few", what, outcome.contrast.title)
