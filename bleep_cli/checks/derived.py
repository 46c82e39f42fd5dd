"""What a bundle says of its own reliability, measured again from its embeddings and expression.

Beside :mod:`bleep_cli.bundle.verify`, which knows nothing of how reliability is measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bleep_cli.base.reasons import reason
from bleep_cli.bundle.learned.looks import Looks
from bleep_cli.bundle.learned.per_gene import HELD_OUT
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.verify import Check
from bleep_cli.errors import BleepError, ReferenceError
from bleep_cli.reference.choose import shrink_reference
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.reliability.per_gene import ranks
from bleep_cli.types import Progress, no_progress

SLACK = 0.01
"""Of a value, or of 1 for a smaller one: expression and scores are stored as float16."""
MOST_OFF = 0.01
"""Share of the scores of intervals that may be further off: some are quotients of small numbers."""
RANK = "heldout_rank"


def derived(bundle: Bundle, progress: Progress = no_progress) -> list[Check]:
    """Whether numbers per gene, intervals and distances of looks are those that its spots give."""
    if not bundle.info.reliability:
        return [Check("reliability again", True, "none stored")]
    try:
        again = with_reliability(_whole(bundle), progress=progress)
    except BleepError as error:
        return [Check("reliability again", False, str(error))]
    except Exception as error:  # damaged chunks and whatever they lead to
        return [Check("reliability again", False, reason(error))]
    parts: tuple[tuple[str, Callable[[Bundle, Built], str]], ...] = (
        ("reliability again", _genes),
        ("intervals again", _intervals),
        ("strangeness again", _strangeness),
    )
    return list(_checked(parts, bundle, again))


def _checked(
    parts: tuple[tuple[str, Callable[[Bundle, Built], str]], ...], bundle: Bundle, again: Built
) -> Iterator[Check]:
    for name, check in parts:
        try:
            yield Check(name, True, check(bundle, again))
        except ReferenceError as error:
            yield Check(name, False, str(error))


def _whole(bundle: Bundle) -> Built:
    return shrink_reference(bundle, donors=[record.donor for record in bundle.info.sections])


def _believed(bundle: Bundle) -> bool:
    """Whether it was measured by towers that were fitted again without what they were tried on: those are gone."""
    return bundle.info.reliability.get("towers") != "seen"


def _genes(bundle: Bundle, again: Built) -> str:
    stored, found = bundle.gene_columns(), again.arrays.gene_columns
    if RANK in stored and not _same(ranks(stored["heldout_r"]), stored[RANK]):
        raise ReferenceError("the ranks of the genes are not those of their held-out r")
    told = {name: again.info.reliability[name] for name in ("left_out", "groups", "folds", "spots")}
    wrong = [name for name, value in told.items() if bundle.info.reliability.get(name) != value]
    left = set(HELD_OUT) if _believed(bundle) else {RANK}
    compared = [name for name in found if name in stored and name not in left]
    wrong += [name for name in compared if not _same(stored[name], found[name])]
    if wrong:
        raise ReferenceError(f"not what its spots give: {', '.join(wrong)}")
    if _believed(bundle):
        return "quantiles of what was measured; held-out numbers are of towers fitted for them, and believed"
    return f"{', '.join(compared)}: as its spots give them"


def _intervals(bundle: Bundle, again: Built) -> str:
    stored, found = bundle.calibration(), again.arrays.calibration
    if stored is None or found is None:
        return "none stored"
    if _believed(bundle):
        return "of towers fitted for them, and believed"
    if stored.levels.shape != found.levels.shape or not _same(stored.levels, found.levels):
        return "at other levels than are measured here, and believed"
    off = ~_near(stored.scores.astype(np.float64), found.scores.astype(np.float64), 5 * SLACK)
    if not _same(stored.floor, found.floor) or off.mean() > MOST_OFF:
        raise ReferenceError(f"not what its spots give: {off.mean():.0%} of the scores of intervals differ")
    return "scores and floors as its spots give them"


def _strangeness(bundle: Bundle, again: Built) -> str:
    stored, found = bundle.looks(), again.arrays.looks
    if stored is None or found is None:
        return "none stored"
    pairs = [(np.array(stored.middle), np.array(found.middle)), (np.array(stored.reach), np.array(found.reach))]
    if len(stored.left_out) == len(found.left_out):
        pairs.append((stored.left_out, found.left_out))
    if len(pairs) < 3 or not all(_same(a, b) for a, b in pairs) or not _around_same(bundle, stored, found):
        raise ReferenceError("the distances of left-out tiles are not those of the stored looks")
    return f"{len(found.left_out)} left-out distances as the stored looks give them"


def _around_same(bundle: Bundle, stored: Looks, found: Looks) -> bool:
    """Of a draw of many spots it cannot be told: those around the drawn ones are not kept."""
    if stored.around is None or len(stored.spot) < bundle.n_spots:
        return True
    if found.around is None or len(stored.around.left_out) != len(found.around.left_out):
        return False
    return stored.around.um == found.around.um and _same(stored.around.left_out, found.around.left_out)


def _near(stored: Any, found: Any, slack: float = SLACK) -> Any:
    a, b = np.asarray(stored, np.float64), np.asarray(found, np.float64)
    return (np.abs(a - b) <= slack * np.maximum(1, np.abs(b))) | (np.isnan(a) & np.isnan(b))


def _same(stored: Any, found: Any) -> bool:
    return bool(_near(stored, found).all())
