"""What the page says in words: the slide, the reference, how it was predicted, what was noticed; all escaped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from bleep_cli.findings import Finding
from bleep_cli.types import Prediction

_MOST_SECTIONS = 12
_AGGREGATIONS = {
    "average": "their mean",
    "corrected": "their mean, corrected for how far the tile lies from them",
    "projected": "their mean, corrected for how far the tile lies from them, as the principal components of the "
    "reference see it",
    "simple": "the nearest alone",
    "weighted": "their mean, weighted by similarity",
    "published-weighted": "their mean, weighted as in the published code",
}
Facts = Sequence[tuple[str, str]]
"""Labels and what stands beside them."""


def slide_facts(prediction: Prediction) -> Facts:
    """The slide and its tiles."""
    grid, said = prediction.grid, prediction.provenance
    slide = _part(said, "slide")
    size = f"{_count(slide['width_px'])} × {_count(slide['height_px'])} px" if "width_px" in slide else ""
    fields = " and ".join(f"{um:.4g}" for um in grid.spec.um)
    outside = int((~prediction.in_tissue).sum())
    facts = [
        ("File", str(slide.get("name", prediction.slide_id))),
        ("Size", size),
        ("Pixel size used", f"{grid.mpp:.4g} µm" + (f" ({slide['mpp_source']})" if "mpp_source" in slide else "")),
        ("Tiles", f"{_count(len(grid))}, {grid.pitch_um:.4g} µm apart" if len(grid) > 1 else "1"),
        ("Field of view", f"{fields} µm"),
        ("Outside the tissue", _count(outside) if outside else ""),
    ]
    return _told(facts)


def reference_facts(prediction: Prediction) -> Facts:
    """Whose measurements the prediction is made of."""
    reference = _part(prediction.provenance, "reference")
    sections = [str(name) for name in reference.get("sections", ())]
    more = f" and {len(sections) - _MOST_SECTIONS} more" if len(sections) > _MOST_SECTIONS else ""
    donors, spots = (_count(reference[key]) if key in reference else "" for key in ("donors", "spots"))
    facts = [
        ("Name", str(reference.get("name", ""))),
        ("Species and tissue", str(reference.get("species", ""))),
        ("Donors", "1: what holds for another is not known" if donors == "1" else donors),
        ("Measured spots", spots),
        ("Sections", f"{', '.join(sections[:_MOST_SECTIONS])}{more}"),
        ("Genes on left-out spots", _held_out(prediction)),
        ("Licence", str(reference.get("licence", ""))),
        ("Citation", str(reference.get("citation", ""))),
    ]
    return _told(facts)


def method_facts(prediction: Prediction) -> Facts:
    """How its values came about."""
    said = prediction.provenance
    options = _part(said, "options")
    views = options.get("views")
    facts = [
        ("Spots behind each tile (K)", str(prediction.neighbours.index.shape[1])),
        ("Value of a tile", _AGGREGATIONS.get(str(options.get("aggregation")), "")),
        ("Unit", str(said.get("expression_units", ""))),
        ("Compared by", f"{options['key']} embedding" if "key" in options else ""),
        ("Views of each tile", f"{views}" if views else ""),
        ("Precision", str(options.get("precision", ""))),
        ("bleep-cli", str(said.get("bleep_version", ""))),
    ]
    return _told(facts)


def _held_out(prediction: Prediction) -> str:
    """How well the genes are predicted where it could be measured, in a sentence; empty where nobody has."""
    r = prediction.var.get("heldout_r")
    if r is None or not np.isfinite(r).any():
        return ""
    said = _part(_part(prediction.provenance, "reliability"), "per_gene")
    seen = "; the towers have seen these spots: too good" if said.get("towers") == "seen" else ""
    known = np.asarray(r[np.isfinite(r)], np.float64)
    middle = (
        f"median r {np.median(known):.2f}, best {known.max():.2f}, {(known >= 0.3).mean():.0%} of r 0.3 or more"
    )
    return f"{middle} (one {said.get('left_out', 'group')} left out at a time{seen})"


def definitions(facts: Facts) -> str:
    """Facts as a description list."""
    return "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>" for label, text in facts)


def findings_html(findings: Sequence[Finding], of: str = "this slide") -> str:
    """What was noticed, warnings first, as a list; a sentence where nothing was."""
    if not findings:
        return f"<p>Nothing was noticed about {escape(of)}.</p>"
    ordered = sorted(findings, key=lambda finding: finding.severity != "warning")
    return f"<ul class='findings'>{''.join(map(_finding, (f.plain() for f in ordered)))}</ul>"


def _finding(said: Mapping[str, str]) -> str:
    what, mend = (escape(said[name][:1].upper() + said[name][1:]) for name in ("what", "mend"))
    where = f" <span class='where'>{escape(said['where'])}</span>" if said["where"] else ""
    cure = f" {mend}." if mend else ""
    word = "Warning" if said["severity"] == "warning" else "Note"
    return f"<li class='{escape(said['severity'])}'><strong>{word}</strong> {what}.{cure}{where}</li>"


def pieces_html(prediction: Prediction) -> str:
    """The rows of the table of tissue pieces; what a gene has in each is filled in by the page."""
    area_mm2 = (prediction.grid.pitch_um / 1000) ** 2
    names, counts = np.unique(prediction.grid.region, return_counts=True)
    return "".join(
        f"<tr><th scope='row'><button type='button' class='piece' data-piece='{place}'>"
        f"{escape(str(name))}</button></th><td>{_count(count)}</td><td>{count * area_mm2:.3g}</td>"
        f"<td class='mean' data-panel='0'></td><td class='mean' data-panel='1'></td></tr>"
        for place, (name, count) in enumerate(zip(names, counts, strict=True))
    )


def provenance_html(said: Mapping[str, Any]) -> str:
    """Everything the result says of how it was made, by name; findings are told elsewhere."""
    return definitions(list(_flat({key: value for key, value in said.items() if key != "findings"})))


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in sorted(value.items()):
            yield from _flat(item, f"{path} › {key}" if path else str(key))
    elif isinstance(value, list | tuple):
        if any(isinstance(item, Mapping | list) for item in value):
            for place, item in enumerate(value):
                yield from _flat(item, f"{path} › {place}")
        elif value:
            yield path, ", ".join(map(str, value))
    elif value is not None and value != "":
        yield path, str(value)


def _part(said: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = said.get(name)
    return part if isinstance(part, Mapping) else {}


def _told(facts: Iterable[tuple[str, str]]) -> Facts:
    return [(label, text) for label, text in facts if text]


def _count(number: Any) -> str:
    return f"{int(number):,}"
