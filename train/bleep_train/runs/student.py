"""A student's run, from its teacher's: the same folder that ``train`` makes, so export and evaluation take it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bleep_cli.base.files.json_file import write_json
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.cohort.read import read_cohort
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import embed_sections
from bleep_cli.errors import UsageError, option
from bleep_cli.reference.build import build_reference
from bleep_cli.reference.parts import Built
from bleep_cli.towers.precision import Cost
from bleep_cli.types import F32, Progress, Section, no_progress
from bleep_train.config.schema import Config, ValidationConfig
from bleep_train.config.toml import load_config
from bleep_train.data.dense import dense_section
from bleep_train.data.tile_cache import cache_tag, cached_tiles, kept_array
from bleep_train.data.training_set import TrainingSet
from bleep_train.export.cost import choose_probes, cost_of, embed_probes, keys_of, retrieved_r
from bleep_train.export.towers import export_towers
from bleep_train.metrics.tables import Table
from bleep_train.model.towers import build_towers
from bleep_train.runs.export import CACHE, load_towers, prepare_run
from bleep_train.runs.record import RECORD, RunFolder, begin, open_run, refuse_existing, run_record, same_run
from bleep_train.training.distil import Lesson, teach
from bleep_train.training.distributed import pick_device
from bleep_train.training.frozen import weights_hash
from bleep_train.training.monitor import Watch
from bleep_train.training.start import image_source

STUDENT = "student.json"
SHARED = {  # what a student must not change: both towers find neighbours in the teacher's space
    "data": {"protocol", "target_sum", "panel", "panel_genes", "min_spots", "harmony"},
    "model": {"dim", "heads", "closed_form", "components", "start"},
    "reference": {"k", "key"},
}


@dataclass(frozen=True)
class Standing:
    """How one tower does, averaging so many views."""

    tower: str
    """The "teacher" or the "student"."""
    views: int
    """Averaged per tile."""
    r_hvg50: float
    """Mean r over HVG50."""
    cost: Cost
    """Against the teacher's eight views."""


def distill_run(
    teacher_path: Path,
    out: Path,
    config_name: str,
    overrides: Sequence[str] = (),
    *,
    resume: bool = False,
    force: bool = False,
    progress: Progress = no_progress,
    watchers: Sequence[Watch] = (),
) -> list[Standing]:
    """Distils the run ``teacher_path`` into a student's run ``out``; ``resume`` goes on from its last checkpoint.

    Returns teacher and student at their views, compared on the held-out sections where there are any, as written
    to ``student.json``. Raises ``OutputError`` when ``out`` holds a run already, ``UsageError`` for settings that
    a student must share with its teacher.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UsageError("bleep-train distill runs in one process; start it without torchrun")
    teacher = open_run(teacher_path)
    config = student_config(teacher.config, config_name, overrides)
    refuse_existing(out, resume=resume, force=force)
    data, towers = prepare_run(teacher, progress), load_towers(teacher)
    origin = {"run": teacher_path.name, "weights": weights_hash(towers.modules())}
    if resume and not force and (out / RECORD).exists():
        begun = open_run(out)
        if begun.teacher != origin:
            raise UsageError(
                f"{option('resume')}: {out.name} is no student of {teacher_path.name} as it is now; "
                f"{option('force')} begins anew"
            )
        same_run(begun, config, data.sections, data.leaked)
    record = run_record(teacher.cohort, teacher.held_out_ids, data, config, None)
    begin(out, record | {"teacher": origin}, config, anew=force)
    encoders = export_towers(towers, teacher.config, data.panel_keys)
    stride_um, spec = config.distill.stride_um, teacher.config.data.tile
    everywhere = [*data.sections, *(dense_section(s, spec, stride_um) for s in data.sections)]
    vectors = teacher_vectors(encoders, everywhere, teacher.config.reference.views, out / CACHE, progress)
    of_spots = np.concatenate(vectors[: len(data.sections)])
    built = build_reference(
        data.sections,
        encoders,
        tower_input=data.harmonised,
        towers_saw_them=True,
        embed_images=lambda _: (of_spots, None),
    )
    device = pick_device()
    torch.manual_seed(config.optim.seed)
    student = build_towers(config.model, len(config.data.tile_um), len(data.panel_keys))
    student.expression.load_state_dict(towers.expression.state_dict())
    source = image_source(student, everywhere, config, out / CACHE, device, progress)
    if config.model.standardise:
        source.fit(student.image)
    lesson = Lesson(np.concatenate(vectors), keys_of(built))
    teach(student, source, lesson, config, out, device=device, resume=resume, progress=progress, watchers=watchers)
    standings = compare(teacher, out, data, built, encoders, progress)
    write_json(out / STUDENT, {"towers": [asdict(standing) for standing in standings]})
    return standings


def student_config(teacher: Config, name: str, overrides: Sequence[str]) -> Config:
    """The teacher's configuration with what a preset or TOML file and ``overrides`` say of the student.

    Raises ``UsageError`` for a setting that would take it out of the teacher's space.
    """
    config = load_config(name, overrides, replace(teacher, validation=ValidationConfig()), student=True)
    old, new = teacher.as_dict(), config.as_dict()
    shared = [(part, key) for part, keys in SHARED.items() for key in sorted(keys)]
    moved = [f"{part}.{key}" for part, key in shared if old[part][key] != new[part][key]]
    if moved:
        raise UsageError(f"{option('config')} {name}: a student shares {', '.join(moved)} with its teacher")
    if config.validation.by != "none":
        raise UsageError("validation.by: a student has no validation; it learns from its teacher alone")
    return config


def teacher_vectors(
    encoders: Encoders, sections: Sequence[Section], views: int, cache: Path, progress: Progress
) -> list[F32]:
    """The teacher's unit vectors f32[n, d] of each section's spots, ``views`` averaged; kept under ``cache``."""
    mark = hashlib.sha256(encoders.image).hexdigest()[:12]
    embedder, out = embedder_of(encoders.image), []
    for section in sections:
        file = cache / f"teacher-{mark}-{views}-{cache_tag(section, encoders.tile)}.npy"
        embed = partial(embed_sections, [section], embedder, encoders.tile, views, progress)
        out.append(kept_array(file, embed))
    return out


def compare(
    teacher: RunFolder, student: Path, data: TrainingSet, built: Built, encoders: Encoders, progress: Progress
) -> list[Standing]:
    """Teacher (``encoders``) and student at one and at eight views, on the teacher's reference ``built``."""
    run = open_run(student)
    sections, held_out = probed_sections(teacher, data, progress)
    probes = choose_probes(built, sections, held_out=held_out)
    own = export_towers(load_towers(run), run.config, data.panel_keys)
    full: list[F32] = []
    standings = []
    for name, towers, folder in (("teacher", encoders, teacher.path), ("student", own, student)):
        tiles = cached_tiles(sections, towers.tile, folder / CACHE, progress)
        for views in (8, 1):
            vectors = embed_probes(towers.image, tiles, views, probes, progress)
            full = full or vectors  # the teacher's eight views come first
            standings.append(Standing(name, views, retrieved_r(vectors, probes), cost_of(full, vectors, probes)))
    return standings


def probed_sections(run: RunFolder, data: TrainingSet, progress: Progress) -> tuple[Sequence[Section], bool]:
    """The sections that teacher and student are compared on: those held out of training (True), else the training
    ones. The comparison is told and decides nothing."""
    if not run.held_out_ids:
        return data.sections, False
    return read_cohort(run.cohort, only=run.held_out_ids, progress=progress), True


def table_of(standings: Sequence[Standing]) -> Table:
    """For a person."""
    rows = [
        (s.tower, str(s.views), f"{s.r_hvg50:.3f}", f"{s.cost.delta_r_hvg50:+.4f}", f"{s.cost.overlap50:.2f}",
         f"{s.cost.cosine:.4f}")
        for s in standings
    ]  # fmt: skip
    columns = ("tower", "views", "HVG50 r", "Δr", "neighbours shared", "cosine")
    note = f"Against the teacher's eight views, on {standings[0].cost.measured_on}."
    return Table(columns, tuple(rows), notes=(note,))
