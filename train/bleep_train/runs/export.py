"""A trained run to its bundle: both towers as ONNX, checked against torch, and the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError
from bleep_cli.fitting.given_looks import with_fitted_looks, with_raw_looks
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built
from bleep_cli.reliability.measure import with_reliability
from bleep_cli.towers.precision import Chosen, OtherTower
from bleep_cli.types import Progress, no_progress
from bleep_train.data.tile_cache import cached_tiles
from bleep_train.data.training_set import TrainingSet, prepare
from bleep_train.export.cost import calibration_rows, choose_probes, cost_of, embed_probes
from bleep_train.export.precisions import fp16_tower, int8_tower
from bleep_train.export.towers import Parity, check_parity, export_towers, parity_sample
from bleep_train.model.loss import objective_of
from bleep_train.model.towers import Towers, build_towers
from bleep_train.runs.record import RunFolder
from bleep_train.training.checkpoint import BEST, CHECKPOINT, load_checkpoint

PARITY_TILES = 32
HALF_TOLERANCE = 2e-2  # float16 weights move unit vectors by less than this
BUNDLE, CACHE, ENCODERS = "bundle.zarr", "cache", "encoders"


def load_towers(run: RunFolder) -> Towers:
    """The trained towers of a run, on the CPU, in evaluation mode: the best by validation, else the last."""
    towers = build_towers(run.config.model, len(run.config.data.tile_um), len(run.panel_keys), pretrained=False)
    loss = objective_of(run.config)
    model = nn.ModuleDict({"towers": towers.modules(), "loss": loss})
    if not (run.path / CHECKPOINT).exists():
        raise UsageError(f"{run.path.name} has no checkpoint yet; finish it with bleep-train train --resume")
    best = run.path / BEST
    load_checkpoint(best if best.exists() else run.path / CHECKPOINT, model)
    model.eval()
    return towers


def prepare_run(run: RunFolder, progress: Progress = no_progress) -> TrainingSet:
    """What a run was trained on, read again; under protocol "paper" with the held-out sections it was fitted with.

    Raises ``UsageError`` where that is not what it was.
    """
    ids = (*run.section_ids, *run.leaked_ids)
    there = {s.id: s for s in read_cohort(run.cohort, only=ids, progress=progress)}
    sections, leaked = ([there[i] for i in part] for part in (run.section_ids, run.leaked_ids))
    data = prepare(sections, run.config.data, run.config.optim.seed, leaked)
    other_spots = any(len(there[name].barcodes) != n for name, n in run.spots.items())  # another min_counts
    if other_spots or tuple(data.panel_keys) != run.panel_keys:
        raise UsageError(f"the sections in {run.cohort.name} changed since {run.path.name} was trained")
    return data


def export_run(
    run: RunFolder,
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
    looking, told = with_raw_looks(encoders)
    built = build_reference(
        sections, looking, tower_input=data.harmonised, towers_saw_them=True, progress=progress
    )
    if intended_use:
        built = replace(built, info=replace(built.info, intended_use=intended_use))
    if precisions:
        encoders = replace(encoders, others=_other_towers(run, data, built, encoders, precisions, progress))
    built = with_reliability(with_fitted_looks(built, encoders, told), progress=progress)
    encoders.save(run.path / ENCODERS)
    sha256 = write_bundle(out, built.info, built.arrays, force=force)
    return built, parity, sha256


def _other_towers(
    run: RunFolder,
    data: TrainingSet,
    built: Built,
    encoders: Encoders,
    precisions: Sequence[Chosen],
    progress: Progress,
) -> dict[Chosen, OtherTower]:
    """The image tower at further precisions, each with its cost against the one that was built with."""
    spec, cache, views = run.config.data.tile, run.path / CACHE, built.info.recommended_views
    image, training = encoders.image, cached_tiles(data.sections, spec, cache, progress)
    # The cost decides whether ``auto`` takes a precision: what was held out for testing must not be asked for it.
    probes = choose_probes(built, data.sections, held_out=False)
    full = embed_probes(image, training, views, probes, progress)
    others: dict[Chosen, OtherTower] = {}
    for precision in precisions:
        if precision == "int8":
            rows = calibration_rows([len(t) for t in training])
            model = int8_tower(image, np.concatenate([t[r] for t, r in zip(training, rows, strict=True)]))
        else:
            model = fp16_tower(image)
        vectors = embed_probes(model, training, views, probes, progress)
        others[precision] = OtherTower(model, cost_of(full, vectors, probes))
    return others
