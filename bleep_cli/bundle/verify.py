"""The full check of a bundle: every value read, hashed and compared with what the format demands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import get_args

import numpy as np

from bleep_cli.base.reasons import reason
from bleep_cli.base.rows import SpooledRows, row_blocks
from bleep_cli.base.text import counted
from bleep_cli.bundle.index.lists import DTYPES as LIST_DTYPES
from bleep_cli.bundle.index.lists import LISTS
from bleep_cli.bundle.index.verified import verified_index
from bleep_cli.bundle.learned.calibration import CALIBRATION
from bleep_cli.bundle.learned.calibration import DTYPES as CALIBRATION_DTYPES
from bleep_cli.bundle.learned.components import COMPONENTS, LOADINGS, Components, Scores, fit_scores
from bleep_cli.bundle.learned.components import DTYPES as COMPONENT_DTYPES
from bleep_cli.bundle.learned.components import SLOPE as COMPONENTS_SLOPE
from bleep_cli.bundle.learned.looks import DTYPES as LOOKS_DTYPES
from bleep_cli.bundle.learned.looks import LOOKS
from bleep_cli.bundle.learned.signature import DTYPES as SIGNATURE_DTYPES
from bleep_cli.bundle.learned.signature import SIGNATURE
from bleep_cli.bundle.learned.slope import RIDGE, SHARE, expression_slope
from bleep_cli.bundle.open import Bundle
from bleep_cli.bundle.stored import SLOPE, stated_number
from bleep_cli.choices import PLACED, Key
from bleep_cli.errors import BleepError, ReferenceError
from bleep_cli.towers.encoder import OnnxEncoder, OnnxExpressionEncoder, are_unit, unit
from bleep_cli.types import Progress, no_progress

ROW_BLOCK = 4096  # rows checked at a time
SLOPE_SLACK = 1e-3  # of its largest value


@dataclass(frozen=True)
class Check:
    """One check of a bundle and what came of it."""

    name: str
    ok: bool
    """Whether it held."""
    detail: str
    """A line about what was found, or about what is wrong."""


def verify(bundle: Bundle, progress: Progress = no_progress) -> list[Check]:
    """Runs every check; a check that cannot even be made counts as failed."""
    checks: tuple[tuple[str, Callable[[Bundle], str]], ...] = (
        ("content hash", _content),
        ("dtypes", _dtypes),
        ("unit vectors", _embeddings),
        ("expression", _expression),
        ("slope", _slope),
        ("components", _components),
        ("signature", _signature),
        ("looks", _looks),
        ("calibration", _calibration),
        ("genes", _genes),
        ("spots", _spots),
        ("towers", _towers),
        ("index", verified_index),
    )
    results = []
    for i, (name, check) in enumerate(checks):
        progress("verify", i, len(checks))
        try:
            results.append(Check(name, True, check(bundle)))
        except BleepError as error:
            results.append(Check(name, False, str(error)))
        except Exception as error:  # damaged chunks and whatever they lead to
            results.append(Check(name, False, reason(error)))
    progress("verify", len(checks), len(checks))
    return results


def _content(bundle: Bundle) -> str:
    bundle.check_content()
    return bundle.content_sha256[:12]


def _dtypes(bundle: Bundle) -> str:
    wanted = {"embeddings/image": "f4", "embeddings/expression": "f4", "genes/panel": "i8"}
    wanted |= {"spots/x": "f8", "spots/y": "f8", "encoders/image": "u1", "encoders/expression": "u1"}
    wrong = [name for name, dtype in wanted.items() if bundle.array(name).dtype != np.dtype(dtype)]
    if bundle.array("expression").dtype not in (np.dtype("f4"), np.dtype("f2")):
        wrong.append("expression")
    if SLOPE in bundle.root and bundle.array(SLOPE).dtype != np.dtype("f4"):
        wrong.append(SLOPE)
    groups = {SIGNATURE: SIGNATURE_DTYPES, LOOKS: LOOKS_DTYPES, CALIBRATION: CALIBRATION_DTYPES}
    for group, dtypes in (groups | {COMPONENTS: COMPONENT_DTYPES, LISTS: LIST_DTYPES}).items():
        if group in bundle.root:
            paths = {f"{group}/{name}": dtype for name, dtype in dtypes.items()}
            wrong += [path for path, dtype in paths.items() if bundle.array(path).dtype != np.dtype(dtype)]
    if wrong:
        raise ReferenceError(f"wrong dtype: {', '.join(wrong)}")
    return "as in the format"


def _embeddings(bundle: Bundle) -> str:
    worst = 0.0
    for key in get_args(Key):
        for block in row_blocks(bundle.embedding_rows(key), ROW_BLOCK):
            norms = np.linalg.norm(block.astype(np.float64), axis=1)
            worst = max(worst, float(np.abs(norms - 1).max()))
    return f"largest | |v| - 1 | = {worst:.1e}"


def _expression(bundle: Bundle) -> str:
    values = bundle.expression_rows()
    for block in row_blocks(values, bundle.array("expression").chunks[0]):
        if not np.isfinite(block).all() or (block < 0).any():
            raise ReferenceError("expression holds NaN, infinity or negative values")
    stored = bundle.info.expression_precision
    size = f"{counted(values.shape[0], 'spot')} × {counted(values.shape[1], 'gene')}"
    return f"{size}, all finite, stored as {stored}"


def _slope(bundle: Bundle) -> str:
    if SLOPE not in bundle.root:
        if bundle.info.aggregation in PLACED:
            raise ReferenceError(f"aggregation is {bundle.info.aggregation}, and there is no array {SLOPE}")
        return "none stored; predictions are not corrected by it"
    stored, attrs = bundle.slope(np.arange(len(bundle.symbols))), bundle.array(SLOPE).attrs
    ridge, share = stated_number(attrs, "ridge", RIDGE, SLOPE), stated_number(attrs, "share", SHARE, SLOPE)
    again = expression_slope(bundle.embedding_rows("image"), bundle.expression_rows(), ridge, share)
    worst = float(np.abs(again - stored).max() / max(float(np.abs(again).max()), 1.0))
    if not worst < SLOPE_SLACK:
        raise ReferenceError(f"the slope is not that of the stored embeddings and expression (off by {worst:.1e})")
    return f"ridge {ridge:g}, share {share:g}; reproduced to {worst:.1e}"


def _components(bundle: Bundle) -> str:
    if COMPONENTS not in bundle.root:
        if bundle.info.aggregation == "projected":
            raise ReferenceError(f"aggregation is projected, and there is no group {COMPONENTS}")
        return "none stored; predictions are not projected on them"
    stored = bundle.components(np.arange(len(bundle.symbols)))
    slope, loadings = (bundle.array(path).attrs for path in (COMPONENTS_SLOPE, LOADINGS))
    fitted = fit_scores(SpooledRows(bundle.expression_rows(bundle.panel)))
    penalty = stated_number(loadings, "penalty", fitted.penalty, LOADINGS)
    ridge, share = (
        stated_number(slope, name, usual, COMPONENTS_SLOPE) for name, usual in (("ridge", RIDGE), ("share", SHARE))
    )
    again = Scores(fitted.values, penalty).tell(
        bundle.embedding_rows("image"), bundle.expression_rows(), ridge, share
    )
    worst = _apart(stored, again)
    if not worst < SLOPE_SLACK:
        raise ReferenceError(f"the components are not those of the stored expression (off by {worst:.1e})")
    return f"{stored.scores.shape[1]} components, penalty {penalty:.3g} per spot; reproduced to {worst:.1e}"


def _apart(stored: Components, again: Components) -> float:
    """The largest difference in what both see of expression and of its slope, as a part of the largest value. Not
    of scores: components of nearly one size may be turned against each other."""
    worst, largest = 0.0, 1.0
    for start in range(0, stored.shape[0], ROW_BLOCK):
        rows = np.arange(start, min(start + ROW_BLOCK, stored.shape[0]))
        ours, theirs = stored.seen(rows), again.seen(rows)
        worst = max(worst, float(np.abs(ours - theirs).max()))
        largest = max(largest, float(np.abs(theirs).max()))
    slopes = [found.slope.astype(np.float64) @ found.loadings for found in (stored, again)]
    along = float(np.abs(slopes[0] - slopes[1]).max() / max(float(np.abs(slopes[1]).max()), 1.0))
    return max(worst / largest, along)


def _signature(bundle: Bundle) -> str:
    found = bundle.signature()
    if found is None:
        return "none stored; the scale of slides is not checked"
    p = found.basis.shape[1]
    if not np.allclose(found.basis.T @ found.basis, np.eye(p), atol=1e-3):
        raise ReferenceError("the basis of the signature is no set of directions at right angles")
    scales = ", ".join(f"{scale:g}" for scale in found.scales)
    return f"{len(found.section)} tiles of {found.px} px at {found.mpp:.3g} µm/px, {p} components, scales {scales}"


def _looks(bundle: Bundle) -> str:
    found = bundle.looks()
    if found is None:
        return "none stored; strange tiles are not told"
    wide, by_tower = found.tiles.shape[1], OnnxEncoder(bundle.tower("image"), "cpu").looks
    if wide != by_tower:
        raise ReferenceError(f"{wide} looks of every tile are stored, the image tower tells {by_tower}")
    told = f"{len(found.spot)} tiles of {wide} looks, {len(found.left_out)} left-out distances by {found.by}"
    return told if found.around is None else f"{told}; with those around to {found.around.um:.0f} µm"


def _calibration(bundle: Bundle) -> str:
    found = bundle.calibration()
    if found is None:
        return "none stored; no intervals and draws"
    levels = f"{len(found.levels)} levels of every gene"
    if found.patch_um is None:
        return f"{levels}; no range of draws"
    return f"{levels}; draws hang together over {found.patch_um:.0f} µm"


def _genes(bundle: Bundle) -> str:
    if len(set(bundle.panel.tolist())) != len(bundle.panel):
        raise ReferenceError("duplicate panel genes")
    return f"{len(bundle.symbols)} unique, {len(bundle.panel)} in the panel"


def _spots(bundle: Bundle) -> str:
    section = bundle.spots("section")
    for record in bundle.info.sections:
        if int((section == record.id).sum()) != record.n:
            raise ReferenceError(f"section {record.id} does not have its {counted(record.n, 'spot')}")
    if not np.isfinite(bundle.xy_l0()).all():
        raise ReferenceError("some spot coordinates are no numbers")
    return f"{len(section)} in {counted(len(bundle.info.sections), 'section')}"


def _towers(bundle: Bundle) -> str:
    image = OnnxEncoder(bundle.tower("image"), "cpu")
    expression = OnnxExpressionEncoder(bundle.tower("expression"))
    spec, dim = bundle.info.tile, bundle.array("embeddings/image").shape[1]
    if (image.tile_px, image.channels, image.dim) != (spec.px, 3 * len(spec.um), dim):
        raise ReferenceError("the image tower does not take the tiles that the bundle describes")
    _unit_vectors(image, "image tower")
    for chosen, other in bundle.other_towers().items():
        encoder = OnnxEncoder(other.model, "cpu")
        if (encoder.tile_px, encoder.channels, encoder.dim) != (image.tile_px, image.channels, image.dim):
            raise ReferenceError(f"the {chosen} image tower does not take and give what the float32 one does")
        _unit_vectors(encoder, f"{chosen} image tower")
    if expression.panel_size != len(bundle.panel):
        raise ReferenceError("the expression tower does not take the bundle's panel")
    if bundle.info.tower_input != "log1p":
        return "both run; spots were embedded from batch-corrected expression"
    panel, stored, worst = bundle.expression_rows(bundle.panel), bundle.embedding_rows("expression"), 0.0
    for start in range(0, bundle.n_spots, ROW_BLOCK):
        rows = np.arange(start, min(start + ROW_BLOCK, bundle.n_spots))
        off = np.abs(unit(expression.embed(panel.read(rows))) - stored[start : start + len(rows)])
        worst = max(worst, float(off.max()))
    if not worst < 1e-3:
        raise ReferenceError(f"the expression tower does not give the stored embeddings (off by {worst:.1e})")
    return f"both run; the embeddings of all {bundle.n_spots} spots reproduced to {worst:.1e}"


def _unit_vectors(encoder: OnnxEncoder, what: str) -> None:
    shape = (1, encoder.tile_px, encoder.tile_px, encoder.channels)
    if not are_unit(encoder.embed(np.full(shape, 127, np.uint8))):
        raise ReferenceError(f"the {what} does not give unit vectors")
