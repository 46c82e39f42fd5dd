"""Which epoch is kept: by retrieval on spots that gave no gradient, never by the contrastive loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional as F
from toy import CPU, head_towers, metrics, same, tile_towers, toy_data, toy_tiles

from bleep_cli.errors import UsageError
from bleep_cli.types import Section
from bleep_train.config.schema import (
    Config,
    LossConfig,
    ModelConfig,
    OptimConfig,
    ReferenceConfig,
    ValidationConfig,
)
from bleep_train.data.training_set import TrainingSet
from bleep_train.model.loss import ContrastiveLoss
from bleep_train.model.towers import Towers
from bleep_train.training.checkpoint import BEST, CHECKPOINT, checkpoint_meta, load_checkpoint
from bleep_train.training.distributed import Group
from bleep_train.training.gradcache import Pair
from bleep_train.training.loop import train
from bleep_train.training.source import FeatureSource, TileSource
from bleep_train.training.validation import NOTHING, Validation, choose_validation, retrieval_r

SPOTS = 90
FIELD_UM = 100.0
CONFIG = Config(
    model=ModelConfig(dim=16),
    loss=LossConfig(target_pcs=8),
    optim=OptimConfig(epochs=16, batch_size=30, lr=3e-3, seed=1),
    reference=ReferenceConfig(k=5),
    validation=ValidationConfig(by="section", every=3),
)


def training_set(panel: Any = None, donors: str = "PPQ") -> TrainingSet:
    """Three sections A, B and C of 30 spots each."""
    panel = toy_data(SPOTS)[1] if panel is None else panel
    names = np.array([f"g{i}" for i in range(panel.shape[1])])
    counts = sparse.csr_matrix((30, len(names)), dtype=np.float32)
    sections = tuple(
        Section(
            id=name,
            donor=donor,
            sha256=name,
            counts=counts,
            symbols=names,
            gene_ids=names,
            barcodes=np.arange(30).astype(str),
            xy_l0=np.zeros((30, 2)),
            image="",
            mpp=None,
        )
        for name, donor in zip("ABC", donors, strict=True)
    )
    return TrainingSet(sections, names, panel, panel, np.repeat(np.arange(3), 30), ())


def chosen(**config: Any) -> Validation:
    validation = choose_validation(training_set(), ValidationConfig(**config), FIELD_UM)
    assert validation is not None
    return validation


# --- the split


def test_the_last_section_or_donor_is_held_back_unless_others_are_named() -> None:
    assert choose_validation(training_set(), ValidationConfig(), FIELD_UM) is None
    for config, rows, names in (
        ({"by": "section"}, range(60, 90), ("C",)),
        ({"by": "section", "ids": ("A", "B")}, range(60), ("A", "B")),
        ({"by": "donor"}, range(60, 90), ("Q",)),
        ({"by": "donor", "ids": ("P",)}, range(60), ("P",)),
    ):
        validation = chosen(**config)
        assert validation.rows.tolist() == list(rows)
        assert validation.names == names
        assert sorted([*validation.rows, *validation.training]) == list(range(SPOTS))


def test_spots_are_a_drawn_fraction_of_all() -> None:
    first, again, other = (chosen(by="spots", fraction=0.2, seed=seed) for seed in (0, 0, 1))
    assert len(first.rows) == 18
    assert set(first.rows // 30) == {0, 1, 2}  # of every section
    assert first.rows.tolist() == again.rows.tolist() != other.rows.tolist()
    assert sorted([*first.rows, *first.training]) == list(range(SPOTS))


def test_genes_are_the_fifty_most_variable_of_the_training_spots() -> None:
    panel = np.random.default_rng(0).normal(size=(SPOTS, 80)).astype(np.float32) * np.linspace(
        0.1, 2, 80, dtype="f4"
    )
    panel[60:, :10] *= 100  # the validation section would choose others
    validation = choose_validation(training_set(panel), ValidationConfig(by="section"), FIELD_UM)
    assert validation is not None
    best = np.sort(np.argsort(-panel[:60].var(axis=0))[:50])
    np.testing.assert_array_equal(validation.log1p, panel[:, best])
    assert best.min() >= 10


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"by": "section", "ids": ("D",)}, "no training section is called D; there are A, B, C"),
        ({"by": "donor", "ids": ("A",)}, "no training donor is called A; there are P, Q"),
        (
            {"by": "section", "ids": ("A", "B", "C")},
            r"leaves no section to train on .*use validation.by = .blocks",
        ),
        ({"by": "spots", "fraction": 0.01}, "89 spots to learn from and 1 to validate on"),
    ],
)
def test_a_split_that_cannot_be_is_refused(config: Any, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        chosen(**config)
    with pytest.raises(UsageError, match="leaves no donor to train on"):
        choose_validation(training_set(donors="PPP"), ValidationConfig(by="donor"), FIELD_UM)


# --- the correlation


@pytest.mark.parametrize("key", ["expression", "image"])
def test_retrieval_is_that_of_a_query(key: Any) -> None:
    """Against NumPy, spot by spot: K nearest by cosine, mean log1p, Pearson r, mean over genes."""
    features, panel = toy_data(SPOTS)
    validation, towers, source = chosen(by="section"), head_towers(CONFIG), FeatureSource([features], CPU)
    config = replace(CONFIG, reference=ReferenceConfig(k=7, key=key))
    towers.modules().eval()
    with torch.no_grad():
        image = F.normalize(towers.image.project(torch.from_numpy(features[:, 0])), dim=1).numpy()
        spots = F.normalize(towers.expression(torch.from_numpy(panel)), dim=1).numpy()
    keys = (spots if key == "expression" else image)[:60]
    predicted = []
    for query in image[60:]:
        nearest = np.argsort(-(keys @ query), kind="stable")[:7]
        predicted.append(panel[:60][nearest].mean(axis=0))
    expected = np.mean(
        [np.corrcoef(p, m)[0, 1] for p, m in zip(np.transpose(predicted), panel[60:].T, strict=True)]
    )
    pair = Pair(towers, source, CPU)
    r = retrieval_r(pair, source, validation, torch.from_numpy(panel), config, Group())
    assert r == pytest.approx(expected, abs=1e-4)
    assert abs(r) > 0.01
    with torch.no_grad():
        towers.image.head.projection.weight.fill_(torch.nan)
    assert retrieval_r(pair, source, validation, torch.from_numpy(panel), config, Group()) == NOTHING


# --- training with it


def run(config: Config, folder: Path, data: Any = None, **options: Any) -> Towers:
    folder.mkdir(exist_ok=True)
    features, panel = data or toy_data(SPOTS)
    validation = choose_validation(training_set(panel), config.validation, FIELD_UM)
    towers = head_towers(config)
    source = FeatureSource([features], CPU)
    train(towers, source, panel, config, folder, device=CPU, validation=validation, **options)
    return towers


def kept(folder: Path, name: str = BEST) -> Towers:
    towers = head_towers(CONFIG, seed=9)
    model = torch.nn.ModuleDict({"towers": towers.modules(), "loss": ContrastiveLoss(CONFIG.loss)})
    load_checkpoint(folder / name, model)
    return towers


def overfitted() -> tuple[Any, Any]:
    """Images and expression that share little: what is learned by heart does not hold on the third section."""
    return toy_data(SPOTS, noise=1.5)


@pytest.mark.slow
def test_an_earlier_epoch_that_retrieves_better_is_kept(tmp_path: Path) -> None:
    config = replace(CONFIG, optim=replace(CONFIG.optim, epochs=60, schedule="constant"))
    seen: list[dict[str, torch.Tensor]] = []
    towers = head_towers(config)
    features, panel = overfitted()
    validation = choose_validation(training_set(panel), config.validation, FIELD_UM)

    def remember(_record: Any) -> None:
        seen.append({k: v.clone() for k, v in towers.modules().state_dict().items()})

    train(
        towers,
        FeatureSource([features], CPU),
        panel,
        config,
        tmp_path,
        device=CPU,
        validation=validation,
        watchers=[remember],
    )
    lines = metrics(tmp_path)
    assert [line["epoch"] for line in lines if "validation_r" in line] == [*range(2, 60, 3)]
    rs = {int(line["epoch"]): line["validation_r"] for line in lines if "validation_r" in line}
    best = max(rs, key=lambda epoch: rs[epoch])
    assert best < 59
    assert rs[best] > rs[59] + 0.01  # the last epoch is worse ...
    losses = [line["loss"] for line in lines]
    assert int(np.argmin(losses)) > best  # ... though its loss is lower
    assert losses[59] < losses[best]
    assert checkpoint_meta(tmp_path / BEST) == {"epoch": best, "validation_r": rs[best]}
    assert checkpoint_meta(tmp_path / CHECKPOINT)["epoch"] == 59
    chosen_weights, state = seen[best], kept(tmp_path).modules().state_dict()
    assert all(torch.equal(state[name], chosen_weights[name]) for name in state)
    assert same(towers, kept(tmp_path))  # and these are the weights that training leaves
    assert not same(towers, kept(tmp_path, CHECKPOINT))


@pytest.mark.slow
def test_the_contrastive_loss_of_the_validation_spots_does_not_decide(tmp_path: Path) -> None:
    """Its lowest epoch, which the published code would keep, is another one here, and is not kept."""
    config = replace(
        CONFIG,
        optim=replace(CONFIG.optim, epochs=40, schedule="constant"),
        validation=replace(CONFIG.validation, every=1),
    )
    features, panel = overfitted()
    validation = choose_validation(training_set(panel), config.validation, FIELD_UM)
    assert validation is not None
    towers, losses = head_towers(config), []
    rows = torch.from_numpy(validation.rows)

    def contrastive(_record: Any) -> None:
        with torch.no_grad():
            images = towers.image.project(torch.from_numpy(features[:, 0])[rows])
            spots = towers.expression(torch.from_numpy(panel)[rows])
            objective = ContrastiveLoss(replace(config.loss, name="clip"))
            losses.append(float(objective(images, spots, torch.empty(0))))

    source = FeatureSource([features], CPU)
    options: Any = {"device": CPU, "validation": validation, "watchers": [contrastive]}
    train(towers, source, panel, config, tmp_path, **options)
    rs = [line["validation_r"] for line in metrics(tmp_path)]
    epoch = checkpoint_meta(tmp_path / BEST)["epoch"]
    assert epoch == int(np.argmax(rs))
    assert epoch != int(np.argmin(losses))
    assert rs[epoch] > rs[int(np.argmin(losses))]


@pytest.mark.slow
def test_validation_spots_give_no_gradient(tmp_path: Path) -> None:
    """Whatever their images and their expression are, the weights are the same."""
    features, panel = toy_data(SPOTS)
    other = features.copy(), panel.copy()
    other[0][60:] = np.random.default_rng(5).normal(size=other[0][60:].shape)
    other[1][60:] = other[1][60:][::-1]
    for name, data in (("a", (features, panel)), ("b", other)):
        run(CONFIG, tmp_path / name, data)
    assert same(kept(tmp_path / "a", CHECKPOINT), kept(tmp_path / "b", CHECKPOINT))
    first, second = metrics(tmp_path / "a"), metrics(tmp_path / "b")
    assert [line["loss"] for line in first] == [line["loss"] for line in second]
    assert first[2]["validation_r"] != second[2]["validation_r"]


@pytest.mark.slow
def test_validating_changes_nothing_but_what_is_kept(tmp_path: Path) -> None:
    often = replace(CONFIG, validation=replace(CONFIG.validation, every=1))
    run(CONFIG, tmp_path / "rarely")
    run(often, tmp_path / "often")
    assert same(kept(tmp_path / "rarely", CHECKPOINT), kept(tmp_path / "often", CHECKPOINT))
    assert [line["loss"] for line in metrics(tmp_path / "rarely")] == [
        line["loss"] for line in metrics(tmp_path / "often")
    ]


@pytest.mark.slow
@pytest.mark.parametrize("killed_at", [7, 13, 15])
def test_resume_knows_the_best_so_far(tmp_path: Path, killed_at: int) -> None:
    config = replace(CONFIG, optim=replace(CONFIG.optim, schedule="constant", lr=0.02))
    unbroken = run(config, tmp_path / "unbroken", overfitted())
    assert checkpoint_meta(tmp_path / "unbroken" / BEST)["epoch"] < 15

    def kill(_stage: str, done: int, _total: int) -> None:
        if done == killed_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "broken", overfitted(), progress=kill)
    before = checkpoint_meta(tmp_path / "broken" / BEST)
    resumed = run(config, tmp_path / "broken", overfitted(), resume=True)
    assert same(resumed, unbroken)
    assert metrics(tmp_path / "broken") == metrics(tmp_path / "unbroken")
    after = checkpoint_meta(tmp_path / "broken" / BEST)
    assert after == checkpoint_meta(tmp_path / "unbroken" / BEST)
    assert after["validation_r"] >= before["validation_r"]


def test_a_run_killed_between_its_two_files_keeps_the_best(tmp_path: Path) -> None:
    """The checkpoint says that its own epoch is the best; the best file was not replaced yet."""
    config = replace(CONFIG, optim=replace(CONFIG.optim, epochs=3))
    run(config, tmp_path)
    best = kept(tmp_path)
    assert checkpoint_meta(tmp_path / CHECKPOINT)["best"]["epoch"] == 2
    (tmp_path / BEST).unlink()
    run(config, tmp_path, resume=True)
    assert same(kept(tmp_path), best)


@pytest.mark.slow
def test_a_run_begun_anew_forgets_the_best_of_the_one_before(tmp_path: Path) -> None:
    run(CONFIG, tmp_path)
    assert (tmp_path / BEST).exists()
    plain = replace(CONFIG, validation=ValidationConfig(), optim=replace(CONFIG.optim, epochs=1))
    run(plain, tmp_path)
    assert not (tmp_path / BEST).exists()


@pytest.mark.slow
def test_validation_on_tiles(tmp_path: Path) -> None:
    config = replace(CONFIG, model=ModelConfig(dim=8, trainable="all"), optim=replace(CONFIG.optim, epochs=3))
    towers, panel = tile_towers(config, norm=True), toy_data(SPOTS)[1]
    validation = choose_validation(training_set(panel), config.validation, FIELD_UM)
    source = TileSource([toy_tiles(SPOTS)], CPU)
    train(towers, source, panel, config, tmp_path, device=CPU, validation=validation)
    assert -1 < metrics(tmp_path)[2]["validation_r"] < 1
