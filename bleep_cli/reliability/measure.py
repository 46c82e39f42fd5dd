"""A reference that was built or grown, with what is measured of its reliability added to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bleep_cli.bundle.contents import BundleArrays
from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.bundle.learned.looks import Looks
from bleep_cli.bundle.learned.per_gene import COLUMNS
from bleep_cli.cohort.patches import parts_of
from bleep_cli.cohort.pitch import pitch
from bleep_cli.findings import Finding
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.groups import groups_of, neighbourhoods
from bleep_cli.reliability.intervals import LEVELS, interval_scores
from bleep_cli.reliability.left_out import MOST_SPOTS, LeftOut, Refit, drawn, leave_out
from bleep_cli.reliability.patch_range import patch_range
from bleep_cli.reliability.per_gene import per_gene
from bleep_cli.reliability.strangeness import Spots, calibrated, left_out_around
from bleep_cli.types import F32, I64, Progress, no_progress

FEWEST_SPOTS = 20
AROUND_PITCHES = 2.5
"""Of the spots, or of the field of view where that is larger: how far those around a tile lie at most."""


def with_reliability(built: Built, refit: Refit | None = None, *, progress: Progress = no_progress) -> Built:
    """The same with numbers per gene, what they were measured by, how far values lie from predicted ones, and,
    where the image tower tells what tiles look like, how strange its own are to it.

    ``refit`` as :func:`leave_out` takes it. Of fewer than 20 spots nothing is measured, and a finding says so.
    """
    arrays = built.arrays
    earlier = tuple(finding for finding in built.findings if finding.code != "reliability-missing")
    built = replace(built, info=replace(built.info, findings=earlier, reliability={}))
    if len(arrays.section) < FEWEST_SPOTS:
        told = f"of {len(arrays.section)} spots none is left out: how well genes are predicted is not known"
        info = replace(built.info, findings=(*built.findings, Finding("reliability-missing", told)))
        kept = {name: values for name, values in arrays.gene_columns.items() if name not in COLUMNS}
        return Built(info, replace(arrays, gene_columns=kept, looks=None, calibration=None))
    left_out = leave_out(arrays, built.info, refit, progress=progress)
    columns = per_gene(left_out, neighbourhoods(arrays.section, arrays.xy_l0))
    info = replace(built.info, reliability=_attrs(left_out, arrays))
    mpp = {record.id: record.mpp for record in info.sections if record.mpp}
    further: dict[str, Any] = {
        "gene_columns": {**arrays.gene_columns, **columns},
        "looks": _looks(built, mpp),
        "calibration": _calibration(left_out, arrays, mpp),
    }
    return Built(info, replace(arrays, **further))


def _calibration(left_out: LeftOut, arrays: BundleArrays, mpp: Mapping[str, float]) -> Calibration:
    scores, floor = interval_scores(left_out)
    return Calibration(LEVELS, scores, floor, patch_range(left_out, arrays, mpp))


def _looks(built: Built, mpp: Mapping[str, float]) -> Looks | None:
    """Those of the bundles it is of, where it is of any, and of the spots that were embedded for it; an even draw
    of many. ``mpp`` µm per level-0 px by section, where it is known."""
    arrays, old, new = built.arrays, built.arrays.looks, built.looks
    n = len(arrays.section)
    first = n if new is None else n - len(new)
    if first and old is None:
        return None
    known: list[tuple[I64, F32]] = [] if old is None else [(old.spot, old.tiles.astype(np.float32))]
    known += [] if new is None else [(np.arange(first, n), new)]
    if not known:
        return None
    spot, looks = (np.concatenate(part) for part in zip(*known, strict=True))
    by, group = groups_of(arrays.donor[spot], arrays.section[spot], arrays.xy_l0[spot])
    rows = drawn(group, MOST_SPOTS)
    found = calibrated(looks[rows], spot[rows], group[rows], by)
    section = arrays.section[spot]
    if set(section.tolist()) - mpp.keys():
        return found
    um = arrays.xy_l0[spot] * np.array([mpp[name] for name in section.tolist()])[:, None]
    step = float(np.median([pitch(um[part]) for part in parts_of(section)]))
    reach = AROUND_PITCHES * max(step, built.info.tile.um[0])
    return replace(found, around=left_out_around(found, rows, Spots(looks, group, section, um), reach))


def _attrs(left_out: LeftOut, arrays: BundleArrays) -> dict[str, object]:
    """As the attributes of a bundle state it."""
    _, group = groups_of(arrays.donor, arrays.section, arrays.xy_l0)
    return {
        "left_out": left_out.by,
        "groups": len(np.unique(group)),
        "folds": len(np.unique(left_out.fold)),
        "spots": len(left_out.spots),
        "towers": left_out.towers,
        "interval": "spots drawn by neighbourhood within each fold, 200 times, 2.5 to 97.5 %",
    }
