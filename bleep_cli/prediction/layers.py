"""What can stand beside the prediction, a layer each: the bounds of an interval, and draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from bleep_cli.base.text import counted
from bleep_cli.bundle.learned.calibration import Calibration
from bleep_cli.bundle.learned.components import Components
from bleep_cli.bundle.open import Bundle
from bleep_cli.choices import Aggregation
from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.prediction.expression.correct import at_least_0, shifted
from bleep_cli.prediction.expression.draws import draw
from bleep_cli.prediction.expression.impute import Expression, impute_blocks
from bleep_cli.prediction.expression.place import Along, placed
from bleep_cli.prediction.expression.project import projected_blocks
from bleep_cli.prediction.expression.spread import mean_and_spread
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.tile_checks import Columns
from bleep_cli.types import F32, I64, Blocks, Bool, Neighbours, TileGrid

LOWER, UPPER = "lower", "upper"
SAMPLE = "sample_{}"


@dataclass(frozen=True)
class Found:
    """What the layers of a slide are made of."""

    neighbours: Neighbours
    weights: F32
    """f32[n, k]."""
    offset: F32
    """f32[n, d]; d = 0 where nothing is corrected."""
    along: Along
    """What corrects predictions."""
    expression: Expression
    """[n_ref, g]."""
    shift: F32 | None = None
    """f32[g] log1p, where predictions are moved to the level of measured sections."""

    def blocks(self) -> Iterator[tuple[int, F32]]:
        """The prediction itself, ``(first row, f32[b, g])``."""
        return self.moved(impute_blocks(self.neighbours, self.weights, self.expression))

    def of_draws(self, chosen: I64) -> Iterator[tuple[int, F32]]:
        """The same where each tile's neighbour ``chosen`` i64[n] stands in their mean's stead: what was measured
        there, and what the prediction adds to the mean."""
        if isinstance(self.along, Components):
            return self._levelled(at_least_0(self._drawn(chosen, self.along)))
        one = np.ones((len(chosen), 1), np.float32)
        return self.moved(impute_blocks(Neighbours(chosen[:, None], one), one, self.expression))

    def moved(self, blocks: Iterator[tuple[int, F32]]) -> Iterator[tuple[int, F32]]:
        """Means of what was measured at neighbours, corrected and moved where predictions are."""
        return self._levelled(placed(blocks, self.neighbours, self.weights, self.offset, self.along))

    def _drawn(self, chosen: I64, seen: Components) -> Iterator[tuple[int, F32]]:
        index = np.concatenate([chosen[:, None], self.neighbours.index], axis=1)
        weights = np.concatenate([np.ones((len(chosen), 1), np.float32), -self.weights], axis=1)
        away = impute_blocks(Neighbours(index, weights), weights, self.expression)
        middle = projected_blocks(self.neighbours, self.weights, self.offset, seen)
        for (first, apart), (_, told) in zip(away, middle, strict=True):
            yield first, told + apart

    def _levelled(self, blocks: Iterator[tuple[int, F32]]) -> Iterator[tuple[int, F32]]:
        return blocks if self.shift is None else shifted(blocks, self.shift)


class Layers:
    """What is asked for beside the prediction, made ready once for any number of slides.

    ``columns`` i64[g] are the bundle's genes that are predicted. ``UsageError`` for a bundle that cannot say it.
    """

    def __init__(self, bundle: Bundle, columns: I64, options: PredictOptions, aggregation: Aggregation) -> None:
        self._columns, self._interval, self._samples = columns, options.interval, options.samples
        self._calibration: Calibration | None = None
        if options.interval is None and not options.samples:
            return
        self._calibration = bundle.calibration()
        if self._calibration is None:
            asked = option("samples") if options.interval is None else option("interval")
            raise UsageError(
                f"{asked}: {bundle.name} does not keep how far its predictions miss; build it anew with "
                "bleep build-reference"
            )
        if options.samples and self._calibration.patch_um is None:
            raise UsageError(
                f"{option('samples')}: {bundle.name} does not know how far its maps hang together in space; "
                "build it anew with bleep build-reference"
            )
        _refuse_other(bundle, options, aggregation)

    @property
    def count(self) -> int:
        """How many."""
        return self._samples + 2 * (self._interval is not None)

    def told(self, columns: Columns, in_tissue: Bool, slide: str) -> list[Finding]:
        """A finding where bounds are given for tiles that ``columns`` call strange, or nothing tells which are."""
        if self._interval is None:
            return []
        if "ood" not in columns:
            what = "the bounds hold for tiles like the reference's, and nothing tells which of these are"
        elif strange := int((np.asarray(columns["ood"], bool) & in_tissue).sum()):
            what = (
                f"for {counted(strange, 'tile')} strange to the reference the bounds may hold less than they say"
            )
        else:
            return []
        return [Finding("interval-strange", what, slide, "see the column ood, and leave such tiles out")]

    def of(self, found: Found, grid: TileGrid) -> dict[str, Callable[[], Blocks]]:
        """By name, each as ``Prediction.blocks``."""
        calibration = self._calibration
        if calibration is None:
            return {}
        out: dict[str, Callable[[], Blocks]] = {}
        if self._interval is not None:
            floor = calibration.floor[self._columns]
            for name, scores in zip((LOWER, UPPER), calibration.bounds(self._interval), strict=True):
                out[name] = _bound(found, scores[self._columns], floor)
        if calibration.patch_um is not None:
            for number in range(1, self._samples + 1):
                out[SAMPLE.format(number)] = _sample(found, grid, calibration.patch_um, number)
        return out


def _refuse_other(bundle: Bundle, options: PredictOptions, aggregation: Aggregation) -> None:
    """The numbers were measured with the bundle's own way of combining its neighbours."""
    info = bundle.info
    own = (info.k if info.aggregation != "simple" else 1, info.key, info.aggregation)
    taken = (options.k or own[0], options.key or info.key, aggregation)
    if taken != own:
        raise UsageError(
            f"{option('interval')} and {option('samples')} go with the reference's own {option('k')}, "
            f"{option('key')} and {option('aggregation')} ({own[0]}, {own[1]}, {own[2]})"
        )


def _bound(found: Found, scores: F32, floor: F32) -> Callable[[], Blocks]:
    def blocks() -> Blocks:
        projected = found.blocks() if isinstance(found.along, Components) else None
        for first, mean, spread in mean_and_spread(found.neighbours, found.weights, found.expression):
            _, middle = next(found.moved(iter([(first, mean)])) if projected is None else projected)
            yield first, np.maximum(middle + scores * (spread + floor), 0)

    return blocks


def _sample(found: Found, grid: TileGrid, patch_um: float, number: int) -> Callable[[], Blocks]:
    def blocks() -> Blocks:
        chosen = draw(found.neighbours, found.weights, patch_um, grid.centre_l0 * grid.mpp, number)
        return found.of_draws(chosen)

    return blocks
