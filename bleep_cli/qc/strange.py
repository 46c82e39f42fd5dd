"""How a slide's tiles look beside the reference's own, by its image tower: strange or not, and their stain."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from bleep_cli.bundle.learned.looks import STAIN, Looks, part_distances, scored
from bleep_cli.bundle.open import Bundle
from bleep_cli.choices import OOD_RATE, Device
from bleep_cli.embedding.embedder import open_embedder, see_grid
from bleep_cli.findings import Finding
from bleep_cli.fitting.looks import stain_of
from bleep_cli.prediction.excluded import spots_without
from bleep_cli.prediction.tile_checks import told_of_strange
from bleep_cli.qc.check import Check
from bleep_cli.towers.encoder import OnnxEncoder
from bleep_cli.types import F32, U8, Bool, Progress, Slide, TileGrid

MANY_STRANGE = 0.2  # of the tiles: of a slide like the reference's about 0.05 are
PROBES = 16  # made-up tiles, for the seven numbers of each stain look
WHY_NOT = "the reference keeps no looks of its tiles"


@dataclass(frozen=True)
class Beside:
    """n tiles of a slide beside those of the reference."""

    strange: Bool
    """bool[n] as ``ood`` of a prediction."""
    stain_score: float
    """How strange the stain of the middle tile is: 1 like the strangest of twenty of the reference's own."""
    reference_stain: F32 | None
    """f32[m, 6] of the reference's tiles, as :func:`bleep_cli.fitting.looks.stain_of` gives it; None where the
    tower does not tell all of it."""
    seconds: float
    """That it took."""


def beside(
    bundle: Bundle, slide: Slide, grid: TileGrid, left_out: tuple[str, ...], device: Device, progress: Progress
) -> Beside | None:
    """The grid's tiles, all embedded, beside the reference without the sections ``left_out``.

    None where it keeps no looks. Raises ``SlideError``, ``ReferenceError`` and ``DeviceError``."""
    stored = bundle.looks()
    if stored is not None and left_out:
        stored = stored.of_spots(np.flatnonzero(spots_without(bundle, left_out)))
    if stored is None:
        return None
    begun = time.perf_counter()
    embedder = open_embedder(bundle, device, "fp32")  # the others of older bundles tell no looks
    if embedder.encoder.looks != stored.tiles.shape[1]:
        return None
    _, looks = see_grid(embedder, slide, grid, bundle.info.recommended_views, progress)
    distances = part_distances(looks, stored.tiles.astype(np.float32))
    p = stored.p_values(scored(distances, stored.middle, stored.reach))
    stain = float(np.median((distances[:, 1] - stored.middle[1]) / stored.reach[1]))
    own = reference_stain(embedder.encoder, stored)
    return Beside(np.asarray(p <= OOD_RATE, bool), stain, own, time.perf_counter() - begun)


def reference_stain(encoder: OnnxEncoder, stored: Looks) -> F32 | None:
    """What stain the reference's tiles f32[m, 6] have, from their looks.

    The tower's looks of stain are an affine function of :func:`bleep_cli.fitting.looks.stain_of`. Tiles of known
    stain tell which, and it is turned round; None where it is not one to one.
    """
    probes = _probes(encoder)
    given = np.concatenate([stain_of(probes), np.ones((PROBES, 1), np.float32)], axis=1).astype(np.float64)
    told = encoder.see(probes)[:, -STAIN:].astype(np.float64)
    found = np.linalg.lstsq(given, told, rcond=None)[0]
    weights, offset = found[:-1], found[-1]
    if np.linalg.matrix_rank(weights, tol=1e-4 * np.linalg.norm(weights, 2)) < STAIN:
        return None
    return np.asarray(np.linalg.solve(weights.T, (stored.tiles[:, -STAIN:] - offset).T).T, np.float32)


def _probes(encoder: OnnxEncoder) -> U8:
    """u8[PROBES, px, px, channels] noise, of a mean and a spread of its own in every tile and channel."""
    rng = np.random.default_rng(0)
    shape = PROBES, 1, 1, encoder.channels
    middle, spread = rng.uniform(60, 230, shape), rng.uniform(1, 40, shape)
    noise = rng.normal(size=(PROBES, encoder.tile_px, encoder.tile_px, encoder.channels))
    return (middle + spread * noise).clip(0, 255).astype(np.uint8)


def strange_check(slide: Slide, found: Beside | None, why_not: str = WHY_NOT) -> Check:
    """How many of a slide's tiles are strange to the reference."""
    if found is None:
        return Check("strange tiles", f"not available: {why_not}", judged=False)
    share, n = float(found.strange.mean()), len(found.strange)
    words = f"{found.strange.sum()} of {n} tiles ({share:.1%}) look like nothing in the reference"
    values = {"share": round(share, 4), "tiles": n, "rate": OOD_RATE, "seconds": round(found.seconds, 1)}
    told = tuple(told_of_strange({"ood": found.strange}, np.ones(n, bool), slide.name))
    if not told and share > MANY_STRANGE:
        told = (Finding("tiles-strange", words, slide.name, 'a prediction marks them in obs["ood"]'),)
    return Check("strange tiles", words, values, told)
