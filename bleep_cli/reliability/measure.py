"""A reference that was built or grown, with what is measured of its reliability added to it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bleep_cli.bundle.contents import BundleArrays
from bleep_cli.bundle.looks import Looks
from bleep_cli.bundle.per_gene import COLUMNS
from bleep_cli.findings import Finding
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.groups import groups_of, neighbourhoods
from bleep_cli.reliability.left_out import MOST_SPOTS, LeftOut, Refit, drawn, leave_out
from bleep_cli.reliability.per_gene import per_gene
from bleep_cli.reliability.strangeness import calibrated
from bleep_cli.types import Progress, no_progress

FEWEST_SPOTS = 20


def with_reliability(built: Built, refit: Refit | None = None, *, progress: Progress = no_progress) -> Built:
    """The same with numbers per gene, what they were measured by, and, where the image tower tells what tiles look
    like, how strange its own are to it.

    ``refit`` as :func:`leave_out` takes it. Of fewer than 20 spots nothing is measured, and a finding says so.
    """
    arrays = built.arrays
    if len(arrays.section) < FEWEST_SPOTS:
        told = f"of {len(arrays.section)} spots none is left out: how well genes are predicted is not known"
        info = replace(
            built.info, reliability={}, findings=(*built.findings, Finding("reliability-missing", told))
        )
        kept = {name: values for name, values in arrays.gene_columns.items() if name not in COLUMNS}
        return Built(info, replace(arrays, gene_columns=kept, looks=None))
    left_out = leave_out(arrays, built.info, refit, progress=progress)
    columns = per_gene(left_out, neighbourhoods(arrays.section, arrays.xy_l0))
    info = replace(built.info, reliability=_attrs(left_out, arrays))
    arrays = replace(arrays, gene_columns={**arrays.gene_columns, **columns}, looks=_looks(built))
    return Built(info, arrays)


def _looks(built: Built) -> Looks | None:
    """Those of the bundles that it is made of, where there are any, and of the spots that were embedded for it; an
    even draw of many."""
    arrays, held, new = built.arrays, built.arrays.looks, built.looks
    n = len(arrays.section)
    if new is None or len(new) == n:
        if held is None and new is None:
            return None
        spot, looks = (held.spot, held.tiles) if new is None and held is not None else (np.arange(n), new)
    elif held is None:
        return None
    else:
        spot = np.concatenate([held.spot, np.arange(n - len(new), n)])
        looks = np.concatenate([held.tiles.astype(np.float32), new])
    by, group = groups_of(arrays.donor, arrays.section, arrays.xy_l0)
    rows = drawn(group[spot], MOST_SPOTS)
    return calibrated(np.asarray(looks, np.float32)[rows], spot[rows], group[spot[rows]], by)


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
