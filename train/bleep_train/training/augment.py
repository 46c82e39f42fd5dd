"""Augmentation on the device: flips, right angles (paper section 4) and, where asked for, stain jitter.

Stain jitter (Tellez et al. 2018) separates a tile into haematoxylin, eosin and DAB by colour deconvolution
(Ruifrok & Johnston 2001), perturbs each stain's density and puts the tile together again.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.types import F32, I64

STAINS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))  # OD of R, G, B: haematoxylin, eosin, DAB
DARKEST = 1 / 255  # what a black pixel counts as: log10(0) is not a density


def turned(tiles: Tensor, views: I64) -> Tensor:
    """Each tile of f32[b, c, p, p] in its own view, in the order of ``bleep_cli.towers.encoder.views_of``."""
    out = torch.empty_like(tiles)
    for view in range(ALL_VIEWS):
        rows = torch.from_numpy(np.flatnonzero(views == view))
        if len(rows):
            part = tiles[rows].flip(3) if view >= ALL_VIEWS // 2 else tiles[rows]
            out[rows] = torch.rot90(part, view % 4, dims=(2, 3))
    return out


def stain_matrix(device: torch.device) -> Tensor:
    """f32[3, 3]: a row of unit length per stain, its optical density in R, G and B."""
    matrix = torch.tensor(STAINS, dtype=torch.float64)
    return torch.nn.functional.normalize(matrix, dim=1).float().to(device)


def separated(rgb: Tensor) -> Tensor:
    """RGB f32[b, 3, p, p] in [0, 1] → densities of the three stains f32[b, 3, p, p], in units of OD (log10)."""
    density = -rgb.clamp(min=DARKEST).log10()
    return torch.einsum("bchw,cs->bshw", density, torch.linalg.inv(stain_matrix(rgb.device)))


def stained(densities: Tensor) -> Tensor:
    """The inverse of :func:`separated`, clipped to [0, 1]."""
    density = torch.einsum("bshw,sc->bchw", densities, stain_matrix(densities.device))
    return torch.pow(10.0, -density).clamp(0, 1)


def stain_draws(n: int, sigma: float, rng: np.random.Generator) -> F32:
    """f32[n, 2, 3]: for each tile and stain the factor α ~ U(1 ± σ) and the offset β ~ U(± σ)."""
    draws = rng.uniform(-sigma, sigma, (n, 2, 3))
    draws[:, 0] += 1
    return draws.astype(np.float32)


def restained(tiles: Tensor, draws: Tensor) -> Tensor:
    """Tiles f32[b, 3 * fields, p, p], each with α and β of its own, f32[b, 2, 3], alike in all fields."""
    fields = tiles.shape[1] // 3
    factor, offset = (part.repeat_interleave(fields, dim=0)[..., None, None] for part in draws.unbind(dim=1))
    rgb = tiles.reshape(-1, 3, *tiles.shape[2:])
    return stained(separated(rgb) * factor + offset).reshape(tiles.shape)
