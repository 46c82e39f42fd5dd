"""Every method that a study compares, by name: each predicts a fold's held-out spots from its training spots.

| name | what |
| --- | --- |
| ``bleep`` | the configuration's own recipe |
| ``bleep:LOSS`` | the same with another objective alone (``model/loss.py``); ``bleep:paper`` is as published |
| ``st-net`` | ST-Net as published, of all genes (``stnet.py``); ``st-net:WEIGHTS`` not from ImageNet's weights |
| ``st-net-250`` | the same of the 250 genes of largest mean alone, as published |
| ``st-net-cpu`` | the same made small enough for a CPU |
| ``histogene`` | HisToGene as published (``histogene.py``) |
| ``histogene-cpu`` | the same made small enough for a CPU |
| ``ridge`` | ridge regression on the frozen features, each stage of each field of view scaled as a whole |
| ``ridge-columns`` | the same with every column scaled by itself and one penalty, as it was before |
| ``pls`` | partial least squares of ten components on the features of ``ridge`` |
| ``cca`` | retrieval by the closed-form towers of ``bleep build-reference`` on the features of ``ridge`` |
| ``hest-ridge`` | HEST-Bench's probe: 256 principal components of the features, ridge |
| ``knn`` | the mean of the 50 training spots of nearest frozen features |
| ``mean`` | the training mean |

``external:FILE``, anyone's predictions, is not of this list: it trains nothing (``external.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from bleep_cli.errors import UsageError, option
from bleep_cli.fitting.choose import held_out_groups
from bleep_cli.types import F32
from bleep_train.backbones.protocol import BackboneError
from bleep_train.config.schema import LOSSES, Config
from bleep_train.methods.bleep import Retrieval, with_loss, with_seed
from bleep_train.methods.folds import CohortFold, FoldData
from bleep_train.methods.histogene import HisToGeneOptions, predict_histogene
from bleep_train.methods.linear import cca, hest_ridge, pls, ridge, ridge_columns
from bleep_train.methods.simple import knn, mean_predictor
from bleep_train.methods.stnet import StNetOptions, predict_stnet

BLEEP, ST_NET = "bleep", "st-net"
Method = Callable[[CohortFold, int, Path], F32]
"""``method(data, seed, work)`` → f32[m, g] log1p on ``data.symbols``; NaN columns for genes it does not predict.
``work`` is a folder of its own for checkpoints."""


def find_method(name: str) -> Method:
    """The method of that name. Raises ``UsageError`` for an unknown one."""
    kind, _, rest = name.partition(":")
    if kind == BLEEP and rest in ("", *LOSSES):
        return lambda data, seed, work: _bleep(data, seed, work, rest)
    if kind == ST_NET and rest:
        return _st_net(replace(StNetOptions(), weights=rest))
    if name not in _PLAIN:
        known = [BLEEP, *(f"{BLEEP}:{loss}" for loss in LOSSES), *_PLAIN, f"{ST_NET}:WEIGHTS", "external:FILE"]
        raise UsageError(f"{option('methods')} {name}: choose among {', '.join(known)}")
    return _PLAIN[name]


def check_objectives(config: Config, methods: Sequence[str]) -> None:
    """Raises ``UsageError`` for a ``bleep:LOSS`` that the configuration cannot have, before any training."""
    for loss in LOSSES:
        if f"{BLEEP}:{loss}" in methods:
            with_loss(config, loss, 0)


def _bleep(data: CohortFold, seed: int, work: Path, loss: str) -> F32:
    config = data.study.config
    chosen = next((name for name in LOSSES if name == loss), None)
    recommended = config.reference
    retrieval = Retrieval(data, with_loss(config, chosen, seed) if chosen else with_seed(config, seed), work)
    return retrieval.predict(recommended.k, recommended.aggregation, recommended.key)


def _st_net(options: StNetOptions) -> Method:
    def predict(data: CohortFold, seed: int, work: Path) -> F32:
        try:
            return predict_stnet(data, seed, work, options)
        except BackboneError as error:
            raise UsageError(
                f"{option('methods')} {ST_NET}: {error}; "
                f"{option('methods')} {ST_NET}:PATH takes weights from a file, "
                f"{ST_NET}:random draws them, and {ST_NET}-cpu needs no download"
            ) from error

    return predict


def _histogene(options: HisToGeneOptions) -> Method:
    return lambda data, seed, work: predict_histogene(data, seed, work, options)


def _ridge(data: FoldData, seed: int, work: Path) -> F32:
    _, group = held_out_groups(data.sections("train"))
    x, z = data.scaled_features("train"), data.scaled_features("test")
    return ridge(x, data.train_y, z, group, data.sets)[0]


def _ridge_columns(data: FoldData, seed: int, work: Path) -> F32:
    x, z = data.mean_features("train"), data.mean_features("test")
    return ridge_columns(x, data.train_y, z, data.groups, data.sets["all"])[0]


def _pls(data: FoldData, seed: int, work: Path) -> F32:
    return pls(data.scaled_features("train"), data.train_y, data.scaled_features("test"))


def _cca(data: FoldData, seed: int, work: Path) -> F32:
    by, group = held_out_groups(data.sections("train"))
    x, z = data.scaled_features("train"), data.scaled_features("test")
    return cca(x, data.train_y, data.panel, z, by, group, [sum(field) for field in data.blocks()])


def _hest_ridge(data: FoldData, seed: int, work: Path) -> F32:
    return hest_ridge(data.mean_features("train"), data.train_y, data.mean_features("test"))


def _knn(data: FoldData, seed: int, work: Path) -> F32:
    return knn(data.mean_features("train"), data.train_y, data.mean_features("test"))


def _mean(data: FoldData, seed: int, work: Path) -> F32:
    return mean_predictor(data.train_y, sum(len(s.barcodes) for s in data.held_out))


UNTRAINED: dict[str, Callable[[FoldData, int, Path], F32]] = {
    "ridge": _ridge,
    "ridge-columns": _ridge_columns,
    "pls": _pls,
    "cca": _cca,
    "hest-ridge": _hest_ridge,
    "knn": _knn,
    "mean": _mean,
}
"""The methods that train no network: any fold will do, and no seed changes them."""

_PLAIN: dict[str, Method] = {
    ST_NET: _st_net(StNetOptions()),
    f"{ST_NET}-250": _st_net(replace(StNetOptions(), genes=250)),
    f"{ST_NET}-cpu": _st_net(StNetOptions.cpu()),
    "histogene": _histogene(HisToGeneOptions()),
    "histogene-cpu": _histogene(HisToGeneOptions.cpu()),
    **UNTRAINED,
}
