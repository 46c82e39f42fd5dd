"""The page of a comparison: one HTML file that loads nothing and needs no script; all names escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

import numpy as np

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.text import counted
from bleep_cli.comparison.outcome import Outcome, Tally
from bleep_cli.comparison.permutation import Tested
from bleep_cli.comparison.regions import WHOLE
from bleep_cli.findings import Finding
from bleep_cli.report.facts import definitions, findings_html
from bleep_cli.report.policy import policy
from bleep_cli.types import F64

MOST_ROWS = 50
"""Of a table of genes; the CSV holds all."""
WIDTH, HEIGHT, RADIUS = 220, 30, 3.5  # px of a picture of patients
COLOURS = ("#1c6a86", "#b3541e")  # told apart by the colour-blind, and by their row


def write_page(
    path: Path, tally: Tally, outcomes: Sequence[Outcome], findings: Sequence[Finding], *, force: bool
) -> None:
    """Writes the page. ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written."""
    with atomic_path(path, force) as temp:
        temp.write_text(page(tally, outcomes, findings), encoding="utf-8", newline="\n")


def page(tally: Tally, outcomes: Sequence[Outcome], findings: Sequence[Finding]) -> str:
    """The page as text."""
    setting = tally.setting
    style = _asset("page.css")
    patients, slides = len(set(setting.patients.values())), len(setting.groups)
    about = [
        ("Patients and slides", f"{patients} and {slides}"),
        ("Reference", setting.reference),
        ("Unit of values", setting.units),
        ("Genes tested", f"{len(setting.columns):,} of {len(setting.all_ids):,} that every result holds"),
        ("Gene sets", f"{len(setting.sets)}, scored by the mean z of their genes" if setting.sets else "none"),
        ("Fraction", f"of tiles above {setting.above:g}"),
        ("Assignments", f"all, or {setting.permutations:,} random ones with seed {setting.seed}"),
    ]
    contrasts = "".join(_section(outcome, tally) for outcome in outcomes)
    return Template(_asset("page.html")).substitute(
        policy=policy("", style),
        style=style,
        groups=escape(", ".join(sorted({group for groups in setting.groups.values() for group in groups}))),
        counts=f"{counted(patients, 'patient')}, {counted(slides, 'slide')}",
        warnings=counted(sum(found.severity == "warning" for found in findings), "warning"),
        contrasts=contrasts or "<p>Nothing could be compared: there are too few patients.</p>",
        regions=_regions(tally),
        findings=findings_html(findings, "this cohort"),
        about=definitions(about),
    )


def _section(outcome: Outcome, tally: Tally) -> str:
    contrast, found = outcome.contrast, outcome.genes
    first, second = map(len, contrast.patients)
    how = (
        f"{first} patients, each with itself; signs of differences flipped"
        if contrast.paired
        else (
            f"{counted(first, 'patient')} {contrast.first}, {counted(second, 'patient')} {contrast.second}; "
            "patients assigned to groups anew"
        )
    )
    looked = f"all {found.assignments:,} ways" if found.exact else f"{found.assignments:,} ways"
    least = f"{looked}; no p can be below {found.smallest_p:.2g}"
    parts = [
        f"<section class='card'><h2>{escape(contrast.title)}</h2><p class='how'>{escape(f'{how}: {least}.')}</p>"
    ]
    if outcome.sets is not None:
        parts.append(_table("Gene set", list(tally.setting.sets), outcome, outcome.sets, outcome.set_values))
    parts.append(_table("Gene", tally.setting.symbols, outcome, found, outcome.gene_values))
    return "".join((*parts, "</section>"))


def _table(kind: str, names: Sequence[str], outcome: Outcome, found: Tested, sides: tuple[F64, F64]) -> str:
    order = np.lexsort((-np.abs(found.effect), found.p))[:MOST_ROWS]
    labels = (outcome.contrast.first, outcome.contrast.second)
    rows = "".join(
        f"<tr><th scope='row'>{escape(names[i])}</th>"
        f"<td>{_picture([side[:, i] for side in sides], labels)}</td>"
        f"<td>{sides[0][:, i].mean():.3f}</td><td>{sides[1][:, i].mean():.3f}</td>"
        f"<td>{found.effect[i]:+.3f} [{found.low[i]:+.3f}, {found.high[i]:+.3f}]</td>"
        f"<td>{found.p[i]:.2g}</td><td>{found.q[i]:.2g}</td></tr>"
        for i in order.tolist()
    )
    shown = f"{len(order)} of {len(names):,}, smallest p first" if len(order) < len(names) else "all"
    heads = (kind, "Patients", *labels, "Effect [95 % interval]", "p", "q (Benjamini-Hochberg)")
    head = "".join(f"<th scope='col'>{escape(text)}</th>" for text in heads)
    key = f"a dot is a patient, above {escape(labels[0])}, below {escape(labels[1])}"
    caption = f"<caption>{kind}s: {shown}; {key}</caption>"
    label = escape(f"{kind}s, {outcome.contrast.title}", quote=True)
    scroll = f"<div class='scroll' tabindex='0' role='region' aria-label='{label}'>"  # by the keyboard, too
    return f"{scroll}<table>{caption}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _picture(sides: Sequence[F64], labels: Sequence[str]) -> str:
    """A dot for every patient, the first side above the second."""
    every = np.concatenate(list(sides))
    low, span = float(every.min()), float(np.ptp(every))
    if not span:  # all alike: in the middle
        low, span = low - 0.5, 1.0
    dots = "".join(
        f"<circle cx='{2 * RADIUS + (value - low) / span * (WIDTH - 4 * RADIUS):.1f}' cy='{8 + 14 * row}' "
        f"r='{RADIUS}' fill='{COLOURS[row]}' fill-opacity='0.75'/>"
        for row, side in enumerate(sides)
        for value in side.tolist()
    )
    told = escape(f"from {every.min():.3g} to {every.max():.3g}; above {labels[0]}, below {labels[1]}", quote=True)
    size = f"viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}'"
    return f"<svg {size} role='img' aria-label='{told}'>{dots}</svg>"


def _regions(tally: Tally) -> str:
    setting = tally.setting
    return "".join(
        f"<tr><th scope='row'>{escape(part.slide)}</th><td>{escape(setting.patients[part.slide])}</td>"
        f"<td>{escape('; '.join(setting.groups[part.slide]))}</td>"
        f"<td>{escape(part.region)}</td><td>{part.tiles:,}</td><td>{part.area_mm2:.3g}</td></tr>"
        for part in tally.measured
        if part.tiles or part.region == WHOLE
    )


def _asset(name: str) -> str:
    return (files("bleep_cli.comparison") / "assets" / name).read_text(encoding="utf-8")
