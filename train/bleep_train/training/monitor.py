"""Whether the embedding is alive: its effective rank, its mean cosine, and the loss against ln(batch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from bleep_cli.errors import BleepError
from bleep_train.config.schema import Config

MAX_COSINE = 0.98
MIN_RANK = 2.0
AT_CHANCE = 0.005  # of ln(batch), to either side

Watch = Callable[[Mapping[str, float]], None]
"""``watch(record)``: told of every epoch with its line of ``metrics.jsonl``."""


class CollapseError(BleepError):
    """Training collapsed and ``--strict`` was given."""


def spread(vectors: Tensor) -> dict[str, float]:
    """Effective rank (exp of the entropy of the spectrum) and mean cosine of f32[b, d]; NaN where a vector is not
    finite."""
    if not bool(vectors.isfinite().all()):
        return {"effective_rank": math.nan, "mean_cosine": math.nan}
    unit = F.normalize(vectors, dim=1)
    values = torch.linalg.svdvals(unit - unit.mean(dim=0))
    share = values / values.sum().clamp(min=1e-12)
    entropy = -(share * share.clamp(min=1e-12).log()).sum()
    n = len(unit)
    cosine = (unit.sum(dim=0).square().sum() - n) / max(1, n * (n - 1))
    return {"effective_rank": float(entropy.exp()), "mean_cosine": float(cosine)}


def collapse_signs(record: Mapping[str, float], config: Config) -> list[str]:
    """What an epoch's metrics say of collapse, after a tenth of the epochs; empty for a healthy run.

    A collapsed tower maps every tile to one point: mean cosine near 1, effective rank near 1. A training that was
    thrown off has a loss far above ln(batch), the loss of not knowing. Of unit vectors it may also stay just at
    it: after half of the epochs that is a sign, whatever the vectors look like. (The published loss is of vectors
    of norm 16; it passes ln(batch) in good health.)
    """
    epochs = config.optim.epochs
    if record["epoch"] < max(1, epochs // 10):
        return []
    signs = []
    if not record["mean_cosine"] <= MAX_COSINE:  # NaN is not
        signs.append(f"image vectors have a mean cosine of {record['mean_cosine']:.3f}")
    if not record["effective_rank"] >= MIN_RANK:
        signs.append(f"their effective rank is {record['effective_rank']:.1f}")
    if not record["loss"] < 2 * record["ln_batch"]:
        signs.append(f"the loss is {record['loss']:.2f} at ln(batch) = {record['ln_batch']:.2f}")
    elif (
        config.loss.name != "paper"
        and record["epoch"] >= max(1, epochs // 2)
        and abs(record["loss"] / record["ln_batch"] - 1) < AT_CHANCE
    ):
        signs.append(f"the loss stays at ln(batch) = {record['ln_batch']:.2f}, the loss of not knowing")
    if not signs:
        return []
    return [f"epoch {record['epoch']}: the embedding is collapsing: {'; '.join(signs)}. Try a smaller optim.lr"]
