"""A prediction as an AnnData object in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.outputs.blocks import checked_blocks
from bleep_cli.outputs.elements import elements
from bleep_cli.types import Prediction

if TYPE_CHECKING:
    from anndata import AnnData


def to_anndata(prediction: Prediction) -> AnnData:
    """The ``anndata.AnnData`` that the h5ad of the same prediction holds, whole in memory.

    ``X`` is f32[n, g] of log1p expression; the other elements are listed in :mod:`bleep_cli.outputs.formats`.
    """
    from anndata import AnnData

    x = np.empty((len(prediction.grid), len(prediction.symbols)), np.float32)
    for first, block in checked_blocks(prediction):
        x[first : first + len(block)] = block
    held = elements(prediction)
    return AnnData(X=x, obs=held["obs"], var=held["var"], obsm=held["obsm"], uns=held["uns"])
