"""Which groups, and which regions, are compared with which, and the values of every patient in them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bleep_cli.base.text import counted
from bleep_cli.comparison.groups_file import Member
from bleep_cli.comparison.measure import Measured
from bleep_cli.comparison.regions import WHOLE
from bleep_cli.types import F64


@dataclass(frozen=True)
class Contrast:
    """Two sides that are compared, n and m patients; of pairs the same patients on both, in one order."""

    first: str
    second: str
    region: str
    """Where; empty where regions are what is compared."""
    paired: bool
    patients: tuple[tuple[str, ...], tuple[str, ...]]
    values: tuple[F64, F64]
    """f64[n, g] and f64[m, g]: mean expression, a patient's slides averaged."""
    left_out: tuple[str, ...] = ()
    """Patients of one side alone, where the others are pairs."""

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.second} against {self.first}" + (f" in {self.region}" if self.region else "")

    @property
    def sizes(self) -> str:
        """``3 and 4 patients``, or ``5 pairs``."""
        first, second = map(len, self.patients)
        return counted(first, "pair") if self.paired else f"{first} and {counted(second, 'patient')}"


Values = Mapping[str, F64]
"""f64[g] by patient."""


def contrasts(members: Sequence[Member], measured: Sequence[Measured]) -> Iterator[Contrast]:
    """Every pair of groups in every region, then every pair of regions within patients.

    Where a patient is in both groups, those who are in both are compared as pairs. Rows of single regions make
    their own groups: then nothing else is compared.
    """
    by_region = any(member.region for member in members)
    found = {(part.slide, part.region): part.mean for part in measured if part.tiles}
    groups = sorted({member.group for member in members})
    regions = [""] if by_region else list(dict.fromkeys(part.region for part in measured))
    for region in regions:
        sides = {group: _by_patient(members, found, group, region) for group in groups}
        for first, second in combinations(groups, 2):
            yield _of_groups(first, second, region, sides[first], sides[second])
    if not by_region:
        slides = {member.slide: member.patient for member in members}
        for first, second in combinations([region for region in regions if region != WHOLE], 2):
            yield _of_regions(first, second, slides, found)


def _by_patient(
    members: Sequence[Member], found: Mapping[tuple[str, str], F64], group: str, region: str
) -> Values:
    values = defaultdict(list)
    for member in members:
        key = (member.slide, region or member.region or WHOLE)
        if member.group == group and key in found:
            values[member.patient].append(found[key])
    return {patient: np.mean(values[patient], axis=0) for patient in sorted(values)}


def _of_groups(first: str, second: str, region: str, a: Values, b: Values) -> Contrast:
    both = sorted(set(a) & set(b))
    if not both:
        return Contrast(
            first, second, region, False, (tuple(a), tuple(b)), (_table(a.values()), _table(b.values()))
        )
    sides = (_table(a[patient] for patient in both), _table(b[patient] for patient in both))
    return Contrast(first, second, region, True, (tuple(both),) * 2, sides, tuple(sorted(set(a) ^ set(b))))


def _of_regions(
    first: str, second: str, slides: Mapping[str, str], found: Mapping[tuple[str, str], F64]
) -> Contrast:
    """Of slides that have both: a difference within a slide is not one between slides."""
    pairs = defaultdict(list)
    for slide, patient in slides.items():
        if (slide, first) in found and (slide, second) in found:
            pairs[patient].append((found[slide, first], found[slide, second]))
    patients = tuple(sorted(pairs))
    sides = [_table(np.mean([pair[side] for pair in pairs[p]], axis=0) for p in patients) for side in (0, 1)]
    left = tuple(sorted(set(slides.values()) - set(patients)))
    return Contrast(first, second, "", True, (patients, patients), (sides[0], sides[1]), left)


def _table(rows: Iterable[F64]) -> F64:
    return np.array(list(rows), np.float64)
