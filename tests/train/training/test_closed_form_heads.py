"""Heads in closed form: the runtime's own fit, left alone by training, alone or beside heads that learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F
from toy import CPU, FEATURES, PANEL, NoBackbone, head_towers, metrics, same, tile_towers, toy_data, toy_tiles

from bleep_cli.errors import UsageError
from bleep_cli.fitting.cca import decompose, fit_heads
from bleep_cli.fitting.choose import choose, held_out_groups
from bleep_cli.towers.encoder import unit
from bleep_cli.types import F32, Section
from bleep_train.config.schema import Config, DistillConfig, LossConfig, ModelConfig, OptimConfig, ReferenceConfig
from bleep_train.config.toml import closed_form_alone
from bleep_train.data.training_set import TrainingSet
from bleep_train.model.loss import ContrastiveLoss, objective_of
from bleep_train.model.towers import ClosedFormHead, Ensemble, Towers
from bleep_train.training.checkpoint import BEST, CHECKPOINT, load_checkpoint
from bleep_train.training.distil import Lesson, teach
from bleep_train.training.loop import train
from bleep_train.training.source import FeatureSource, TileSource
from bleep_train.training.start import fitted
from bleep_train.training.validation import Validation

SPOTS, COMPONENTS = 90, 6
FIT = Config(
    model=ModelConfig(dim=16, heads=2, closed_form=True, components=COMPONENTS, penalty=2.0),
    loss=LossConfig(target_pcs=8),
    optim=OptimConfig(epochs=3, batch_size=32, lr=3e-3, seed=1),
    reference=ReferenceConfig(k=5),
)
ALONE = closed_form_alone(FIT)
SCALE = np.repeat(1 / np.sqrt([4, FEATURES - 4]), [4, FEATURES - 4])  # a stage as a whole weighs 1


def training_set(panel: F32, donors: str = "PQR") -> TrainingSet:
    names, n = np.arange(PANEL).astype(str), len(panel) // len(donors)
    sections = tuple(
        Section(
            id=f"S{i}",
            donor=donor,
            sha256=f"S{i}",
            counts=sparse.csr_matrix((n, PANEL), dtype=np.float32),
            symbols=names,
            gene_ids=names,
            barcodes=np.arange(n).astype(str),
            xy_l0=np.stack([np.arange(n), np.zeros(n)], axis=1),
            image="",
            mpp=1.0,
        )
        for i, donor in enumerate(donors)
    )
    return TrainingSet(sections, names, panel, panel, np.repeat(np.arange(len(donors)), n), ())


def made(
    config: Config, validation: Validation | None = None, donors: str = "PQR"
) -> tuple[Towers, Any, F32, Any]:
    """Fitted towers, their source, the panel, and what was chosen."""
    features, panel = toy_data(SPOTS)
    towers, source = head_towers(config), FeatureSource([features], CPU)
    return towers, source, panel, fitted(towers, source, training_set(panel, donors), validation, config)


def wanted(penalty: float, rows: Any = slice(None)) -> tuple[F32, F32]:
    """Vectors of all spots' mean features, and of their expression, by the runtime's fit to ``rows``."""
    features, panel = toy_data(SPOTS)
    scaled = (features.mean(axis=1) * SCALE).astype(np.float32)
    image, spot = fit_heads(decompose(scaled[rows]), decompose(panel[rows], COMPONENTS), penalty)
    return unit(image(scaled)), unit(spot(panel))


def given(towers: Towers) -> tuple[F32, F32]:
    """What both towers make of the same."""
    features, panel = toy_data(SPOTS)
    with torch.inference_mode():
        image = towers.image.project(torch.from_numpy(features.mean(axis=1)))
        return unit(image.numpy()), unit(towers.expression(torch.from_numpy(panel)).numpy())


def closed(towers: Towers) -> list[torch.Tensor]:
    heads = (m for tower in (towers.image, towers.expression) for m in tower.modules())
    return [p.detach().clone() for m in heads if isinstance(m, ClosedFormHead) for p in m.parameters()]


# --- the fit


def test_the_towers_are_the_runtimes_heads() -> None:
    towers, _, _, choice = made(ALONE)
    assert choice == {"penalty": 2.0, "components": COMPONENTS}
    for found, expected in zip(given(towers), wanted(2.0), strict=True):
        assert found.shape == (SPOTS, COMPONENTS)
        np.testing.assert_allclose(found, expected, atol=1e-4)
    other = given(made(replace(ALONE, model=replace(ALONE.model, penalty=50.0)))[0])
    assert np.abs(other[0] - wanted(2.0)[0]).max() > 0.01


def test_of_another_network_the_size_of_its_numbers_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(NoBackbone, "shipped", False)
    features, panel = toy_data(SPOTS)
    vectors = []
    for factor in (1.0, 1e-3):
        towers, rows = head_towers(ALONE), (features * factor).astype(np.float32)
        fitted(towers, FeatureSource([rows], CPU), training_set(panel), None, ALONE)
        with torch.inference_mode():
            vectors.append(unit(towers.image.project(torch.from_numpy(rows.mean(axis=1))).numpy()))
    np.testing.assert_allclose(vectors[0], vectors[1], atol=1e-4)


def test_a_head_that_learns_can_begin_there() -> None:
    config = replace(FIT, model=replace(FIT.model, heads=1, closed_form=False, start="cca"))
    towers = made(config)[0]
    for found, expected in zip(given(towers), wanted(2.0), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    assert all(m.weights.requires_grad for m in towers.modules().modules() if isinstance(m, ClosedFormHead))


def test_without_a_penalty_it_is_chosen_on_donors_left_out() -> None:
    _, _, panel, choice = made(replace(ALONE, model=replace(ALONE.model, penalty=0.0)))
    features = (toy_data(SPOTS)[0].mean(axis=1) * SCALE).astype(np.float32)
    group = np.repeat(np.arange(3), 30)
    expected = choose([features], panel, "donor", group, 5, components=(COMPONENTS,)).attrs()
    assert choice == expected
    assert choice["chosen_by"] == "leave one donor out"


@pytest.mark.parametrize(("donors", "told"), [("PPP", "section"), ("P", "block")])
def test_of_one_donor_on_sections_or_blocks_left_out(donors: str, told: str) -> None:
    choice = made(replace(ALONE, model=replace(ALONE.model, penalty=0.0)), donors=donors)[3]
    assert choice["chosen_by"] == f"leave one {told} out"


def test_spots_held_back_are_not_fitted_to() -> None:
    rows = np.arange(SPOTS)
    validation = Validation(rows[60:], rows[:60], toy_data(SPOTS)[1][:, :5])
    for found, expected in zip(given(made(ALONE, validation)[0]), wanted(2.0, slice(60)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("donors", "told"), [("PQ", "block"), ("PPQ", "section")])
def test_with_a_donor_held_back_it_is_what_is_left_of_the_others(donors: str, told: str) -> None:
    """Blocks by place where one section is left, sections where one donor is, as if the others had never been."""
    kept = SPOTS // len(donors) * (len(donors) - 1)
    rows = np.arange(SPOTS)
    validation = Validation(rows[kept:], rows[:kept], toy_data(SPOTS)[1][:, :5])
    config = replace(ALONE, model=replace(ALONE.model, penalty=0.0))
    choice = made(config, validation, donors)[3]
    assert choice["chosen_by"] == f"leave one {told} out"
    features, panel = toy_data(SPOTS)
    scaled = (features.mean(axis=1) * SCALE).astype(np.float32)[:kept]
    by, group = held_out_groups(training_set(panel, donors).sections[:-1])
    assert choice == choose([scaled], panel[:kept], by, group, 5, components=(COMPONENTS,)).attrs()


def test_fewer_directions_than_components_leave_zeros() -> None:
    """Expression of rank 3 has three components: the others say nothing, and vectors stay of length 1."""
    features, panel = toy_data(SPOTS)
    flat = (panel[:, :3] @ np.random.default_rng(0).random((3, PANEL)).astype(np.float32)).astype(np.float32)
    towers = head_towers(ALONE)
    fitted(towers, FeatureSource([features], CPU), training_set(flat), None, ALONE)
    weights = closed(towers)[1]
    assert weights.shape == (FEATURES, COMPONENTS)
    assert (weights[:, 3:].abs().max(), weights[:, :3].abs().min() > 0) == (0, True)


def test_features_that_move_cannot_be_fitted_to() -> None:
    towers, panel = tile_towers(ALONE), toy_data(SPOTS)[1]
    with pytest.raises(UsageError, match=r"needs features that stay: set model\.trainable"):
        fitted(towers, TileSource([toy_tiles(SPOTS)], CPU), training_set(panel), None, ALONE)


# --- beside heads that learn


def test_it_weighs_as_much_as_all_others_together() -> None:
    """The cosine of two embeddings: half the mean of the learning heads' cosines, half the closed form's."""
    torch.manual_seed(3)
    head = Ensemble(5, replace(FIT.model, dropout=0.0)).eval()
    assert head.closed is not None
    with torch.inference_mode():
        a, b = torch.randn(7, 5), torch.randn(7, 5)
        learned = [F.cosine_similarity(part(a), part(b)) for part in head.heads]
        fixed = F.cosine_similarity(head.closed(a), head.closed(b))
        found = F.cosine_similarity(head(a), head(b))
    torch.testing.assert_close(found, 0.25 * learned[0] + 0.25 * learned[1] + 0.5 * fixed)


def test_the_objective_does_not_see_it() -> None:
    torch.manual_seed(0)
    loss, plain = objective_of(FIT), ContrastiveLoss(FIT.loss, 2)
    image, spots, pre = (torch.randn(9, d) for d in (32 + COMPONENTS, 32 + COMPONENTS, 8))
    image.requires_grad_()
    value = loss(image, spots, F.normalize(pre))
    torch.testing.assert_close(value, plain(image[:, :32], spots[:, :32], F.normalize(pre)))
    value.backward()
    assert image.grad is not None
    assert image.grad[:, 32:].abs().max() == 0
    assert image.grad[:, :32].abs().min() > 0


def test_training_leaves_it_as_it_was_fitted(tmp_path: Path) -> None:
    towers, source, panel, _ = made(FIT)
    fixed = closed(towers)
    before = [p.detach().clone() for m in (towers.image, towers.expression) for p in m.head.heads.parameters()]
    train(towers, source, panel, FIT, tmp_path, device=CPU)
    assert len(fixed) == 4
    assert all(torch.equal(now, old) for now, old in zip(closed(towers), fixed, strict=True))
    after = [p for m in (towers.image, towers.expression) for p in m.head.heads.parameters()]
    assert all(not torch.equal(now, old) for now, old in zip(after, before, strict=True))


# --- alone


@pytest.mark.parametrize("learn_temperature", [True, False])
def test_alone_nothing_is_left_to_learn(tmp_path: Path, learn_temperature: bool) -> None:
    config = replace(ALONE, loss=replace(ALONE.loss, learn_temperature=learn_temperature))
    towers, source, panel, _ = made(config)
    (tmp_path / BEST).write_bytes(b"of an earlier run")
    assert train(towers, source, panel, config, tmp_path, device=CPU) == []
    assert metrics(tmp_path) == []
    assert not (tmp_path / BEST).exists()
    again = head_towers(config, seed=8)
    model = torch.nn.ModuleDict({"towers": again.modules(), "loss": objective_of(config)})
    assert load_checkpoint(tmp_path / CHECKPOINT, model) == {"epoch": 0}
    assert same(again, towers)
    train(towers, source, panel, config, tmp_path, device=CPU, resume=True)
    assert same(again, towers)


# --- a student's


def test_a_students_learns_from_its_teacher(tmp_path: Path) -> None:
    """Fitted to nothing, it has to get all it knows from the lesson."""
    teacher = made(ALONE)[0]
    features = toy_data(SPOTS)[0]
    config = replace(
        ALONE,
        optim=replace(ALONE.optim, epochs=40, lr=0.02),
        distill=DistillConfig(neighbours=0.0),
    )
    student = head_towers(config, seed=5)
    student.expression.load_state_dict(teacher.expression.state_dict())
    before, spots = closed(student), closed(teacher)[2:]
    vectors = given(teacher)
    lesson = Lesson(vectors[0], vectors[1])
    teach(student, FeatureSource([features], CPU), lesson, config, tmp_path, device=CPU)
    told = metrics(tmp_path)
    assert told[0]["cosine"] < 0.6
    assert told[-1]["cosine"] > 0.9
    image, expression = closed(student)[:2], closed(student)[2:]
    assert all(not torch.equal(now, old) for now, old in zip(image, before[:2], strict=True))
    assert all(torch.equal(now, old) for now, old in zip(expression, spots, strict=True))


def test_a_head_that_begins_there_learns(tmp_path: Path) -> None:
    started = replace(FIT.model, closed_form=False, start="cca", heads=1)
    config = replace(FIT, model=started, optim=replace(FIT.optim, lr=5e-4))
    towers, source, panel, _ = made(config)
    head = towers.image.head
    assert isinstance(head, ClosedFormHead)
    before = head.weights.detach().clone()
    train(towers, source, panel, config, tmp_path, device=CPU)
    assert float((head.weights.detach() - before).abs().max()) > 1e-4
    losses = [line["loss"] for line in metrics(tmp_path)]
    assert losses[-1] < losses[0]
