"""What neighbours say of a tile, and what its own place among them adds.

Where predictions are corrected that is the slope of expression along the image embedding (``correct.py``), where
they are projected the slope of the components' scores (``project.py``), else nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from bleep_cli.bundle.learned.components import Components
from bleep_cli.prediction.expression.correct import at_least_0, corrected
from bleep_cli.prediction.expression.project import projected_blocks
from bleep_cli.types import F32, Neighbours

Along: TypeAlias = F32 | Components | None
"""The slope f32[d, g], or the components [n_ref, g]."""


def placed(
    means: Iterable[tuple[int, F32]], neighbours: Neighbours, weights: F32, offset: F32, along: Along
) -> Iterator[tuple[int, F32]]:
    """The blocks ``(first row, f32[b, g])`` of a prediction.

    ``means`` are those of ``impute_blocks``; where expression is told by components nobody asks for them.
    ``weights`` f32[n, k], ``offset`` f32[n, d] as ``offsets`` makes it, which is not looked at without ``along``.
    """
    if isinstance(along, Components):
        yield from at_least_0(projected_blocks(neighbours, weights, offset, along))
    elif along is not None:
        yield from corrected(means, offset, along)
    else:
        yield from means
