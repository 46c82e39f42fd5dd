"""Some sections of a bundle by name, and what is searched and corrected by without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bleep_cli.base.reasons import did_you_mean
from bleep_cli.base.rows import PickedRows, SpooledRows
from bleep_cli.bundle.contents import SectionRecord
from bleep_cli.bundle.index import HELD_BYTES, stated_number
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.slope import RIDGE, SHARE, expression_slope
from bleep_cli.bundle.stored import SLOPE
from bleep_cli.choices import Key
from bleep_cli.errors import UsageError, option
from bleep_cli.search.exact import ExactIndex
from bleep_cli.types import F32, I64, Bool, Index


def named_sections(records: Sequence[SectionRecord], bundle: str, **named: Sequence[str]) -> list[str]:
    """Ids of the sections that are named by donor or by id, in the order of the bundle.

    ``named`` is by the parameter that names them, such as ``donors`` or ``exclude_section``. Raises ``UsageError``
    for a name that is not there.
    """
    found: set[str] = set()
    for parameter, names in named.items():
        of = [record.donor if "donor" in parameter else record.id for record in records]
        absent = [name for name in names if name not in of]
        if absent:
            hint = did_you_mean(absent, dict.fromkeys(of))
            raise UsageError(f"{option(parameter)}: {', '.join(absent)} not in {bundle}{hint}")
        found |= {record.id for record, name in zip(records, of, strict=True) if name in names}
    return [record.id for record in records if record.id in found]


def spots_without(bundle: Bundle, sections: Sequence[str]) -> Bool:
    """bool[n]: the spots of other sections than these."""
    return np.asarray(~np.isin(bundle.spots("section"), list(sections)))


def index_without(bundle: Bundle, key: Key, kept: Bool) -> Index:
    """Exact search over the spots ``kept`` bool[n]; a stored graph of all cannot answer that."""
    rows = bundle.embedding_rows(key)
    n, dim = rows.shape
    return ExactIndex(rows[:n] if 4 * n * dim <= HELD_BYTES else SpooledRows(rows), kept=kept)


def slope_without(bundle: Bundle, columns: I64, kept: Bool) -> F32:
    """The slope f32[d, g] of those genes as the spots ``kept`` bool[n] alone give it: that of all would carry what
    was measured in the others into a prediction without them. Raises as ``Bundle.slope``."""
    bundle.slope(columns[:0])
    attrs, rows = bundle.array(SLOPE).attrs, np.flatnonzero(kept)
    return expression_slope(
        PickedRows(bundle.embedding_rows("image"), rows),
        PickedRows(bundle.expression_rows(columns), rows),
        stated_number(attrs, "ridge", RIDGE, SLOPE),
        stated_number(attrs, "share", SHARE, SLOPE),
    )
