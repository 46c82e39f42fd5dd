"""Spots held back without a second donor or section: a strip of every section, and a margin around it.

Neighbouring spots share tissue, and where their fields of view overlap even pixels. So what is learned from keeps
away from what is held back by one field of view: no tile of the one shows a pixel of the other.
"""

from __future__ import annotations

import numpy as np

from bleep_cli.reliability.groups import STRIPS, strips
from bleep_cli.tiles.section import section_slide
from bleep_cli.types import F64, I64, Section
from bleep_train.data.training_set import TrainingSet


def held_back_strips(data: TrainingSet, field_um: float, seed: int) -> tuple[I64, I64]:
    """i64[v] spots of one strip of five across the longer side of every section, drawn by ``seed``, and i64[t]
    those at least ``field_um`` µm from each of them in x or in y."""
    from scipy.spatial import cKDTree

    rng = np.random.default_rng(seed)
    held, learned = [], []
    for i, section in enumerate(data.sections):
        rows, xy = np.flatnonzero(data.section_of == i), positions_um(section)
        longer = int(np.ptp(xy, axis=0).argmax())
        back = strips(xy[:, longer]) == rng.integers(STRIPS)
        far = cKDTree(xy[back]).query(xy, p=np.inf)[0] >= field_um
        held.append(rows[back])
        learned.append(rows[far & ~back])
    return np.concatenate(held), np.concatenate(learned)


def positions_um(section: Section) -> F64:
    """Spot centres f64[n, 2] (x, y) in µm from the image's corner; the image is asked where the section names no
    pixel size."""
    if section.mpp is not None:
        return section.xy_l0 * section.mpp
    with section_slide(section) as slide:
        return section.xy_l0 * slide.mpp
