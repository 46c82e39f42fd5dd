"""HEST-Bench: a cohort file for a HEST folder, and the splits and genes of a task of the benchmark.

A task is a folder with ``splits/train_K.csv`` and ``splits/test_K.csv``, whose column ``sample_id`` names
sections, and ``var_50genes.json``, ``{"genes": [...]}`` (Jaume et al., NeurIPS 2024, and the benchmark's public
code). The cohort file points to both in a table of its own, and keeps every spot, as the benchmark does::

    min_counts = 0
    ...

    [bench]
    splits = "bench/IDC/splits"
    genes = "bench/IDC/var_50genes.json"
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.files.toml_file import read_toml
from bleep_cli.base.reasons import reason
from bleep_cli.cohort.readers.hest import hest_counts, hest_fill, hest_ids
from bleep_cli.errors import ReferenceError, UsageError, option

SPLITS, GENES = "splits", "var_50genes.json"


@dataclass(frozen=True)
class Split:
    """One fold of the benchmark, sections by id."""

    name: str
    """``split-K``"""
    train: tuple[str, ...]
    """Trained on."""
    test: tuple[str, ...]
    """Held out."""


@dataclass(frozen=True)
class Bench:
    """A task of the benchmark."""

    genes: tuple[str, ...]
    """Symbols of the genes scored, in the order of the file."""
    splits: tuple[Split, ...]
    """In the order of their numbers."""

    @property
    def sections(self) -> set[str]:
        """Ids of all sections that the splits name."""
        return {i for split in self.splits for i in (*split.train, *split.test)}


def read_bench(cohort: Path) -> Bench:
    """The task that a cohort file names. Raises ``UsageError`` where it names none, or one that cannot be read."""
    try:
        table = read_toml(cohort).get("bench")
    except (OSError, ValueError) as error:
        raise UsageError(f"{cohort.name}: {reason(error)}") from error
    if not isinstance(table, dict) or not {"splits", "genes"} <= set(table):
        raise UsageError(
            f"{cohort.name} names no task of HEST-Bench: a table [bench] with splits and genes; "
            f"bleep-train hest FOLDER with {option('bench')} writes one"
        )
    return _task(cohort.parent / str(table["splits"]), cohort.parent / str(table["genes"]))


def _task(splits: Path, genes: Path) -> Bench:
    numbers = sorted(
        int(path.stem.removeprefix("train_"))
        for path in splits.glob("train_*.csv")
        if path.stem.removeprefix("train_").isdigit()
    )
    if not numbers:
        raise UsageError(f"{splits.name}: no train_0.csv; the splits of a task of HEST-Bench are needed")
    try:
        read = [
            Split(f"split-{k}", _ids(splits / f"train_{k}.csv"), _ids(splits / f"test_{k}.csv")) for k in numbers
        ]
        symbols = json.loads(genes.read_text(encoding="utf-8"))["genes"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{splits.parent.name}: no task of HEST-Bench ({reason(error)})") from error
    for split in read:
        both = set(split.train) & set(split.test)
        if both or not split.train or not split.test:
            what = f"{', '.join(sorted(both))} on both sides" if both else "an empty side"
            raise UsageError(f"{split.name} of {splits.parent.name} has {what}")
    return Bench(tuple(str(symbol) for symbol in symbols), tuple(read))


def _ids(path: Path) -> tuple[str, ...]:
    with path.open(newline="", encoding="utf-8") as file:
        return tuple(row["sample_id"] for row in csv.DictReader(file))


def write_hest_cohort(
    folder: Path, out: Path, *, only: Sequence[str] = (), task: Path | None = None, force: bool = False
) -> list[str]:
    """Writes the cohort file of a HEST folder and returns the ids in it.

    All its sections, those of ``only``, or those that a ``task`` of the benchmark splits. Image, pixel size and
    donor are written out, so that they can be seen and mended. Raises ``UsageError`` for ids that the folder has
    not, ``ReferenceError`` for sections whose files or metadata are missing.
    """
    wanted = set(only)
    if task and not wanted:
        wanted = _task(task / SPLITS, task / GENES).sections
    there = hest_ids(folder)
    unknown = sorted(wanted - set(there))
    if unknown:
        raise UsageError(f"{folder.name} has no section {', '.join(unknown)}")
    ids = [name for name in there if name in wanted or not wanted]
    hest = Path(os.path.relpath(folder, out.parent)).as_posix()
    entries = [_entry({"id": name, "hest": hest}, out.parent) for name in ids]
    lines = ["min_counts = 0", ""] if task else []  # which spots count is the benchmark's to say
    lines += [line for name, entry in zip(ids, entries, strict=True) for line in _section(name, entry)]
    if task:
        where = Path(os.path.relpath(task, out.parent)).as_posix()
        lines += [
            "[bench]",
            f"splits = {json.dumps(f'{where}/{SPLITS}')}",
            f"genes = {json.dumps(f'{where}/{GENES}')}",
        ]
    with atomic_path(out, force=force) as temp:
        temp.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    return ids


def _entry(found: dict[str, Any], base: Path) -> dict[str, Any]:
    return {**hest_fill(found, base), "h5ad": hest_counts(found, base)}


def _section(name: str, entry: dict[str, Any]) -> list[str]:
    keys = ("donor", "image", "mpp", "h5ad")
    told = [f"{key} = {json.dumps(entry[key], ensure_ascii=False)}" for key in keys]
    return ["[[section]]", f"id = {json.dumps(name, ensure_ascii=False)}", *told, ""]


def check_bench(bench: Bench, sections: Sequence[str], symbols: Sequence[str]) -> None:
    """Raises ``ReferenceError`` where a cohort lacks sections or genes of the task."""
    missing = sorted(bench.sections - set(sections))
    if missing:
        raise ReferenceError(f"the splits name sections that the cohort has not: {', '.join(missing)}")
    unmeasured = [gene for gene in bench.genes if gene not in set(symbols)]
    if unmeasured:
        raise ReferenceError(f"genes of the task that not every section measures: {', '.join(unmeasured)}")
