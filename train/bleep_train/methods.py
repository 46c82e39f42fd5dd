"""Every method that a study compares, by name: each predicts a fold's held-out spots from its training spots.

| name | what |
| --- | --- |
| ``bleep`` | the configuration's own recipe |
| ``bleep:LOSS`` | the same with another objective (``loss.py``); ``bleep:paper`` is the published one |
| ``ridge`` | ridge regression on the frozen features |
| ``mean`` | the training mean |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bleep_cli.errors import UsageError
from bleep_cli.types import F32
from bleep_train.baselines import mean_predictor, ridge
from bleep_train.config import LOSSES
from bleep_train.retrieval import Retrieval, with_loss
from bleep_train.study import FoldData

BLEEP = "bleep"
Method = Callable[[FoldData, int, Path], F32]
"""``method(data, seed, work)`` → f32[m, g] log1p on ``data.symbols``; NaN columns for genes it does not predict.
``work`` is a folder of its own for checkpoints."""


def find_method(name: str) -> Method:
    """The method of that name. Raises ``UsageError`` for an unknown one."""
    kind, _, loss = name.partition(":")
    if kind == BLEEP and loss in ("", *LOSSES):
        return lambda data, seed, work: _bleep(data, seed, work, loss)
    if name not in _PLAIN:
        known = [BLEEP, *(f"{BLEEP}:{loss}" for loss in LOSSES), *_PLAIN]
        raise UsageError(f"--methods {name}: choose among {', '.join(known)}")
    return _PLAIN[name]


def _bleep(data: FoldData, seed: int, work: Path, loss: str) -> F32:
    config = data.study.config
    chosen = next((name for name in LOSSES if name == loss), config.loss.name)
    recommended = config.reference
    retrieval = Retrieval(data, with_loss(config, chosen, seed), work)
    return retrieval.predict(recommended.k, "average", recommended.key)


def _ridge(data: FoldData, seed: int, work: Path) -> F32:
    x, z = data.mean_features("train"), data.mean_features("test")
    return ridge(x, data.train_y, z, data.groups, data.sets["all"])[0]


def _mean(data: FoldData, seed: int, work: Path) -> F32:
    return mean_predictor(data.train_y, len(data.test_y))


_PLAIN: dict[str, Method] = {"ridge": _ridge, "mean": _mean}
