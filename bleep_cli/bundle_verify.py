"""The full check of a bundle: every value read, hashed and compared with what the format demands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bleep_cli.bundle import KEYS, Bundle, content_sha256, sha256_of
from bleep_cli.errors import BleepError, ReferenceError
from bleep_cli.impute import DENSE_BYTES
from bleep_cli.search import EXACT_UP_TO, ExactIndex, hnsw_available, load_hnsw
from bleep_cli.types import Progress, no_progress

RECALL_QUERIES = 200


@dataclass(frozen=True)
class Check:
    """One check: its name, whether it held, and a line about what was found."""

    name: str
    ok: bool
    detail: str


def verify(bundle: Bundle, progress: Progress = no_progress) -> list[Check]:
    """Runs every check; a check that cannot even be made counts as failed."""
    checks: tuple[tuple[str, Callable[[Bundle], str]], ...] = (
        ("content hash", _content),
        ("dtypes", _dtypes),
        ("unit vectors", _embeddings),
        ("expression", _expression),
        ("genes", _genes),
        ("spots", _spots),
        ("towers", _towers),
        ("index", _index),
    )
    results = []
    for i, (name, check) in enumerate(checks):
        progress("verify", i, len(checks))
        try:
            results.append(Check(name, True, check(bundle)))
        except BleepError as error:
            results.append(Check(name, False, str(error)))
        except (ValueError, RuntimeError, OSError) as error:  # damaged chunks
            results.append(Check(name, False, f"{type(error).__name__}: {error}"))
    progress("verify", len(checks), len(checks))
    return results


def _content(bundle: Bundle) -> str:
    found = content_sha256(bundle.root, bundle.attrs)
    if found != bundle.content_sha256:
        raise ReferenceError(f"content hash is {found[:12]}, the bundle states {bundle.content_sha256[:12]}")
    return found[:12]


def _dtypes(bundle: Bundle) -> str:
    wanted = {"embeddings/image": "f4", "embeddings/expression": "f4", "genes/panel": "i8"}
    wanted |= {"spots/x": "f8", "spots/y": "f8", "encoders/image": "u1", "encoders/expression": "u1"}
    wrong = [name for name, dtype in wanted.items() if bundle.array(name).dtype != np.dtype(dtype)]
    if bundle.array("expression").dtype not in (np.dtype("f4"), np.dtype("f2")):
        wrong.append("expression")
    if wrong:
        raise ReferenceError(f"wrong dtype: {', '.join(wrong)}")
    return "as in the format"


def _embeddings(bundle: Bundle) -> str:
    worst = 0.0
    for key in KEYS:
        norms = np.linalg.norm(bundle.embeddings(key).astype(np.float64), axis=1)
        worst = max(worst, float(np.abs(norms - 1).max()))
    return f"largest | |v| - 1 | = {worst:.1e}"


def _expression(bundle: Bundle) -> str:
    values = bundle.expression(None, DENSE_BYTES)
    data = values if isinstance(values, np.ndarray) else values.data
    if not np.isfinite(data).all() or (data < 0).any():
        raise ReferenceError("expression holds NaN, infinity or negative values")
    return f"{values.shape[0]} spots × {values.shape[1]} genes, all finite"


def _genes(bundle: Bundle) -> str:
    if len(set(bundle.symbols.tolist())) != len(bundle.symbols):
        raise ReferenceError("duplicate gene symbols")
    if len(set(bundle.panel.tolist())) != len(bundle.panel):
        raise ReferenceError("duplicate panel genes")
    return f"{len(bundle.symbols)} unique, {len(bundle.panel)} in the panel"


def _spots(bundle: Bundle) -> str:
    section = bundle.spots("section")
    for record in bundle.info.sections:
        if int((section == record.id).sum()) != record.n:
            raise ReferenceError(f"section {record.id} does not have its {record.n} spots")
    if not np.isfinite(bundle.xy_l0()).all():
        raise ReferenceError("some spot coordinates are no numbers")
    return f"{len(section)} in {len(bundle.info.sections)} sections"


def _towers(bundle: Bundle) -> str:
    from bleep_cli.encoder import OnnxEncoder, OnnxExpressionEncoder, unit

    image = OnnxEncoder(bundle.tower("image"), "cpu")
    expression = OnnxExpressionEncoder(bundle.tower("expression"))
    spec, dim = bundle.info.tile, bundle.array("embeddings/image").shape[1]
    if (image.tile_px, image.channels, image.dim) != (spec.px, 3 * len(spec.um), dim):
        raise ReferenceError("the image tower does not take the tiles that the bundle describes")
    norms = np.linalg.norm(image.embed(np.full((1, spec.px, spec.px, image.channels), 127, np.uint8)), axis=1)
    if not np.allclose(norms, 1.0, atol=1e-3):
        raise ReferenceError("the image tower does not give unit vectors")
    if expression.panel_size != len(bundle.panel):
        raise ReferenceError("the expression tower does not take the bundle's panel")
    if bundle.info.tower_input != "log1p":
        return "both run; spots were embedded from batch-corrected expression"
    rows = np.arange(min(64, bundle.n_spots))
    again = expression.embed(np.asarray(bundle.array("expression")[: len(rows)])[:, bundle.panel])
    worst = float(np.abs(unit(again) - bundle.embeddings("expression")[rows]).max())
    if not worst < 1e-3:
        raise ReferenceError(f"the expression tower does not give the stored embeddings (off by {worst:.1e})")
    return f"both run; stored embeddings reproduced to {worst:.1e}"


def _index(bundle: Bundle) -> str:
    if "index/hnsw" not in bundle.root:
        return "none stored; search is exact"
    embeddings = bundle.embeddings(bundle.info.key)
    if bundle.array("index/hnsw").attrs.get("embeddings_sha256") != sha256_of(embeddings):
        raise ReferenceError("the stored HNSW graph belongs to other embeddings; it is ignored when predicting")
    if not hnsw_available():
        return "HNSW stored; hnswlib is not installed, search is exact"
    k = min(bundle.info.k, len(embeddings))
    queries = embeddings[:: max(1, len(embeddings) // RECALL_QUERIES)]
    exact = ExactIndex(embeddings).search(queries, k).index
    near = load_hnsw(bundle.read("index/hnsw"), *embeddings.shape).search(queries, k).index
    recall = np.mean([len(np.intersect1d(a, b)) / k for a, b in zip(exact, near, strict=True)])
    used = "used" if len(embeddings) > EXACT_UP_TO else f"search is exact up to {EXACT_UP_TO} spots"
    return f"HNSW recall@{k} {recall:.3f}; {used}"
