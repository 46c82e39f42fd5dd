"""How the tissue of a reference looks, at its own scale and at wrong ones, as a bundle keeps it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.bundle.stored import read_group
from bleep_cli.limits import MOST_TILE_PX
from bleep_cli.types import F32, I64

if TYPE_CHECKING:
    from bleep_cli.bundle.storage.arrays import Group

SIGNATURE = "signature"
"""The group of its arrays."""
TILES = f"{SIGNATURE}/tiles"
DTYPES = {"tiles": "<f2", "rest": "<f4", "section": "<i8", "mean": "<f4", "basis": "<f4"}


@dataclass(frozen=True)
class Signature:
    """Features of n tiles of the reference's sections at s scales, in p principal components of d features."""

    tiles: NDArray[np.float16]
    """f16[s, n, p]: (features - ``mean``) @ ``basis``."""
    rest: F32
    """f32[s, n]: the square of what the components leave out of each."""
    section: I64
    """i64[n] the place in ``BundleInfo.sections`` of each tile's section; a section's tiles stand from top to
    bottom."""
    mean: F32
    """f32[d]."""
    basis: F32
    """f32[d, p], columns of length 1 at right angles."""
    scales: tuple[float, ...]
    """What the sections' own mpp was multiplied by, ascending; 1 is among them."""
    px: int
    """Edge of a tile in pixels."""
    mpp: float
    """µm per pixel of a tile."""
    backbone_sha256: str
    """Of the network that the features are of."""

    def project(self, features: F32) -> tuple[F32, F32]:
        """f32[m, d] features → f32[m, p] components, and f32[m] the square of what they leave out."""
        return projected(features, self.mean, self.basis)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Its arrays as they are stored, by path."""
        return {f"{SIGNATURE}/{name}": getattr(self, name).astype(dtype) for name, dtype in DTYPES.items()}

    def attrs(self) -> dict[str, Any]:
        """The attributes of the array of tiles."""
        return {
            "scales": list(self.scales),
            "px": self.px,
            "mpp": self.mpp,
            "backbone_sha256": self.backbone_sha256,
        }


def projected(features: F32, mean: F32, basis: F32) -> tuple[F32, F32]:
    """f32[..., d] features → f32[..., p] on an orthonormal basis, f32[...] the square of what is left out."""
    centred = features - mean
    found = centred @ basis
    rest = (centred**2).sum(axis=-1) - (found**2).sum(axis=-1)
    return np.asarray(found, np.float32), np.asarray(np.maximum(rest, 0), np.float32)


def read_signature(root: Group, name: str, read: Callable[[str], NDArray[Any]], sections: int) -> Signature | None:
    """The signature of the bundle ``name`` of that many sections; None where it holds none.

    ``read`` gives an array by its path. Raises ``ReferenceError`` for one whose parts do not fit together.
    """

    def made(values: Mapping[str, NDArray[Any]], attrs: Mapping[str, Any]) -> Signature | None:
        found = Signature(
            **values,
            scales=tuple(float(scale) for scale in attrs["scales"]),
            px=int(attrs["px"]),
            mpp=float(attrs["mpp"]),
            backbone_sha256=str(attrs["backbone_sha256"]),
        )
        return found if _fits(found, sections) else None

    return read_group(root, name, SIGNATURE, DTYPES, read, made)


def _fits(found: Signature, sections: int) -> bool:
    shapes = found.tiles.ndim == 3 and found.basis.ndim == 2 and found.section.ndim == found.mean.ndim == 1
    if not shapes:
        return False
    s, n, p = found.tiles.shape
    numbers = all(bool(np.isfinite(part).all()) for part in (found.tiles, found.rest, found.mean, found.basis))
    return (
        (s, n, p) == (len(found.scales), len(found.section), found.basis.shape[1])
        and found.rest.shape == (s, n)
        and n > 0
        and len(found.mean) == found.basis.shape[0]
        and numbers
        and 1.0 in found.scales
        and list(found.scales) == sorted(found.scales)
        and all(math.isfinite(scale) and scale > 0 for scale in found.scales)
        and 0 < found.px <= MOST_TILE_PX
        and 0 < found.mpp < math.inf
        and 0 <= int(found.section.min()) <= int(found.section.max()) < sections
    )
