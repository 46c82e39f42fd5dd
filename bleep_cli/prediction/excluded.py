"""Sections of the reference that have no part in a prediction: those that a user names, and a slide's own.

A slide that is itself a section of the reference would be predicted from its own measurement, and its donor's
other sections are nearly as bad a test: so all of its donor's sections are left out, unless a user wants them in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.rows import PickedRows, SpooledRows
from bleep_cli.base.text import counted
from bleep_cli.bundle.contents import BundleInfo, SectionRecord, named_sections
from bleep_cli.bundle.index.measured import HELD_BYTES
from bleep_cli.bundle.learned.components import SLOPE as COMPONENTS_SLOPE
from bleep_cli.bundle.learned.components import Components, fit_scores
from bleep_cli.bundle.learned.slope import RIDGE, SHARE, expression_slope
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.stored import SLOPE, stated_number
from bleep_cli.choices import Aggregation, Key
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.prediction.expression.place import Along
from bleep_cli.search.exact import ExactIndex
from bleep_cli.types import F32, I64, Bool, Index, Slide

if TYPE_CHECKING:
    from bleep_cli.prediction.options import PredictOptions


@dataclass(frozen=True)
class LeftOut:
    """What has no part in the prediction of one slide."""

    sections: tuple[str, ...] = ()
    """Ids of sections of the reference, in its order."""
    findings: tuple[Finding, ...] = ()
    """What to say of it."""


def excluded_sections(info: BundleInfo, options: PredictOptions, bundle: str = "the reference") -> tuple[str, ...]:
    """Ids of the sections that the options exclude, by donor or by id, in the order of the reference.

    ``UsageError`` for a name that is not there, and where none would be left.
    """
    names = {"exclude_donor": options.exclude_donor, "exclude_section": options.exclude_section}
    found = tuple(named_sections(info.sections, bundle, **names))
    if found and len(found) == len(info.sections):
        given = " and ".join(option(name) for name, value in names.items() if value)
        raise UsageError(f"{given}: no section of {bundle} would be left")
    return found


def level_sections(info: BundleInfo, asked: Sequence[str], gone: Sequence[str], bundle: str) -> tuple[str, ...]:
    """Ids of the sections that were asked for, in the order of the reference, without those that are ``gone``.

    ``UsageError`` for a name that is not there, and where all of them are gone.
    """
    found = tuple(named_sections(info.sections, bundle, level_of=asked))
    left = tuple(name for name in found if name not in gone)
    if found and not left:
        raise UsageError(
            f"{option('level_of')} {', '.join(found)}: left out of this prediction, so that its level is not known"
        )
    return left


def asks_for_hash(info: BundleInfo) -> bool:
    """Whether :func:`left_out` may hash a slide."""
    return any(record.image_sha256 for record in info.sections)


def left_out(info: BundleInfo, options: PredictOptions, slide: Slide) -> LeftOut:
    """What has no part in the prediction of this slide.

    The slide is only hashed where the reference knows the images of its sections, and nothing but its main file is
    compared: another export of the same picture is another file.
    """
    asked = excluded_sections(info, options)
    told = [Finding("donor-left-out", _told(info, asked, "as was asked"), slide.name)] if asked else []
    known = {record.image_sha256 for record in info.sections if record.id not in asked} - {""}
    own = [r for r in info.sections if r.image_sha256 == slide.sha256 and r.id not in asked] if known else []
    if not own:
        return LeftOut(asked, tuple(told))
    same = "the slide is the image of " + _names(own)
    if options.include_own:
        what = f"{same}, which has a part in the prediction, as was asked"
        return LeftOut(asked, (*told, Finding("own-kept", what, slide.name)))
    donors = {record.donor for record in own}
    for of_own in ({r.id for r in info.sections if r.donor in donors}, {r.id for r in own}):
        everything = tuple(r.id for r in info.sections if r.id in of_own or r.id in asked)
        if len(everything) < len(info.sections):
            added = tuple(r.id for r in info.sections if r.id in of_own and r.id not in asked)
            why = f"{same}; {option('include_own')} keeps them"
            return LeftOut(everything, (*told, Finding("own-left-out", _told(info, added, why), slide.name)))
    what = f"{same}, and the reference has no other: its own measurement is what predicts it"
    return LeftOut(asked, (*told, Finding("own-kept", what, slide.name)))


def _told(info: BundleInfo, ids: tuple[str, ...], why: str) -> str:
    records = [record for record in info.sections if record.id in ids]
    spots = sum(record.n for record in records)
    unseen = all(record.towers_saw_it is False for record in records)
    towers = "" if unseen else "; the towers may have been fitted to them"
    return f"{_names(records)} ({counted(spots, 'spot')} of the reference) left out of the search: {why}{towers}"


def _names(records: list[SectionRecord]) -> str:
    return f"section{'s' if len(records) > 1 else ''} {', '.join(record.id for record in records)}"


def spots_without(bundle: Bundle, sections: Sequence[str]) -> Bool:
    """bool[n]: the spots of other sections than these."""
    if not sections:  # a million names take a second to read
        return np.ones(bundle.n_spots, bool)
    return np.asarray(~np.isin(bundle.spots("section"), list(sections)))


def index_without(bundle: Bundle, key: Key, kept: Bool) -> Index:
    """Exact search over the spots ``kept`` bool[n]; a stored graph of all cannot answer that."""
    rows = bundle.embedding_rows(key)
    n, dim = rows.shape
    return ExactIndex(rows[:n] if 4 * n * dim <= HELD_BYTES else SpooledRows(rows), kept=kept)


def along_without(bundle: Bundle, columns: I64, how: Aggregation, kept: Bool) -> Along:
    """What corrects predictions of those genes, as the spots ``kept`` bool[n] alone give it: what the bundle
    keeps, which is of all spots, would carry what was measured in the others into a prediction without them.

    Raises as ``Bundle.slope`` and ``Bundle.components``.
    """
    if how == "corrected":
        return bundle.slope(columns) if kept.all() else _slope_without(bundle, columns, kept)
    if how == "projected":
        return bundle.components(columns) if kept.all() else _components_without(bundle, columns, kept)
    return None


def _slope_without(bundle: Bundle, columns: I64, kept: Bool) -> F32:
    bundle.slope(columns[:0])
    rows = np.flatnonzero(kept)
    return expression_slope(
        PickedRows(bundle.embedding_rows("image"), rows),
        PickedRows(bundle.expression_rows(columns), rows),
        *_constants(bundle, SLOPE),
    )


def _components_without(bundle: Bundle, columns: I64, kept: Bool) -> Components:
    """The scores of the others are 0, and nobody asks for them."""
    bundle.components(columns[:0])
    rows = np.flatnonzero(kept)
    scores = fit_scores(SpooledRows(PickedRows(bundle.expression_rows(bundle.panel), rows)))
    found = scores.tell(
        PickedRows(bundle.embedding_rows("image"), rows),
        PickedRows(bundle.expression_rows(columns), rows),
        *_constants(bundle, COMPONENTS_SLOPE),
    )
    of_all = np.zeros((len(kept), found.scores.shape[1]), np.float32)
    of_all[rows] = found.scores
    return replace(found, scores=of_all)


def _constants(bundle: Bundle, path: str) -> tuple[float, float]:
    """Ridge and share of the slope at that path."""
    attrs = bundle.array(path).attrs
    return stated_number(attrs, "ridge", RIDGE, path), stated_number(attrs, "share", SHARE, path)
