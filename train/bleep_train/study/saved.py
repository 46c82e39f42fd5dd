"""The predictions of a study on disk, from which every table and figure is made again.

::

    OUT/
      study.json                 what was run: cohort, configuration, protocol, methods, seeds, markers, folds
      predictions/FOLD/          one folder per fold, FOLD and METHOD file-name-safe (``file_name``)
        truth.npz                symbols str[g] · measured f32[m, g] · train_mean f32[g] · section str[m] ·
                                 barcode str[m] · xy_l0 f64[m, 2] · reference f16[n, g]
        genes.json               symbols by gene set: hvg50, heg50, all, markers
        METHOD-SEED.npz          predicted f32[m, g]
        clusters-measured.npz    labels i64[m], Leiden clusters of what was measured
        clusters-METHOD-SEED.npz labels i64[m], of a prediction
        scores-METHOD-SEED.npz   pearson, spearman, mse, variance_ratio f32[g] and resamples of the means
        maps-METHOD-SEED.npz     rmse, ssim, auc, moran_measured, moran_predicted, p, q f32[g]
        ceiling.npz              reliability f32[g] of the measurement; not under the protocol ``paper``

The m held-out spots of a fold have one order everywhere, and so have its g genes. Values are log1p; under the
protocol ``paper`` they are Harmony-corrected. ``reference`` is the expression of the n training spots. A gene that
a method does not predict is a NaN column. Nothing is pickled; every file appears whole or not at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.base.files.json_file import write_json
from bleep_cli.errors import UsageError
from bleep_cli.types import F32, F64, I64, Str
from bleep_train.metrics.per_gene import measured_sets

STUDY, PREDICTIONS, TRUTH, GENES, CEILING = "study.json", "predictions", "truth", "genes.json", "ceiling"
MEASURED = "measured"  # beside the methods: the truth
SHUFFLED, SHIFTED = "shuffled", "shifted"  # a prediction for other spots: permuted, or moved as a map
NULLS = (SHUFFLED, SHIFTED)


@dataclass(frozen=True)
class FoldTruth:
    """What a fold's predictions are compared with: m held-out spots, g genes, n training spots."""

    symbols: Str
    """str[g]"""
    measured: F32
    """f32[m, g] log1p"""
    train_mean: F32
    """f32[g] mean over the training spots"""
    section: Str
    """str[m]"""
    barcode: Str
    """str[m]"""
    xy_l0: F64
    """f64[m, 2] spot centres (x, y) in level-0 pixels"""
    reference: NDArray[np.float16]
    """f16[n, g] expression of the training spots"""


class FoldRecord(TypedDict):
    """What was held out in one fold."""

    sections: list[str]
    """Their ids."""
    donors: dict[str, list[str]]
    """Those of ``train`` and ``test``, and those of both, ``shared``."""
    data: str
    """Fingerprint of all sections of the fold."""


@dataclass(frozen=True)
class StudyRecord:
    """``study.json``: what was run."""

    cohort: str
    """Path of the cohort file."""
    protocol: str
    """What was left out at a time."""
    truth: str
    """The protocol of the data: what was seen of it."""
    methods: tuple[str, ...]
    """By name."""
    seeds: tuple[int, ...]
    """Of each method that a seed changes."""
    markers: tuple[str, ...]
    """A gene set of their own."""
    folds: Mapping[str, FoldRecord]
    """By name."""
    config: Mapping[str, Any]
    """Of every training."""


def donors_of(train: Iterable[str], test: Iterable[str]) -> dict[str, list[str]]:
    """Who was trained and who was tested on: sections of one donor on both sides flatter the result."""
    trained, tested = set(train), set(test)
    return {"train": sorted(trained), "test": sorted(tested), "shared": sorted(trained & tested)}


def file_name(name: str) -> str:
    """A name safe in every file system: ``bleep:paper`` → ``bleep-paper``."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", name).lstrip(".") or "-"


@dataclass(frozen=True)
class FoldFolder:
    """The files of one fold. Readers raise ``UsageError`` for a file that is not there."""

    path: Path
    """Where they lie."""

    @classmethod
    def of(cls, out: Path, fold: str) -> FoldFolder:
        """The folder of a fold in a study's output folder."""
        return cls(out / PREDICTIONS / file_name(fold))

    def save_truth(self, truth: FoldTruth, genes: Mapping[str, list[str]]) -> None:
        """Writes ``truth.npz`` and ``genes.json``."""
        self._write(TRUTH, {f.name: getattr(truth, f.name) for f in fields(truth)})
        write_json(self.path / GENES, genes)

    def truth(self) -> FoldTruth:
        """What the fold is compared with."""
        return FoldTruth(**self._read(TRUTH))

    def genes(self) -> dict[str, list[str]]:
        """Symbols by gene set, best first."""
        return dict(_read_json(self.path / GENES))

    def positions(self, symbols: Str) -> dict[str, I64]:
        """Positions of each gene set in ``symbols`` str[g], best first."""
        slot = {symbol: i for i, symbol in enumerate(symbols.tolist())}
        return {name: np.array([slot[gene] for gene in genes], np.int64) for name, genes in self.genes().items()}

    def measured_sets(self, truth: FoldTruth) -> dict[str, I64]:
        """Positions of each gene set in ``truth.symbols``, without the genes that were not measured."""
        return measured_sets(truth.measured, self.positions(truth.symbols))

    def save_predicted(self, method: str, seed: int, predicted: F32) -> None:
        """Writes the prediction f32[m, g] of a method's run with a seed."""
        self._write(_job(method, seed), {"predicted": predicted.astype(np.float32)})

    def predicted(self, method: str, seed: int = 0) -> F32:
        """f32[m, g] on the genes of ``truth.symbols``."""
        return np.asarray(self._read(_job(method, seed))["predicted"], np.float32)

    def has_predicted(self, method: str, seed: int) -> bool:
        """Whether the method has been run with that seed."""
        return self._path(_job(method, seed)).is_file()

    def save_clusters(self, labels: I64, method: str = MEASURED, seed: int | None = None) -> None:
        """Writes Leiden labels i64[m] of a prediction, or of the measurement."""
        self._write(f"clusters-{_job(method, seed)}", {"labels": labels})

    def clusters(self, method: str = MEASURED, seed: int | None = None) -> I64:
        """Leiden labels i64[m] of a prediction, or of the measurement."""
        return np.asarray(self._read(f"clusters-{_job(method, seed)}")["labels"], np.int64)

    def save_scores(self, method: str, seed: int, arrays: Mapping[str, F64]) -> None:
        """Writes per-gene metrics f64[g] and resampled means f64[resamples]."""
        self._write(f"scores-{_job(method, seed)}", _small(arrays))

    def scores(self, method: str, seed: int = 0) -> dict[str, F32]:
        """Per-gene metrics and resampled means, as saved."""
        return self._read(f"scores-{_job(method, seed)}")

    def has_maps(self, method: str, seed: int) -> bool:
        """Whether the metrics of a prediction's maps are there."""
        return self._path(f"maps-{_job(method, seed)}").is_file()

    def save_maps(self, method: str, seed: int, arrays: Mapping[str, F64]) -> None:
        """Writes the metrics of maps, f64[g] each (``metrics/maps.py``)."""
        self._write(f"maps-{_job(method, seed)}", _small(arrays))

    def maps(self, method: str, seed: int) -> dict[str, F32]:
        """The metrics of maps, as saved."""
        return self._read(f"maps-{_job(method, seed)}")

    def has_ceiling(self) -> bool:
        """Whether the reliability of the measurement is there."""
        return self._path(CEILING).is_file()

    def save_ceiling(self, of_genes: F64) -> None:
        """Writes the reliability of the measurement, f64[g] (``metrics/ceiling.py``)."""
        self._write(CEILING, _small({"reliability": of_genes}))

    def ceiling(self) -> F32:
        """f32[g] reliability of the measurement."""
        return np.asarray(self._read(CEILING)["reliability"], np.float32)

    def _path(self, stem: str) -> Path:
        return self.path / f"{stem}.npz"

    def _write(self, stem: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        if any(array.dtype.hasobject for array in arrays.values()):  # numpy would pickle these
            raise TypeError(f"{stem}: arrays of objects are not stored")
        stored: dict[str, Any] = dict(arrays)
        with atomic_path(self._path(stem), force=True) as temp, temp.open("wb") as file:
            np.savez_compressed(file, **stored)

    def _read(self, stem: str) -> dict[str, NDArray[Any]]:
        path = self._path(stem)
        if not path.is_file():
            raise UsageError(f"{self.path.name} holds no {path.name}; run bleep-train evaluate --protocol")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}


def _small(arrays: Mapping[str, F64]) -> dict[str, F32]:
    return {name: np.asarray(values, np.float32) for name, values in arrays.items()}


def _job(method: str, seed: int | None) -> str:
    return file_name(method) if seed is None else f"{file_name(method)}-{seed}"


def save_study(out: Path, record: StudyRecord) -> None:
    """Writes ``study.json``."""
    write_json(out / STUDY, asdict(record))


def load_study(out: Path) -> StudyRecord:
    """What was run into a folder. Raises ``UsageError`` where no study was."""
    stored = _read_json(out / STUDY)
    lists = {name: tuple(stored[name]) for name in ("methods", "seeds", "markers")}
    return StudyRecord(**{**stored, **lists})


def _read_json(path: Path) -> Any:
    if not path.is_file():
        raise UsageError(f"{path.parent.name} holds no {path.name}; run bleep-train evaluate --protocol")
    return json.loads(path.read_text(encoding="utf-8"))
