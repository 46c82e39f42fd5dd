"""Configurations: what the presets say, what is refused by name, and that a run's config.toml reads back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bleep_cli.errors import UsageError
from bleep_cli.types import TileSpec
from bleep_train.config.schema import Config
from bleep_train.config.toml import config_from, dump_toml, load_config, presets


def test_presets_are_the_shipped_files() -> None:
    assert presets() == ["accurate", "default", "paper", "student", "tiny"]


@pytest.mark.parametrize("name", presets())
def test_preset_survives_dumping(tmp_path: Path, name: str) -> None:
    config = load_config(name)
    (tmp_path / "config.toml").write_text(dump_toml(config), encoding="utf-8")
    assert load_config(str(tmp_path / "config.toml")) == config


def test_every_value_survives_dumping(tmp_path: Path) -> None:
    config = load_config(
        "default",
        [
            "data.target_sum=1e6",
            "data.harmony=true",
            "data.tile_um=[68, 0.1, 1e3]",
            'model.weights="C:\\\\weights\\\\net.pth"',
            "optim.lr=1e-7",
            "optim.clip_norm=1",
            'reference.citation="Müller \\"et al.\\" 2024, τ = 𝟎.𝟏\\nsecond line"',
            "reference.views=1",
            "reference.aggregation=weighted",
            "data.protocol=paper",
            "model.trainable=last",
            "model.closed_form=false",
            "model.components=7",
            "model.penalty=0.5",
            "model.heads=3",
            "optim.micro_batch=64",
            "optim.compile=true",
            "augment.stain_jitter=0.05",
            "validation.by=section",
            'validation.ids=["A 1", "B"]',
            "validation.every=2",
        ],
    )
    assert config.data.tile_um == (0.1, 68.0, 1000.0)
    assert config.model.weights == "C:\\weights\\net.pth"
    path = tmp_path / "config.toml"
    path.write_text(dump_toml(config), encoding="utf-8")
    assert load_config(str(path)) == config


def test_paper_preset_is_the_papers() -> None:
    config = load_config("paper")
    data, model, optim = config.data, config.model, config.optim
    assert (data.panel, data.panel_genes, data.min_spots, data.harmony) == ("hvg", 1000, 0.0, True)
    assert data.tile == TileSpec(224, (68.0,))
    assert (model.backbone, model.weights, model.trainable) == ("resnet50", "imagenet", "all")
    assert (model.dim, model.dropout, model.standardise) == (256, 0.1, False)
    assert (config.loss.name, config.loss.temperature) == ("paper", 1.0)
    assert (optim.lr, optim.weight_decay, optim.batch_size, optim.epochs) == (1e-3, 1e-3, 512, 150)
    assert (optim.schedule, optim.clip_norm) == ("constant", 0.0)
    assert (config.reference.k, config.reference.key) == (50, "expression")
    assert (config.reference.views, config.reference.recommended_views) == (1, 1)
    validation = config.validation  # a random fifth of the spots, as published
    assert (validation.by, validation.fraction, validation.ids) == ("spots", 0.2, ())


def test_what_leaks_or_costs_is_off_unless_asked_for() -> None:
    for name in presets():
        config = load_config(name)
        assert config.data.protocol == "leak-free"
        assert config.augment.stain_jitter == 0
        assert (config.optim.micro_batch, config.optim.compile) == (0, False)
        assert (config.validation.by == "none") == (name != "paper")


def test_names_may_be_given_as_a_list_or_with_commas() -> None:
    for value in ('["A-1", "B"]', "A-1,B", "A-1, B"):
        config = load_config("tiny", ["validation.by=section", f"validation.ids={value}"])
        assert config.validation.ids == ("A-1", "B")


def test_what_the_default_preset_adds_to_the_dataclass_defaults() -> None:
    config, plain = load_config("default"), Config()
    assert config.data.tile_um == (155.0, 310.0, 620.0)
    assert len(config.model.levels) > 1
    assert config.model.fits
    assert config.reference.aggregation == "projected"
    data = replace(config.data, tile_um=plain.data.tile_um)
    settled = ("levels", "heads", "closed_form", "start", "components", "penalty")
    model = replace(config.model, **{name: getattr(plain.model, name) for name in settled})
    optim = replace(config.optim, epochs=plain.optim.epochs)
    assert replace(config, data=data, model=model, optim=optim, reference=plain.reference) == plain


def test_the_objective_cca_is_heads_in_closed_form_and_no_others(tmp_path: Path) -> None:
    config = load_config("tiny", ["loss.name=cca"])
    assert (config.model.heads, config.model.closed_form) == (0, True)
    path = tmp_path / "config.toml"
    path.write_text(dump_toml(config), encoding="utf-8")
    assert load_config(str(path)) == config


CLOSED = ("model.closed_form=true", "model.start=cca", "loss.name=cca")


@pytest.mark.parametrize("setting", CLOSED)
@pytest.mark.parametrize("trainable", ["last", "all"])
def test_a_head_in_closed_form_needs_a_frozen_backbone(setting: str, trainable: str) -> None:
    settings = [setting, f"model.trainable={trainable}"]
    with pytest.raises(
        UsageError, match=r"tiny: a head in closed form needs features that stay: set model\.trainable"
    ):
        load_config("tiny", settings)
    assert load_config("tiny", settings, student=True).model.trainable == trainable  # its teacher's is learned


@pytest.mark.parametrize("setting", CLOSED[:2])
@pytest.mark.parametrize("loss", ["paper", "paper-clip"])
def test_the_published_objectives_are_of_the_published_heads(setting: str, loss: str) -> None:
    with pytest.raises(UsageError, match=rf'loss\.name = "{loss}" is of the published heads alone'):
        load_config("tiny", [setting, f"loss.name={loss}"])


def test_overrides_win_over_the_file() -> None:
    config = load_config(
        "tiny", ["optim.seed=7", "loss.name=clip", "data.tile_um=267", "optim.lr=1", "optim.seed=8"]
    )
    assert (config.optim.seed, config.loss.name, config.optim.lr) == (8, "clip", 1.0)
    assert config.data.tile_um == (267.0,)
    assert config.data.panel_genes == load_config("tiny").data.panel_genes


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("data.panle=hvg", r"tiny: data: unknown key panle; known are .*panel"),
        ("date.panel=hvg", r"tiny: unknown key date; known are augment, data, .*, validation"),
        ("panel=hvg", r"set panel=hvg: write section\.key=value"),
        ("data.panel", r"set data\.panel: write section\.key=value"),
        ("data.panel=best", r"data: panel = 'best'; choose one of hvg, variance"),
        ("reference.views=4", r"views = 4; choose one of 1, 8"),
        ("reference.views=true", r"views = True; choose one of 1, 8"),
        ("reference.views=[8]", r"views = \[8\]; choose one of 1, 8"),
        ("optim.epochs=2.5", r"epochs = 2\.5; .*int is needed"),
        ("optim.epochs=many", r"epochs = 'many'; .*int is needed"),
        ("optim.epochs=true", r"epochs = True; .*int is needed"),
        ("optim.lr=fast", r"lr = 'fast'; .*float is needed"),
        ("optim.lr=true", r"lr = True; .*float is needed"),
        ("data.harmony=1", r"harmony = 1; .*bool is needed"),
        ("model.backbone=3", r"backbone = 3; .*str is needed"),
        ("data.tile_um=[]", r"tile_um = \[\]; give positive numbers"),
        ("data.tile_um=[155, 0]", r"tile_um = \[155, 0\]; give positive numbers"),
        ("data.tile_um=[true]", r"tile_um = \[True\]; give positive numbers"),
        ("data.tile_um=wide", r"tile_um = \['wide'\]; give positive numbers"),
        ("data.protocol=leaky", r"protocol = 'leaky'; choose one of leak-free, paper"),
        ("model.heads=0", r"tiny: model\.heads = 0; 1 or more"),
        ("model.components=0", r"tiny: model\.components = 0; 1 or more"),
        ("model.penalty=-1", r"tiny: model\.penalty = -1\.0; 0 \(chosen\) or more"),
        ("model.penalty=inf", r"tiny: model\.penalty = inf; 0 \(chosen\) or more"),
        ("model.start=paper", r"start = 'paper'; choose one of random, cca"),
        ("reference.aggregation=best", r"aggregation = 'best'; choose one of average, corrected, "),
        ("optim.epochs=0", r"optim\.epochs = 0; 1 or more"),
        ("optim.micro_batch=-1", r"optim\.micro_batch = -1; 0 \(off\) or more"),
        ("optim.compile=1", r"compile = 1; .*bool is needed"),
        ("augment.flips=true", r"augment: unknown key flips; known are stain_jitter"),
        ("augment.stain_jitter=1.5", r"stain_jitter = 1\.5; 0 \(off\) to below 1"),
        ("augment.stain_jitter=0.05", r"needs tiles, .* set model\.trainable = .last. or .all."),
        ("validation.by=loss", r"by = 'loss'; choose one of none, auto, section, donor, blocks, spots"),
        ("validation.every=0", r"validation\.every = 0; 1 or more"),
        ("validation.fraction=1.0", r"validation\.fraction = 1\.0; between 0 and 1"),
        ("validation.ids=[1]", r"ids = \[1\]; give a list of names"),
        ("validation.ids=A", r"validation\.ids needs validation\.by = .section. or .donor."),
    ],
)
def test_wrong_overrides_are_named(override: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_config("tiny", [override])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[train]\nepochs = 3\n", r"my\.toml: unknown key train"),
        ("[optim]\nepoch = 3\n", r"optim: unknown key epoch; known are .*epochs"),
        ("optim = 3\n", r"optim is a table"),
        ("[optim\n", r"config .*my\.toml"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "my.toml"
    path.write_text(text)
    with pytest.raises(UsageError, match=told):
        load_config(str(path))


def test_no_such_preset_lists_those_there_are() -> None:
    known = "accurate, default, paper, student, tiny"
    with pytest.raises(UsageError, match=f"config papre: neither a preset nor a file; presets: {known}"):
        load_config("papre")


def test_a_file_keeps_the_defaults_of_what_it_leaves_out(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("[optim]\nlr = 1\n")
    config = load_config(str(path))
    assert config == replace(Config(), optim=replace(Config().optim, lr=1.0))
    assert type(config.optim.lr) is float
    assert config_from(config.as_dict(), "bundle") == config
