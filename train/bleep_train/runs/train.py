"""A run from its sections to its bundle: training into a run folder (``record.py``), and export from it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bleep_cli.base.text import counted
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError, option
from bleep_cli.types import Progress, Section, no_progress
from bleep_train.config.schema import Config
from bleep_train.data.training_set import TrainingSet, prepare
from bleep_train.runs.export import CACHE
from bleep_train.runs.record import (
    RECORD,
    begin,
    chosen_epoch,
    open_run,
    refuse_existing,
    run_record,
    same_run,
    write_record,
)
from bleep_train.training.distributed import join_group, pick_device
from bleep_train.training.loop import train
from bleep_train.training.monitor import Watch
from bleep_train.training.start import fitted, towers_and_source
from bleep_train.training.validation import choose_validation


@dataclass(frozen=True)
class Trained:
    """What training leaves beside the run folder."""

    data: TrainingSet
    """What was trained on."""
    warnings: tuple[str, ...]
    """Of a single donor, and of collapse."""
    leads: bool
    """Whether this process is the one that reports."""
    chosen: Mapping[str, float]
    """The ``epoch`` whose weights count, with its ``validation_r`` if it has one."""
    closed_form: Mapping[str, Any]
    """What was chosen for the heads in closed form; nothing where there are none."""


def split_sections(
    cohort: Path, held_out: Sequence[str], progress: Progress
) -> tuple[list[Section], list[Section]]:
    """A cohort's sections: those to train on, and the held-out ones."""
    everything = read_cohort(cohort, progress=progress)
    unknown = set(held_out) - {s.id for s in everything}
    if unknown:
        raise UsageError(f"{option('hold_out')}: {cohort.name} has no section {', '.join(sorted(unknown))}")
    kept = [s for s in everything if s.id not in held_out]
    if not kept:
        raise UsageError(f"{option('hold_out')} leaves no section to train on")
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
    validation = choose_validation(data, config.validation, config.data.tile_um[-1])
    told = of_one_donor(sections)
    group.wait()  # all have looked for an earlier run before the first one writes this one
    if group.leads:
        record = run_record(cohort, held_out, data, config, validation)
        begin(out, record | {"notes": [*record["notes"], *told]}, config, anew=force)
    device = pick_device()
    towers, source = towers_and_source(data, config, out / CACHE, device, group, progress)
    closed_form = fitted(towers, source, data, validation, config)
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
        begun = json.loads((out / RECORD).read_text(encoding="utf-8"))
        write_record(out, {**begun, "chosen": chosen, "closed_form": closed_form})
    group.leave()
    return Trained(data, (*told, *warnings), group.leads, chosen, closed_form)


def of_one_donor(sections: Sequence[Section]) -> list[str]:
    """A warning where training sees one donor only."""
    donors = {s.donor for s in sections}
    if len(donors) > 1:
        return []
    return [
        f"all training sections are of one donor ({donors.pop()}): how far predictions hold for the next patient "
        "cannot be told from them, and what is particular to this one (stain, scanner, genes) is learned as if it "
        "were general. Add sections of other donors to the cohort file; see docs/metrics.md"
    ]


def _named(noun: str, names: Sequence[str]) -> str:
    return f"{noun}{'' if len(names) == 1 else 's'} {', '.join(names)}"


def summary(data: TrainingSet) -> str:
    """What a run was trained on, for the person."""
    sections, donors = [s.id for s in data.sections], sorted({s.donor for s in data.sections})
    return (
        f"trained on {counted(len(data.panel), 'spot')} of {_named('section', sections)} "
        f"({_named('donor', donors)}), panel of {counted(len(data.panel_keys), 'gene')}"
    )
