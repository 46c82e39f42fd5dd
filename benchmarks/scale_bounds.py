"""The scale check on tissue that had no part in the choice of its bounds (docs/scale-check.md).

    python benchmarks/scale_bounds.py DATA [--json FILE]

For every tissue in turn (breast cancer, olfactory bulb, phantom, skin, the region of an unknown organ) the bounds
are chosen on the trials of benchmarks/scale.py in which it is neither the reference nor the slide, and told is how
the check does, with these bounds, on its slides. Chosen are the bounds that find most errors of two on own tissue
at no more than ``--alarms`` false alarms of all; of several, the ones in their middle.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from scale import SCALES, Slides, Source, Trial, crops, reference_of, sources, trials
from side_by_side import report

from bleep_cli.signatures.scale import FINE_ENOUGH, LEAST_TILES, Bounds, Scales, Weighing

GRID = {
    "ratio": (1.05, 1.1, 1.15, 1.2, 1.3, 1.4, 1.5),
    "reach": (1.0, 1.2, 1.4, 1.6, 1.8),
    "alike": (1.15, 1.25, 1.35, 1.5, 1.7, 2.0),
    "lean": (0.2, 0.3, 0.4, 0.5, 0.6),
}


@dataclass(frozen=True)
class Case:
    """A slide with a stated scale against a reference."""

    home: str
    tissue: str
    own: bool
    """The reference's own tissue, as finely scanned."""
    coarser: bool
    scale: float
    whole: bool
    mpp: float
    scales: Scales
    weighing: Weighing | None
    """None where it cannot be weighed."""

    def doubted(self, bounds: Bounds) -> bool:
        """Whether the check finds its scale doubtful."""
        if self.weighing is None:
            return False
        return self.scales.decide(self.weighing, self.mpp, bounds).verdict == "doubtful"


def cases(slides: Slides, trial: Trial, crop: int) -> Iterator[Case]:
    """Every weighing of a trial."""
    reference, signature, home = reference_of(slides, trial)
    for name in trial.on:
        source: Source = slides.known[name]
        fine = source.mpp <= FINE_ENOUGH * signature.mpp / 2
        for scale in SCALES:
            found = slides.features(name, signature.mpp, "as it is", scale)
            stated = source.mpp * scale
            for part in crops(len(found), crop):
                able = stated <= FINE_ENOUGH * signature.mpp and len(found[part]) >= LEAST_TILES
                yield Case(
                    home,
                    source.tissue,
                    source.tissue == home and fine,
                    source.tissue == home and not fine,
                    scale,
                    part == slice(0, len(found)),
                    stated,
                    reference,
                    reference.weigh(found[part]) if able else None,
                )


def chosen(some: Sequence[Case], alarms: float) -> tuple[Bounds, float, float]:
    """Bounds by these cases; the rate found, and of false alarms, that they have there."""
    right = [case for case in some if case.scale == 1]
    wrong = [case for case in some if case.own and case.scale in (0.5, 2)]
    tried = []
    for values in product(*GRID.values()):
        bounds = Bounds(**dict(zip(GRID, values, strict=True)))
        tried.append((bounds, rate(wrong, bounds), rate(right, bounds)))
    allowed = [one for one in tried if one[2] <= alarms]
    best = [one for one in allowed if one[1] == max(found for _, found, _ in allowed)]
    places = np.array([[GRID[name].index(value) for name, value in vars(one[0]).items()] for one in best])
    middle = np.abs(places - np.median(places, axis=0)).sum(axis=1).argmin()
    return best[int(middle)]


def rate(some: Sequence[Case], bounds: Bounds) -> float:
    """How many of them are doubted."""
    return sum(case.doubted(bounds) for case in some) / max(len(some), 1)


def told(some: Sequence[Case], bounds: Bounds) -> str:
    """The same in words."""
    return f"{sum(case.doubted(bounds) for case in some)}/{len(some)}"


def lines(every: Sequence[Case], alarms: float) -> Iterator[dict[str, Any]]:
    """A row for each tissue left out, whole slides and crops."""
    for out in dict.fromkeys(case.tissue for case in every):
        bounds, found, false = chosen([c for c in every if out not in (c.home, c.tissue)], alarms)
        for whole in (True, False):
            seen = [c for c in every if c.tissue == out and c.whole == whole]
            own, coarser = [c for c in seen if c.own], [c for c in seen if c.coarser]
            other = [c for c in seen if not c.own and not c.coarser]
            line = {"left out": out, "seen": "whole" if whole else "crop", "bounds": astuple(bounds)}
            line |= {"found where chosen": round(found, 3), "alarms where chosen": round(false, 4)}
            for name, group in (("own", own), ("coarser", coarser), ("other", other)):
                line[f"{name} x1"] = told([c for c in group if c.scale == 1], bounds)
                line[f"{name} x0.5, x2"] = told([c for c in group if c.scale in (0.5, 2)], bounds)
            yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tiles", type=int, default=48)
    parser.add_argument("--crop", type=int, default=16)
    parser.add_argument("--alarms", type=float, default=0.01)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    every: list[Case] = []
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as folder:
        slides = Slides(sources(given.data, Path(folder)), given.tiles)
        for trial in trials(slides.known):
            every += cases(slides, trial, given.crop)
            print(trial.name, file=sys.stderr)
    report(list(lines(every, given.alarms)), given.json, crop=given.crop)


if __name__ == "__main__":
    main()
