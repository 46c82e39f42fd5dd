"""A run folder: what ``bleep-train train`` leaves and export and evaluate take up.

::

    config.toml             the resolved configuration
    run.json                cohort file, sections, panel, notes
    metrics.jsonl           a line per epoch
    checkpoint.safetensors  weights and optimiser
    cache/                  decoded tiles and frozen features; safe to delete
    encoders/               both towers as ONNX, after export
    bundle.zarr             the reference, after export
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from bleep_cli.bundle_write import write_bundle
from bleep_cli.errors import OutputError, UsageError
from bleep_cli.reference import Built, build_reference
from bleep_cli.sections import read_cohort
from bleep_cli.types import Progress, Section, no_progress
from bleep_train.checkpoint import load_checkpoint
from bleep_train.config import Config, dump_toml, load_config
from bleep_train.data import TrainingSet, cached_features, cached_tiles, prepare
from bleep_train.distributed import join_group
from bleep_train.export import Parity, check_parity, export_towers, parity_sample, training_record
from bleep_train.loop import CHECKPOINT, pick_device, train
from bleep_train.loss import ContrastiveLoss
from bleep_train.model import Towers, build_towers
from bleep_train.source import FeatureSource, TileSource

PARITY_TILES = 32
HALF_TOLERANCE = 2e-2  # float16 weights move unit vectors by less than this
BUNDLE, RECORD, CONFIG, CACHE, ENCODERS = "bundle.zarr", "run.json", "config.toml", "cache", "encoders"


@dataclass(frozen=True)
class Run:
    """A finished or resumable run: ``path``, ``config``, ``cohort`` file, training ``section_ids``,
    ``panel_keys``."""

    path: Path
    config: Config
    cohort: Path
    section_ids: tuple[str, ...]
    panel_keys: tuple[str, ...]


@dataclass(frozen=True)
class Trained:
    """What training leaves beside the run folder: the data, warnings of collapse, and whether this process
    is the one that reports."""

    data: TrainingSet
    warnings: tuple[str, ...]
    leads: bool


def open_run(path: Path) -> Run:
    """Reads a run folder. Raises ``UsageError`` for a folder that is none."""
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        return Run(
            path=path,
            config=load_config(str(path / CONFIG)),
            cohort=Path(record["cohort"]),
            section_ids=tuple(s["id"] for s in record["sections"]),
            panel_keys=tuple(record["panel"]),
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path.name}: not a run of bleep-train train ({type(error).__name__}: {error})"
        ) from error


def training_sections(cohort: Path, held_out: Sequence[str], progress: Progress) -> list[Section]:
    """All sections of a cohort but the held-out ones."""
    everything = read_cohort(cohort, progress=progress)
    unknown = set(held_out) - {s.id for s in everything}
    if unknown:
        raise UsageError(f"--hold-out: {cohort.name} has no section {', '.join(sorted(unknown))}")
    kept = [s for s in everything if s.id not in held_out]
    if not kept:
        raise UsageError("--hold-out leaves no section to train on")
    return kept


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
) -> Trained:
    """Trains on a cohort into ``out``; ``resume`` goes on from its last checkpoint, ``strict`` stops at collapse.

    Under torchrun every rank calls this: the first one writes, all share each batch. Raises ``OutputError``
    when ``out`` holds a run already and neither ``resume`` nor ``force`` is given.
    """
    group = join_group()
    if (out / RECORD).exists() and not (resume or force):
        raise OutputError(f"{out.name} holds a run already; --resume goes on with it, --force replaces it")
    sections = training_sections(cohort, held_out, progress)
    if resume and not force and (out / RECORD).exists():
        _same_run(open_run(out), config, sections)
    data = prepare(sections, config.data, config.optim.seed)
    group.wait()  # all have looked for an earlier run before the first one writes this one
    if group.leads:
        _write_record(out, cohort, config, data, held_out, begin_anew=force)
    torch.manual_seed(config.optim.seed)
    device = pick_device()
    towers = build_towers(config.model, len(config.data.tile_um), len(data.panel_keys))
    if not group.leads:
        group.wait()  # for the caches
    source = image_source(towers, data.sections, config, out / CACHE, device, progress)
    if group.leads:
        group.wait()
    if config.model.standardise:
        source.fit(towers.image)
        panel = torch.from_numpy(data.panel)
        towers.expression.scale.fit(panel.mean(dim=0), panel.std(dim=0))
    towers.modules().to(device)
    warnings = train(
        towers,
        source,
        data.panel,
        config,
        out,
        device=device,
        group=group,
        resume=resume,
        strict=strict,
        progress=progress,
    )
    group.leave()
    return Trained(data, tuple(warnings), group.leads)


def _write_record(
    out: Path, cohort: Path, config: Config, data: TrainingSet, held_out: Sequence[str], *, begin_anew: bool
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if begin_anew:
        (out / CHECKPOINT).unlink(missing_ok=True)
    (out / CONFIG).write_text(dump_toml(config), encoding="utf-8")
    record = {
        "cohort": str(cohort.resolve()),
        "held_out": list(held_out),
        "sections": training_record(data.sections),
        "panel": data.panel_keys.tolist(),
        "notes": list(data.notes),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
    }
    (out / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _same_run(run: Run, config: Config, sections: Sequence[Section]) -> None:
    """Raises ``UsageError`` where a resumed run would mix two recipes or two cohorts; epochs may be added."""
    old, new = run.config.as_dict(), config.as_dict()
    new["optim"]["epochs"] = old["optim"]["epochs"]
    differ = [f"{part}.{key}" for part in old for key in old[part] if old[part][key] != new[part][key]]
    if run.section_ids != tuple(s.id for s in sections):
        differ.append(f"sections (it has {', '.join(run.section_ids)})")
    if differ:
        raise UsageError(
            f"--resume: {run.path.name} was begun with another {', '.join(differ)}; give the options and "
            "--hold-out it was begun with, or --force to begin anew"
        )


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
    """The trained towers of a run, on the CPU, in evaluation mode."""
    towers = build_towers(run.config.model, len(run.config.data.tile_um), len(run.panel_keys), pretrained=False)
    loss = ContrastiveLoss(run.config.loss)
    model = nn.ModuleDict({"towers": towers.modules(), "loss": loss})
    if not (run.path / CHECKPOINT).exists():
        raise UsageError(f"{run.path.name} has no checkpoint yet; finish it with bleep-train train --resume")
    load_checkpoint(run.path / CHECKPOINT, model)
    model.eval()
    return towers


def export_run(
    run: Run,
    out: Path,
    *,
    half_weights: bool = False,
    force: bool = False,
    intended_use: str = "",
    progress: Progress = no_progress,
) -> tuple[Built, Parity, str]:
    """Exports the towers, proves them equal to torch, builds the reference from the training sections, writes it.

    Returns what was built, the parity, and the bundle's hash.
    """
    towers, config = load_towers(run), run.config
    sections = [
        s for s in read_cohort(run.cohort, only=run.section_ids, progress=progress) if s.id in run.section_ids
    ]
    data = prepare(sections, config.data, config.optim.seed)
    if tuple(data.panel_keys) != run.panel_keys:
        raise UsageError(f"the sections in {run.cohort.name} changed since {run.path.name} was trained")
    encoders = export_towers(towers, config, data.panel_keys, half_weights=half_weights)
    tiles = parity_sample(cached_tiles(sections, config.data.tile, run.path / CACHE, progress), PARITY_TILES)
    tolerance = {"tolerance": HALF_TOLERANCE} if half_weights else {}
    parity = check_parity(towers, encoders, tiles, data.panel, config.reference.k, **tolerance)
    encoders.save(run.path / ENCODERS)
    harmonised = np.asarray(data.panel) if config.data.harmony else None
    built = build_reference(sections, encoders, tower_input=harmonised, progress=progress)
    if intended_use:
        built = replace(built, info=replace(built.info, intended_use=intended_use))
    sha256 = write_bundle(out, built.info, built.arrays, force=force)
    return built, parity, sha256


def summary(data: TrainingSet) -> dict[str, Any]:
    """What a run was trained on, for the person."""
    return {
        "sections": [s.id for s in data.sections],
        "donors": sorted({s.donor for s in data.sections}),
        "spots": len(data.panel),
        "panel": len(data.panel_keys),
        "notes": list(data.notes),
    }
