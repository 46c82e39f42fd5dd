"""The page put together: one HTML file that loads nothing.

Its own script and style are allowed by their hashes, so a name that were to smuggle in a script could not run it
even if it were not escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.outputs.anonymous import anonymised
from bleep_cli.outputs.read import open_result
from bleep_cli.outputs.set_scores import scored
from bleep_cli.plotting.gene import FOOTER
from bleep_cli.report import facts
from bleep_cli.report.pack import jpeg
from bleep_cli.report.payload import payload
from bleep_cli.report.policy import policy
from bleep_cli.types import Prediction, Progress, no_progress

PAGE_SUFFIX = ".html"
SCRIPTS = ("values.js", "colours.js", "view.js", "strip.js", "map.js", "picker.js", "main.js")
"""In the order in which they use each other."""


def write_report(
    prediction: Prediction,
    path: Path,
    *,
    genes: Sequence[str] | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> None:
    """Writes the page of a prediction: maps of ``genes``, by default of those that vary most, and what is known.

    Values of a map have 254 steps between the least and the largest of their gene. The same prediction gives the
    same bytes. ``UsageError`` for genes that are not predicted, ``OutputError`` if ``path`` exists and not
    ``force``, or if it cannot be written.
    """
    with atomic_path(path, force) as temp:
        temp.write_text(page(prediction, genes), encoding="utf-8", newline="\n")
        progress("write", len(prediction.grid), len(prediction.grid))


def report(
    result: Path | str,
    path: Path | str | None = None,
    *,
    genes: Sequence[str] | None = None,
    sets: Path | str | None = None,
    force: bool = False,
    anonymise: bool = False,
) -> Path:
    """A written result as one HTML page, by default beside it; returns its path. ``genes`` are symbols or ids,
    ``sets`` a GMT file whose sets are layers of the page. With ``anonymise`` it is called by the slide's hash, and
    holds no names (:mod:`bleep_cli.outputs.anonymous`).

    Raises ``UsageError`` for what is no result and for genes that it does not hold, ``OutputError`` for a damaged
    result and a page that exists already, unless ``force``, or cannot be written.
    """
    prediction = scored(open_result(result), sets)
    prediction = anonymised(prediction) if anonymise else prediction
    beside = Path(result).with_suffix(PAGE_SUFFIX)
    beside = beside.with_name(f"{prediction.slide_id}{PAGE_SUFFIX}") if anonymise else beside
    write_report(prediction, beside if path is None else Path(path), genes=genes, force=force)
    return beside if path is None else Path(path)


def page(prediction: Prediction, genes: Sequence[str] | None = None) -> str:
    """The page as text."""
    held = payload(prediction, genes)
    script = "\n".join(['(() => {\n"use strict";', *map(_asset, SCRIPTS), "})();"])
    style = _asset("page.css")
    shown, predicted = len(held.head["genes"]), len(prediction.symbols)
    fields = {
        "policy": policy(script, style),
        "title": escape(f"{prediction.slide_id} · BLEEP"),
        "slide": escape(prediction.slide_id),
        "footer": escape(FOOTER),
        "tiles": f"{len(prediction.grid):,}",
        "pitch": f"{prediction.grid.pitch_um:.4g}",
        "genes": f"{shown:,} of {predicted:,} predicted genes" if shown < predicted else f"all {shown:,} genes",
        "reference": escape(dict(facts.reference_facts(prediction)).get("Name", "unknown")),
        "k": str(prediction.neighbours.index.shape[1]),
        "use": escape(str(prediction.provenance.get("intended_use") or "Research use only.")),
        "warnings": str(sum(finding.severity == "warning" for finding in prediction.findings)),
        "findings": facts.findings_html(prediction.findings),
        "slide_facts": facts.definitions(facts.slide_facts(prediction)),
        "reference_facts": facts.definitions(facts.reference_facts(prediction)),
        "method_facts": facts.definitions(facts.method_facts(prediction)),
        "provenance": facts.provenance_html(prediction.provenance),
        "pieces": facts.pieces_html(prediction),
        "overview": base64.b64encode(jpeg(prediction.hires)).decode("ascii"),
        "head": held.embedded_head(),
        "stream": held.embedded_stream(),
    }
    return Template(_asset("page.html")).substitute(fields, style=style, script=script)


def _asset(name: str) -> str:
    return (files("bleep_cli.report") / "assets" / name).read_text(encoding="utf-8")
