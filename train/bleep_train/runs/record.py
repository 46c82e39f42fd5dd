"""What is in a run folder, and what its ``run.json`` says.

::

    config.toml             the resolved configuration
    run.json                cohort file, sections, protocol, panel, notes, the chosen epoch, a student's teacher
    metrics.jsonl           a line per epoch
    checkpoint.safetensors  weights and optimiser of the last epochs
    best.safetensors        the weights that validation chose, where there is validation
    student.json            of a student: itself and its teacher compared
    tensorboard/            with --tensorboard
    cache/                  decoded tiles and frozen features; safe to delete
    encoders/               both towers as ONNX, after export
    bundle.zarr             the reference, after export
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.files.json_file import write_json
from bleep_cli.errors import OutputError, UsageError, option
from bleep_cli.types import Section
from bleep_train.config.schema import Config
from bleep_train.config.toml import dump_toml, load_config
from bleep_train.data.training_set import TrainingSet
from bleep_train.training.checkpoint import BEST, CHECKPOINT, checkpoint_meta
from bleep_train.training.validation import Validation, validation_record

RECORD, CONFIG = "run.json", "config.toml"


@dataclass(frozen=True)
class RunFolder:
    """A finished or resumable run."""

    path: Path
    """Its folder."""
    config: Config
    """What it is trained with."""
    cohort: Path
    """File that names its sections."""
    section_ids: tuple[str, ...]
    """Sections trained on."""
    panel_keys: tuple[str, ...]
    """Genes of the expression tower, in order."""
    leaked_ids: tuple[str, ...] = ()
    """Protocol "paper" only: the held-out sections that were read."""
    held_out_ids: tuple[str, ...] = ()
    """Sections left out."""
    spots: Mapping[str, int] = field(default_factory=dict)
    """By section trained on, how many spots it had; empty where the record is of before they were counted."""
    teacher: Mapping[str, str] | None = None
    """Name of the run that a student was distilled from (``run``), and a hash of its ``weights``."""


def open_run(path: Path) -> RunFolder:
    """Reads a run folder. Raises ``UsageError`` for a folder that is none."""
    try:
        record = json.loads((path / RECORD).read_text(encoding="utf-8"))
        return RunFolder(
            path=path,
            config=load_config(str(path / CONFIG), student="teacher" in record),
            cohort=Path(record["cohort"]),
            section_ids=tuple(s["id"] for s in record["sections"]),
            panel_keys=tuple(record["panel"]),
            leaked_ids=tuple(s["id"] for s in record.get("leaked", ())),
            held_out_ids=tuple(record["held_out"]),
            spots={s["id"]: s["spots"] for s in record["sections"] if "spots" in s},
            teacher=record.get("teacher"),
        )
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(
            f"{path.name}: not a run of bleep-train train ({type(error).__name__}: {error})"
        ) from error


def chosen_epoch(run: Path) -> dict[str, float]:
    """``epoch`` whose weights export and evaluation take, counted from 0; with ``validation_r`` where validation
    chose it, else it is the last."""
    if (run / BEST).exists():
        return checkpoint_meta(run / BEST)
    return {"epoch": checkpoint_meta(run / CHECKPOINT)["epoch"]}


def run_record(
    cohort: Path,
    held_out: Sequence[str],
    data: TrainingSet,
    config: Config,
    validation: Validation | None,
) -> dict[str, Any]:
    """What ``run.json`` holds from the start."""
    return {
        "cohort": str(cohort.resolve()),
        "held_out": list(held_out),
        "protocol": config.data.protocol,
        "sections": training_record(data.sections),
        "leaked": training_record(data.leaked),
        "validation": validation_record(validation),
        "panel": data.panel_keys.tolist(),
        "notes": list(data.notes),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
    }


def refuse_existing(out: Path, *, resume: bool, force: bool) -> None:
    """Raises ``OutputError`` where ``out`` holds a run and it was not said what becomes of it."""
    if (out / RECORD).exists() and not (resume or force):
        raise OutputError(
            f"{out.name} holds a run already; {option('resume')} goes on with it, {option('force')} replaces it"
        )


def begin(out: Path, record: Mapping[str, Any], config: Config, *, anew: bool) -> None:
    """Makes the folder with its record; ``anew`` forgets the weights of an earlier run."""
    out.mkdir(parents=True, exist_ok=True)
    if anew:
        for name in (CHECKPOINT, BEST):
            (out / name).unlink(missing_ok=True)
    with atomic_path(out / CONFIG, force=True) as temp:
        temp.write_text(dump_toml(config), encoding="utf-8")
    write_record(out, record)


def write_record(out: Path, record: Mapping[str, Any]) -> None:
    """Replaces ``run.json``."""
    write_json(out / RECORD, record)


def same_run(run: RunFolder, config: Config, sections: Sequence[Section], leaked: Sequence[Section]) -> None:
    """Raises ``UsageError`` where a resumed run would mix two recipes or two cohorts; epochs may be added."""
    old, new = run.config.as_dict(), config.as_dict()
    new["optim"]["epochs"] = old["optim"]["epochs"]
    differ = [f"{part}.{key}" for part in old for key in old[part] if old[part][key] != new[part][key]]
    if run.section_ids != tuple(s.id for s in sections):
        differ.append(f"sections (it has {', '.join(run.section_ids)})")
    if run.leaked_ids != tuple(s.id for s in leaked):
        differ.append(f"held-out sections (it has {', '.join(run.leaked_ids)})")
    if differ:
        raise UsageError(
            f"{option('resume')}: {run.path.name} was begun with another {', '.join(differ)}; give the options "
            f"and {option('hold_out')} it was begun with, or {option('force')} to begin anew"
        )


def training_record(sections: Sequence[Section]) -> list[dict[str, str | int]]:
    """Identity of the sections a run was trained on, to find them again in a cohort."""
    return [{"id": s.id, "donor": s.donor, "sha256": s.sha256, "spots": len(s.barcodes)} for s in sections]
