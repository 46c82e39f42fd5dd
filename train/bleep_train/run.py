"""A run from its sections to its bundle: training into a run folder (``record.py``), and export from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bleep_cli.bundle_write import write_bundle
from bleep_cli.errors import UsageError
from bleep_cli.precision import Chosen, OtherTower
from bleep_cli.reference import Built, build_reference
from bleep_cli.sections import read_cohort
from bleep_cli.types import Progress, Section, no_progress
from bleep_train.checkpoint import BEST, CHECKPOINT, load_checkpoint
from bleep_train.config import Config
from bleep_train.data import TrainingSet, cached_features, cached_tiles, prepare
from bleep_train.distributed import Group, join_group
from bleep_train.export import Parity, check_parity, export_towers, parity_sample
from bleep_train.loop import pick_device, train
from bleep_train.loss import ContrastiveLoss
from bleep_train.model import Towers, build_towers
from bleep_train.monitor import Watch
from bleep_train.precisions import fp16_tower, int8_tower
from bleep_train.record import (
    RECORD,
    Run,
    begin,
    chosen_epoch,
    open_run,
    refuse_existing,
    run_record,
    same_run,
    write_record,
)
from bleep_train.source import FeatureSource, TileSource
from bleep_train.tower_cost import calibration_rows, choose_probes, cost_of, embed_probes
from bleep_train.validation import Validation, choose_validation

__all__ = ["BUNDLE", "CACHE", "RECORD", "Run", "Trained", "export_run", "load_towers", "open_run", "train_run"]

PARITY_TILES = 32
HALF_TOLERANCE = 2e-2  # float16 weights move unit vectors by less than this
BUNDLE, CACHE, ENCODERS = "bundle.zarr", "cache", "encoders"


@dataclass(frozen=True)
class Trained:
    """What training leaves beside the run folder: the data, warnings of collapse, whether this process is the
    one that reports, and ``chosen``, the epoch whose weights count, with its validation r if it has one."""

    data: TrainingSet
    warnings: tuple[str, ...]
    leads: bool
    chosen: Mapping[str, float]


def split_sections(
    cohort: Path, held_out: Sequence[str], progress: Progress
) -> tuple[list[Section], list[Section]]:
    """A cohort's sections: those to train on, and the held-out ones."""
    everything = read_cohort(cohort, progress=progress)
    unknown = set(held_out) - {s.id for s in everything}
    if unknown:
        raise UsageError(f"--hold-out: {cohort.name} has no section {', '.join(sorted(unknown))}")
    kept = [s for s in everything if s.id not in held_out]
    if not kept:
        raise UsageError("--hold-out leaves no section to train on")
    return kept, [s for s in everything if s.id in held_out]


def train_run(
    cohort: Path,
    config: Config,
    out: Path,
    *,
    held_out: Sequence[str] = (),
    resume: bool = False,
    force: bool = False,
    strict: bool = False,
    progress: Progress = no_progress,
    watchers: Sequence[Watch] = (),
) -> Trained:
    """Trains on a cohort into ``out``; ``resume`` goes on from its last checkpoint, ``strict`` stops at collapse,
    ``watchers`` are told of every epoch.

    Under torchrun every rank calls this: the first one writes, all share each batch. Raises ``OutputError``
    when ``out`` holds a run already and neither ``resume`` nor ``force`` is given.
    """
    group = join_group()
    refuse_existing(out, resume=resume, force=force)
    sections, others = split_sections(cohort, held_out, progress)
    leaked = others if config.data.protocol == "paper" else []
    if resume and not force and (out / RECORD).exists():
        begun = open_run(out)
        if begun.teacher:
            raise UsageError(f"{out.name} is a student; go on with bleep-train distill --resume")
        same_run(begun, config, sections, leaked)
    data = prepare(sections, config.data, config.optim.seed, leaked)
    validation = choose_validation(data, config.validation)
    group.wait()  # all have looked for an earlier run before the first one writes this one
    if group.leads:
        begin(out, run_record(cohort, held_out, data, config, validation), config, anew=force)
    device = pick_device()
    towers, source = towers_and_source(data, config, out / CACHE, device, group, progress)
    if config.model.standardise:
        standardise(towers, source, data, validation)
    warnings = train(
        towers,
        source,
        data.panel,
        config,
        out,
        device=device,
        group=group,
        validation=validation,
        resume=resume,
        strict=strict,
        progress=progress,
        watchers=watchers,
    )
    chosen = chosen_epoch(out)
    if group.leads:
        write_record(out, {**json.loads((out / RECORD).read_text(encoding="utf-8")), "chosen": chosen})
    group.leave()
    return Trained(data, tuple(warnings), group.leads, chosen)


def towers_and_source(
    data: TrainingSet, config: Config, cache: Path, device: torch.device, group: Group, progress: Progress
) -> tuple[Towers, FeatureSource | TileSource]:
    """Fresh towers and what feeds them; the first rank fills the caches, the others wait for it."""
    torch.manual_seed(config.optim.seed)
    towers = build_towers(config.model, len(config.data.tile_um), len(data.panel_keys))
    if not group.leads:
        group.wait()
    source = image_source(towers, data.sections, config, cache, device, progress)
    if group.leads:
        group.wait()
    return towers, source


def standardise(
    towers: Towers, source: FeatureSource | TileSource, data: TrainingSet, validation: Validation | None
) -> None:
    """Gives both towers the mean and deviation of what they learn from."""
    rows = validation.training if validation else None
    source.fit(towers.image, rows)
    panel = torch.from_numpy(data.panel if rows is None else data.panel[rows])
    towers.expression.scale.fit(panel.mean(dim=0), panel.std(dim=0))


def image_source(
    towers: Towers,
    sections: Sequence[Section],
    config: Config,
    cache: Path,
    device: torch.device,
    progress: Progress,
) -> FeatureSource | TileSource:
    """Cached features where the backbone is frozen, tiles where it learns."""
    if config.model.trainable != "frozen":
        towers.image.to(device)
        return TileSource(cached_tiles(sections, config.data.tile, cache, progress), device)
    features = cached_features(sections, towers.image.backbone, config.data.tile, cache, device, progress)
    return FeatureSource(features, device)


def load_towers(run: Run) -> Towers:
    """The trained towers of a run, on the CPU, in evaluation mode: the best by validation, else the last."""
    towers = build_towers(run.config.model, len(run.config.data.tile_um), len(run.panel_keys), pretrained=False)
    loss = ContrastiveLoss(run.config.loss, run.config.model.heads)
    model = nn.ModuleDict({"towers": towers.modules(), "loss": loss})
    if not (run.path / CHECKPOINT).exists():
        raise UsageError(f"{run.path.name} has no checkpoint yet; finish it with bleep-train train --resume")
    best = run.path / BEST
    load_checkpoint(best if best.exists() else run.path / CHECKPOINT, model)
    model.eval()
    return towers


def prepare_run(run: Run, progress: Progress = no_progress) -> TrainingSet:
    """What a run was trained on, read again; under protocol "paper" with the held-out sections it was fitted with.

    Raises ``UsageError`` where that is not what it was.
    """
    ids = (*run.section_ids, *run.leaked_ids)
    there = {s.id: s for s in read_cohort(run.cohort, only=ids, progress=progress)}
    sections, leaked = ([there[i] for i in part] for part in (run.section_ids, run.leaked_ids))
    data = prepare(sections, run.config.data, run.config.optim.seed, leaked)
    if tuple(data.panel_keys) != run.panel_keys:
        raise UsageError(f"the sections in {run.cohort.name} changed since {run.path.name} was trained")
    return data


def export_run(
    run: Run,
    out: Path,
    *,
    half_weights: bool = False,
    precisions: Sequence[Chosen] = (),
    force: bool = False,
    intended_use: str = "",
    progress: Progress = no_progress,
) -> tuple[Built, Parity, str]:
    """Exports the towers, proves them equal to torch, builds the reference from the training sections, writes it.

    ``precisions`` of the image tower are put into the bundle beside float32. Returns what was built,
    the parity, and the bundle's hash.
    """
    towers, config = load_towers(run), run.config
    data = prepare_run(run, progress)
    sections = data.sections
    encoders = export_towers(towers, config, data.panel_keys, half_weights=half_weights)
    tiles = parity_sample(cached_tiles(sections, config.data.tile, run.path / CACHE, progress), PARITY_TILES)
    tolerance = {"tolerance": HALF_TOLERANCE} if half_weights else {}
    parity = check_parity(towers, encoders, tiles, data.panel, config.reference.k, **tolerance)
    built = build_reference(sections, encoders, tower_input=data.harmonised, progress=progress)
    if intended_use:
        built = replace(built, info=replace(built.info, intended_use=intended_use))
    if precisions:
        others = _other_towers(run, data, built, precisions, progress)
        encoders = replace(encoders, others=others)
        built = replace(built, arrays=replace(built.arrays, other_towers=others))
    encoders.save(run.path / ENCODERS)
    sha256 = write_bundle(out, built.info, built.arrays, force=force)
    return built, parity, sha256


def _other_towers(
    run: Run, data: TrainingSet, built: Built, precisions: Sequence[Chosen], progress: Progress
) -> dict[Chosen, OtherTower]:
    """The image tower at further precisions, each with its cost against the one that was built with."""
    spec, cache, views = run.config.data.tile, run.path / CACHE, built.info.recommended_views
    image, training = built.arrays.image_tower, cached_tiles(data.sections, spec, cache, progress)
    sections, held_out = probed_sections(run, data, progress)
    probes = choose_probes(built, sections, held_out=held_out)
    tiles = cached_tiles(sections, spec, cache, progress)
    full = embed_probes(image, tiles, views, probes, progress)
    others: dict[Chosen, OtherTower] = {}
    for precision in precisions:
        if precision == "int8":
            rows = calibration_rows([len(t) for t in training])
            model = int8_tower(image, np.concatenate([t[r] for t, r in zip(training, rows, strict=True)]))
        else:
            model = fp16_tower(image)
        vectors = embed_probes(model, tiles, views, probes, progress)
        others[precision] = OtherTower(model, cost_of(full, vectors, probes))
    return others


def probed_sections(run: Run, data: TrainingSet, progress: Progress) -> tuple[Sequence[Section], bool]:
    """The sections that towers are compared on: those held out of training (True), else the training ones."""
    if not run.held_out_ids:
        return data.sections, False
    return read_cohort(run.cohort, only=run.held_out_ids, progress=progress), True


def summary(data: TrainingSet) -> dict[str, Any]:
    """What a run was trained on, for the person."""
    return {
        "sections": [s.id for s in data.sections],
        "donors": sorted({s.donor for s in data.sections}),
        "spots": len(data.panel),
        "panel": len(data.panel_keys),
        "notes": list(data.notes),
    }
