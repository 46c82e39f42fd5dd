"""Which checkpoint is kept: the one that retrieves best on spots that gave no gradient.

The published code keeps the epoch of lowest contrastive loss. That loss says how well a batch is told apart, not
how well expression is predicted, so here validation tiles are predicted as a query is (paper section 3.3): the K
nearest training spots, their mean log1p expression, Pearson r per gene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bleep_cli.errors import UsageError
from bleep_cli.types import F32, I64
from bleep_train.config.schema import Config, ValidationBy, ValidationConfig
from bleep_train.data.blocks import held_back_strips
from bleep_train.data.training_set import TrainingSet
from bleep_train.metrics.per_gene import pearson
from bleep_train.training.distributed import Group
from bleep_train.training.gradcache import Pair
from bleep_train.training.source import ImageSource

GENES = 50
CHUNK = 256  # tiles embedded at a time
NOTHING = -1.0  # the r of vectors that are not finite


@dataclass(frozen=True)
class Validation:
    """The spots of a run that choose its checkpoint: v of n."""

    rows: I64
    """i64[v] which give no gradient"""
    training: I64
    """i64[t] those that are learned from: the others, but for the margin around blocks"""
    log1p: F32
    """f32[n, 50] what was measured at all spots, of the 50 panel genes most variable in training"""
    names: tuple[str, ...] = ()
    """The sections or donors held back; none where it is spots or blocks of all sections."""
    by: ValidationBy = "spots"
    """What is held back, once "auto" is settled."""


def choose_validation(data: TrainingSet, config: ValidationConfig, field_um: float) -> Validation | None:
    """The split that ``[validation]`` asks for; none for ``by = "none"``. ``field_um`` is the edge of the largest
    field of view: blocks are kept that far from what is learned from.

    Raises ``UsageError`` for ids that are not there or a split that leaves nothing on one side.
    """
    by = _settled(data, config.by)
    if by == "none":
        return None
    everything = np.arange(len(data.panel))
    names: tuple[str, ...] = ()
    if by == "blocks":
        rows, training = held_back_strips(data, field_um, config.seed)
    else:
        if by == "spots":
            count = round(config.fraction * len(everything))
            rows = np.sort(np.random.default_rng(config.seed).permutation(everything)[:count])
        else:
            labels = [s.donor if by == "donor" else s.id for s in data.sections]
            names = _names(labels, by, config.ids)
            rows = np.flatnonzero(np.array([label in names for label in labels])[data.section_of])
        training = np.setdiff1d(everything, rows)
    if min(len(rows), len(training)) < 3:
        raise UsageError(
            f"validation.by = {by}: {len(training)} spots to learn from and {len(rows)} to validate on; "
            "at least 3 of each are needed"
        )
    variance = data.log1p[training].var(axis=0, dtype=np.float64)
    genes = np.sort(np.argsort(-variance, kind="stable")[:GENES])
    return Validation(rows.astype(np.int64), training.astype(np.int64), data.log1p[:, genes], names, by)


def _settled(data: TrainingSet, by: ValidationBy) -> ValidationBy:
    """What "auto" stands for: the most independent of what there is more than one of."""
    if by != "auto":
        return by
    if len({s.donor for s in data.sections}) > 1:
        return "donor"
    return "section" if len(data.sections) > 1 else "blocks"


def _names(labels: Sequence[str], by: ValidationBy, ids: Sequence[str]) -> tuple[str, ...]:
    there = list(dict.fromkeys(labels))
    unknown = sorted(set(ids) - set(there))
    if unknown:
        raise UsageError(
            f"validation.ids: no training {by} is called {', '.join(unknown)}; there are {', '.join(there)}"
        )
    names = tuple(ids) or (there[-1],)
    if set(names) == set(there):
        raise UsageError(
            f'validation.by = {by} leaves no {by} to train on ({", ".join(there)}); use validation.by = "blocks"'
        )
    return names


def retrieval_r(
    pair: Pair, source: ImageSource, validation: Validation, expression: Tensor, config: Config, group: Group
) -> float:
    """Mean r over the validation's genes; a gene without r counts as 0. The towers must be in evaluation mode.

    ``expression`` f32[n, p] the expression tower's input of all spots, on the device. Ranks share the embedding
    and all return the same number.
    """
    with torch.no_grad():
        query = _images(pair, source, validation.rows, expression.device, group)
        if config.reference.key == "image":
            keys = _images(pair, source, validation.training, expression.device, group)
        else:
            keys = F.normalize(pair.spots(expression[torch.from_numpy(validation.training).to(expression.device)]))
        if not bool(query.isfinite().all() and keys.isfinite().all()):
            return NOTHING
        measured = torch.from_numpy(validation.log1p[validation.training]).to(keys.device)
        k = min(config.reference.k, len(keys))
        predicted = [
            measured[(part @ keys.T).topk(k, dim=1).indices].mean(dim=1) for part in torch.split(query, CHUNK)
        ]
    r = pearson(torch.cat(predicted).cpu().numpy(), validation.log1p[validation.rows])
    return float(np.nan_to_num(r).mean())


def _images(pair: Pair, source: ImageSource, rows: I64, device: torch.device, group: Group) -> Tensor:
    """Unit vectors f32[len(rows), dim] of the spots' upright tiles."""
    shared = group if len(rows) >= group.world else Group()
    own, parts = shared.share(rows), []
    for start in range(0, len(own), CHUNK):
        part = own[start : start + CHUNK]
        fetched = source.fetch(part).to(device)
        parts.append(pair.images(source.prepare(fetched, np.zeros(len(part), np.int64))))
    return F.normalize(shared.gather(torch.cat(parts), len(rows)), dim=1)


def validation_record(validation: Validation | None) -> dict[str, Any]:
    """What ``run.json`` says of it."""
    if validation is None:
        return {"by": "none"}
    margin = len(validation.log1p) - len(validation.rows) - len(validation.training)
    counts = {"spots": len(validation.rows), "margin": margin}
    return {"by": validation.by, "names": list(validation.names), **counts}
