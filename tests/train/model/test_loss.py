"""Objectives against a second implementation in NumPy, written from the paper and the published code."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bleep_cli.errors import UsageError
from bleep_train.config.schema import PUBLISHED, Config, LossConfig, ModelConfig
from bleep_train.methods.bleep import with_loss
from bleep_train.model.loss import MAX_SCALE, ContrastiveLoss, paper_loss, soft_cross_entropy

F64 = NDArray[np.float64]
SOFT = ("unit", "pre", "mixed")
CONFIG = LossConfig(temperature=0.2, target_temperature=0.3, identity=0.25)


def vectors(seed: int, b: int = 7, d: int = 16, dtype: Any = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Image and expression as they leave a LayerNorm (norm √d), and unit rows of principal components."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=(b, d))
    image, expression = (F.layer_norm(torch.tensor(shared + rng.normal(size=(b, d))), (d,)) for _ in range(2))
    pre = F.normalize(torch.tensor(rng.normal(size=(b, 5))), dim=1)
    return image.to(dtype), expression.to(dtype), pre.to(dtype)


def softmax(x: F64) -> F64:
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def log_softmax(x: F64) -> F64:
    shifted = x - x.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def published_loss(image: F64, spots: F64, tau: float) -> float:
    """The published code: S·Iᵀ/τ against softmax((I·Iᵀ + S·Sᵀ)/2·τ), and both transposed."""
    logits = spots @ image.T / tau
    targets = softmax((image @ image.T + spots @ spots.T) / 2 * tau)
    total = 0.0
    for scores, wanted in ((logits, targets), (logits.T, targets.T)):
        total += float(-(wanted * log_softmax(scores)).sum(axis=1).mean())
    return total / 2


def value(scalar: Tensor) -> float:
    return float(scalar.detach())


@pytest.mark.parametrize("length", [1.0, 0.3])  # norms 4 and 1.2: targets nearly one-hot, and soft ones
@pytest.mark.parametrize("tau", [1.0, 0.3, 2.5])
def test_paper_loss_is_the_published_one(tau: float, length: float) -> None:
    for seed in range(3):
        image, expression, pre = vectors(seed)
        image, expression = length * image, length * expression
        expected = published_loss(image.numpy(), expression.numpy(), tau)
        assert value(paper_loss(image, expression, tau)) == pytest.approx(expected, rel=1e-9)
        objective = ContrastiveLoss(LossConfig(name="paper", temperature=tau))
        got = objective(image.float(), expression.float(), pre.float())
        assert value(got) == pytest.approx(expected, rel=1e-6)


def test_paper_clip_is_the_published_loss_with_identity_targets() -> None:
    for seed, tau in enumerate((1.0, 0.3)):
        image, expression, pre = vectors(seed)
        logits = (expression @ image.T / tau).numpy()
        expected = -np.mean([np.diag(log_softmax(side)).mean() for side in (logits, logits.T)])
        objective = ContrastiveLoss(LossConfig(name="paper-clip", temperature=tau, learn_temperature=True))
        assert value(objective(image, expression, pre)) == pytest.approx(expected, rel=1e-6)
        assert not objective.log_scale.requires_grad
        unit = ContrastiveLoss(LossConfig(name="clip", temperature=tau))
        assert value(unit(image, expression, pre)) != pytest.approx(expected, rel=1e-2)  # of vectors of length 1
    with pytest.raises(UsageError, match='"paper-clip" takes one projection head'):
        ContrastiveLoss(LossConfig(name="paper-clip"), heads=2)


def test_paper_clip_is_trained_as_the_published_objective_is() -> None:
    config = replace(Config(), model=ModelConfig(heads=4), loss=LossConfig(temperature=0.07))
    for loss in PUBLISHED:
        changed = with_loss(config, loss, 3)
        assert (changed.loss.name, changed.loss.temperature, changed.loss.learn_temperature) == (loss, 1.0, False)
        assert (changed.model.heads, changed.optim.seed) == (1, 3)
    assert with_loss(config, "clip", 3).loss.temperature == 0.07


def test_the_second_direction_takes_the_transposed_targets() -> None:
    image, expression, _ = (0.3 * v for v in vectors(4))
    targets = ((image @ image.T + expression @ expression.T) / 2).softmax(dim=1)
    logits = expression @ image.T
    untransposed = (soft_cross_entropy(logits, targets) + soft_cross_entropy(logits.T, targets)) / 2
    assert value(paper_loss(image, expression, 1.0)) != pytest.approx(value(untransposed), rel=1e-5)


def test_paper_loss_lets_gradients_through_its_targets() -> None:
    image, expression, _ = (v.requires_grad_() for v in vectors(5, d=4))
    (whole,) = torch.autograd.grad(paper_loss(image, expression, 1.0), image)
    targets = ((image @ image.T + expression @ expression.T) / 2).softmax(dim=1).detach()
    logits = expression @ image.T
    constant = (soft_cross_entropy(logits, targets) - (targets.T * logits.T.log_softmax(1)).sum(1).mean()) / 2
    (partial,) = torch.autograd.grad(constant, image)
    assert float((whole - partial).abs().max()) > 1e-3


def test_clip_is_cross_entropy_both_ways_on_unit_vectors() -> None:
    image, expression, pre = vectors(6)
    objective = ContrastiveLoss(replace(CONFIG, name="clip")).double()
    logits = F.normalize(expression, dim=1) @ F.normalize(image, dim=1).T / 0.2
    labels = torch.arange(len(image))
    expected = (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    assert value(objective(image, expression, pre)) == pytest.approx(value(expected), rel=1e-6)


def written_targets(name: str, image: F64, spots: F64, pre: F64) -> F64:
    soft = softmax(pre @ pre.T / CONFIG.target_temperature)
    if name == "unit":
        return softmax((image @ image.T + spots @ spots.T) / 2 / CONFIG.target_temperature)
    return soft if name == "pre" else CONFIG.identity * np.eye(len(pre)) + (1 - CONFIG.identity) * soft


@pytest.mark.parametrize("name", SOFT)
def test_soft_targets_and_loss_are_as_written(name: Any) -> None:
    image, expression, pre = vectors(7)
    i, s = F.normalize(image, dim=1).numpy(), F.normalize(expression, dim=1).numpy()
    objective = ContrastiveLoss(replace(CONFIG, name=name)).double()
    targets = objective._targets(torch.from_numpy(i), torch.from_numpy(s), pre).numpy()
    np.testing.assert_allclose(targets.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(targets, written_targets(name, i, s, pre.numpy()), rtol=1e-9)
    logits = s @ i.T / CONFIG.temperature
    expected = -((targets * log_softmax(logits)).sum() + (targets * log_softmax(logits.T)).sum()) / 2 / len(i)
    assert value(objective(image, expression, pre)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", SOFT)
def test_targets_are_constants_to_the_gradient(name: Any) -> None:
    image, expression, pre = (v.requires_grad_() for v in vectors(8))
    objective = ContrastiveLoss(replace(CONFIG, name=name)).double()
    got = torch.autograd.grad(objective(image, expression, pre), (image, expression, pre), allow_unused=True)

    def manual(detach: bool) -> tuple[Tensor, ...]:
        i, s = F.normalize(image, dim=1), F.normalize(expression, dim=1)
        targets = objective._targets(i, s, pre)
        targets = targets.detach() if detach else targets
        logits = objective.scale * s @ i.T
        loss = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
        return torch.autograd.grad(loss, (image, expression))

    torch.testing.assert_close(got[:2], manual(detach=True), rtol=1e-6, atol=1e-9)
    assert got[2] is None
    if name == "unit":
        assert float((got[0] - manual(detach=False)[0]).abs().max()) > 1e-4


@pytest.mark.parametrize("name", ["clip", *SOFT])
def test_temperature_learns_where_it_is_told_to(name: Any) -> None:
    for learn in (True, False):
        objective = ContrastiveLoss(replace(CONFIG, name=name, learn_temperature=learn))
        assert value(objective.scale) == pytest.approx(1 / 0.2)
        assert [p.requires_grad for p in objective.parameters()] == [learn]
        image, expression, pre = (v.requires_grad_() for v in vectors(9, dtype=torch.float32))
        objective(image, expression, pre).backward()
        assert (objective.log_scale.grad is not None and float(objective.log_scale.grad) != 0) is learn


def test_temperature_of_the_paper_never_learns_and_is_used() -> None:
    image, expression, pre = vectors(9, dtype=torch.float32)
    objective = ContrastiveLoss(LossConfig(name="paper", temperature=0.5, learn_temperature=True))
    assert not any(p.requires_grad for p in objective.parameters())
    assert value(objective(image, expression, pre)) == value(paper_loss(image, expression, 0.5))


def test_scale_is_bounded() -> None:
    objective = ContrastiveLoss(replace(CONFIG, temperature=1e-4))
    assert value(objective.scale) == MAX_SCALE


def test_two_spots_by_hand() -> None:
    """e₁ and e₂ on both sides: logits are 1/τ on the diagonal and 0 beside it."""
    pair = torch.eye(2, dtype=torch.float64)
    right = 1 / (1 + math.exp(-1))  # softmax of (1, 0)
    nothing = math.log(1 + math.exp(-1))  # -log of it; -log of the other is one more

    def loss(name: Any, image: Tensor = pair, **values: Any) -> float:
        objective = ContrastiveLoss(LossConfig(name=name, temperature=1.0, **values)).double()
        return value(objective(image, pair, pair))

    assert loss("clip") == pytest.approx(nothing, rel=1e-9)
    assert loss("clip", image=5 * pair) == pytest.approx(nothing, rel=1e-9)  # unit vectors
    assert loss("clip", image=pair.flip(0)) == pytest.approx(nothing + 1, rel=1e-9)
    for name in ("unit", "pre"):
        assert loss(name, target_temperature=1.0) == pytest.approx(nothing + 1 - right, rel=1e-9)
    mixed = 0.75 * nothing + 0.25 * (nothing + 1 - right)
    assert loss("mixed", target_temperature=1.0, identity=0.75) == pytest.approx(mixed, rel=1e-9)
    assert loss("paper") == pytest.approx(nothing + 1 - right, rel=1e-9)
    # vectors of norm 2: products of 4, where one-hot targets cost log(1 + e⁻⁴)
    four = 1 / (1 + math.exp(-4))
    assert value(paper_loss(2 * pair, 2 * pair, 1.0)) == pytest.approx(
        math.log(1 + math.exp(-4)) + 4 * (1 - four), rel=1e-9
    )


def test_every_head_of_an_ensemble_has_its_own_loss() -> None:
    rng = torch.Generator().manual_seed(3)
    image, expression, pre = (torch.randn(6, 8, generator=rng).double() for _ in range(3))
    two = ContrastiveLoss(CONFIG, heads=2).double()
    one = ContrastiveLoss(CONFIG).double()
    pre = torch.nn.functional.normalize(pre, dim=1)
    halves = [one(image[:, part], expression[:, part], pre) for part in (slice(0, 4), slice(4, 8))]
    torch.testing.assert_close(two(image, expression, pre), (halves[0] + halves[1]) / 2)
    assert abs(float((two(image, expression, pre) - one(image, expression, pre)).detach())) > 1e-3


def test_the_published_loss_takes_one_head() -> None:
    with pytest.raises(UsageError, match=r"set model\.heads=1"):
        ContrastiveLoss(LossConfig(name="paper"), heads=2)
