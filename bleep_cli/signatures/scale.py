"""A slide's stated scale against its tissue: at which scale does it look like the reference's?

The tiles are read once, at the stated scale, and compared with the reference's own tiles as these look at half,
0.7, once, 1.4 and twice their scale. Tissue that looks like none of them is not judged: a wrong scale is claimed
only where the slide is nearer to the reference at that scale than as it is stated, and near enough.
docs/scale-check.md says what the numbers below were chosen on, and how often the check is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from bleep_cli.bundle.contents import SectionRecord
from bleep_cli.bundle.learned.signature import Signature
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.signatures.tiles import TileShape, backbone_sha256, read_tiles, shipped_features, spread
from bleep_cli.types import F32, F64, I64, Bool, Slide, TileGrid

Verdict = Literal["agrees", "doubtful", "not checked"]

QUERY_TILES = 48
LEAST_TILES = 12
FINE_ENOUGH = 1.25  # a slide may be this much coarser than the signature's tiles
DOUBT = (0.5, 2.0)  # the wrong scales that are told
NEIGHBOURS = 5
RIDGE = 1e-3  # penalty per tile
ERROR = 1.35  # what the estimate is right to, as a factor
BLOCKS = 4  # that a lone section is cut into


@dataclass(frozen=True)
class Bounds:
    """From where on a scale is claimed to be wrong."""

    ratio: float = 1.2
    """Nearer to the reference at a wrong scale than at the stated one, by this."""
    reach: float = 1.4
    """And by this than at the other end of the scales."""
    alike: float = 1.35
    """As far from the reference as its own tiles are from the rest of it, times this."""
    lean: float = 0.4
    """Octaves that the regression has to lean the same way."""


BOUNDS = Bounds()


@dataclass(frozen=True)
class ScaleCheck:
    """What the tissue says of a slide's scale."""

    verdict: Verdict
    estimate: float | None = None
    """µm per level-0 pixel at which the tissue looks like the reference's; None where it was not checked."""
    low: float | None = None
    high: float | None = None
    """Between which that lies."""
    reason: str = ""
    """Why it was not checked."""

    def plain(self) -> dict[str, Any]:
        """As JSON-able values, without what it does not state."""
        return {name: value for name, value in asdict(self).items() if value not in (None, "")}


NO_CHECK = ScaleCheck("not checked", reason="the reference keeps no signature of its tissue")


def check_scale(
    slide: Slide, grid: TileGrid, in_tissue: Bool, signature: Signature | None, sections: Sequence[SectionRecord]
) -> ScaleCheck:
    """The stated scale of a slide, weighed by up to ``QUERY_TILES`` of its tiles. SlideError."""
    if signature is None:
        return NO_CHECK
    centres = grid.centre_l0[in_tissue]
    why_not = _why_not(slide.mpp, len(centres), signature)
    if why_not:
        return ScaleCheck("not checked", reason=why_not)
    chosen = centres[spread(centres, QUERY_TILES)]
    tiles = read_tiles(slide, chosen, TileShape(signature.px, signature.mpp))
    return Scales(signature, sections).judge(shipped_features().of(tiles), slide.mpp)


def _why_not(mpp: float, tiles: int, signature: Signature) -> str:
    """Why a slide of that mpp and that many tiles in tissue cannot be weighed; empty where it can."""
    if len(signature.section) < LEAST_TILES:
        return "the reference's signature is of too few tiles"
    if mpp > FINE_ENOUGH * signature.mpp:
        return f"{mpp:.3g} µm/px are too coarse to tell"
    if tiles < LEAST_TILES:
        return f"{tiles} tiles in tissue are too few"
    try:
        known = backbone_sha256()
    except UsageError as error:  # an installation without it
        return error.text
    return "" if signature.backbone_sha256 == known else "the reference's signature is by another network"


@dataclass(frozen=True)
class Weighing:
    """Tiles against a reference at each of its scales."""

    along: F64
    """f64[s]: their distance along the signature's components, in units of the reference's own tiles'."""
    whole: F64
    """f64[s]: the same with what the components leave out."""
    lean: float
    """Octaves above the stated scale that the regression on the tiles says."""


class Scales:
    """The reference at each of its scales, ready to be compared with.

    Distances are to the nearest tiles, in units of the reference's own tiles' from the rest of it.
    """

    def __init__(self, signature: Signature, sections: Sequence[SectionRecord]) -> None:
        self._signature, self._octaves = signature, np.log2(signature.scales)
        rows = signature.tiles.astype(np.float32)
        kept_out = kept_out_groups(signature.section, sections)
        self._at = [Near(at, rest, kept_out) for at, rest in zip(rows, signature.rest, strict=True)]
        self._mean, self._weights = _regression(rows, self._octaves)

    def judge(self, features: F32, mpp: float, bounds: Bounds = BOUNDS) -> ScaleCheck:
        """What f32[m, d] features of tiles, read at a stated ``mpp``, say of it."""
        return self.decide(self.weigh(features), mpp, bounds)

    def weigh(self, features: F32) -> Weighing:
        """Where f32[m, d] features of tiles lie among the reference's scales."""
        tiles, rest = self._signature.project(features)
        found = np.array([at.distances(tiles, rest) for at in self._at])  # [s, 2]
        along, whole = found.T
        return Weighing(along, whole, float(np.median((tiles - self._mean) @ self._weights)))

    def decide(self, weighing: Weighing, mpp: float, bounds: Bounds = BOUNDS) -> ScaleCheck:
        """What a weighing says of the ``mpp`` that the tiles were read at."""
        along, lean = weighing.along, weighing.lean
        stated = self._signature.scales.index(1.0)
        wrong = [self._signature.scales.index(scale) for scale in DOUBT]
        best, other = sorted(wrong, key=lambda at: float(along[at]))
        doubtful = (
            along[stated] >= bounds.ratio * along[best]
            and along[other] >= bounds.reach * along[best]
            and lean * np.sign(self._octaves[best]) >= bounds.lean
        )
        if weighing.whole[best if doubtful else stated] > bounds.alike:
            return ScaleCheck("not checked", reason="its tissue does not look like the reference's")
        um = mpp / 2**lean
        return ScaleCheck("doubtful" if doubtful else "agrees", um, um / ERROR, um * ERROR)


class Near:
    """The reference's tiles at one scale."""

    def __init__(self, rows: F32, rest: F32, kept_out: I64) -> None:
        self._rows, self._rest = rows, rest
        own = []
        for group in np.unique(kept_out):
            out = kept_out == group
            own.append(_far(rows[out], rest[out], rows[~out], rest[~out]))
        self._own = np.median(np.concatenate(own, axis=1), axis=1)

    def distances(self, tiles: F32, rest: F32) -> F64:
        """f64[2]: the median distance of f32[m, p] along the components, and with what they leave out, f32[m]."""
        return np.asarray(np.median(_far(tiles, rest, self._rows, self._rest), axis=1) / self._own, np.float64)


def kept_out_groups(section: I64, sections: Sequence[SectionRecord]) -> I64:
    """i64[n]: what each of a signature's tiles is kept out with: its donor, with one donor its section, with one
    section a band of it."""
    donors = np.array([record.donor for record in sections])[section]
    for names in (donors, section):
        groups = np.unique(names, return_inverse=True)[1]
        if groups.max() > 0:
            return np.asarray(groups, np.int64)
    return np.asarray(np.arange(len(section)) * BLOCKS // len(section), np.int64)


def _far(tiles: F32, rest: F32, rows: F32, rows_rest: F32) -> F64:
    """f64[2, m]: the mean distance of f32[m, p] to their nearest ``NEIGHBOURS`` rows of f32[n, p], along the
    components, and with what these leave out, f32[m] and f32[n] squared, at right angles."""
    along = (tiles**2).sum(axis=1)[:, None] + (rows**2).sum(axis=1)[None] - 2 * tiles @ rows.T
    whole = along + rest[:, None] + rows_rest[None]
    k = min(NEIGHBOURS, len(rows))
    return np.array(
        [np.sqrt(np.maximum(np.partition(d, k - 1, axis=1)[:, :k], 0)).mean(axis=1) for d in (along, whole)]
    )


def _regression(rows: F32, octaves: F64) -> tuple[F32, F32]:
    """Mean f32[p] and weights f32[p]: ridge regression of the octaves f64[s] on f32[s, n, p]."""
    flat = rows.reshape(-1, rows.shape[2]).astype(np.float64)
    mean = flat.mean(axis=0)
    centred, wanted = flat - mean, np.repeat(octaves, rows.shape[1])  # as many tiles at each scale
    gram = centred.T @ centred + RIDGE * len(flat) * np.eye(flat.shape[1])
    weights = np.linalg.solve(gram, centred.T @ (wanted - wanted.mean()))
    return mean.astype(np.float32), weights.astype(np.float32)


def told_of(check: ScaleCheck, slide: Slide) -> list[Finding]:
    """What a person is told of it: a doubtful scale."""
    if check.verdict != "doubtful":
        return []
    what = (
        f"{slide.mpp:.3g} µm/px are stated, but the tissue looks like the reference's at about "
        f"{check.estimate:.2g} ({check.low:.2g} to {check.high:.2g})"
    )
    mend = f"see where the scale comes from, and give the right one with {option('mpp')}"
    return [Finding("mpp-doubtful", what, slide.name, mend)]
