"""Frozen features beside a bundle's own prediction: of the sections it was built from, and of held-out ones."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bleep_cli.base.assets import BACKBONE, asset
from bleep_cli.bundle.open import Bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import UsageError, option
from bleep_cli.fitting.features import section_features
from bleep_cli.fitting.recipe import RECIPE
from bleep_cli.towers.encoder import ALL_VIEWS
from bleep_cli.towers.levels import LEVEL_DIMS
from bleep_cli.types import F32, Progress, Section
from bleep_train.backbones.build import LOCAL
from bleep_train.config.toml import config_from
from bleep_train.data.tile_cache import cache_tag, kept_array
from bleep_train.training.distributed import pick_device
from bleep_train.training.frozen import cached_features
from bleep_train.training.start import starting_backbone


class BundleFeatures(ABC):
    """Where they come from depends on who made the towers; see :func:`features_of`."""

    training: list[Section]
    """The reference's own sections, as the cohort file names them."""
    stages: tuple[int, ...]
    """Widths of the stages side by side, in one field of view."""
    shipped: bool
    """Whether they are of the runtime's own backbone."""

    @abstractmethod
    def of(self, sections: Sequence[Section]) -> list[F32]:
        """f32[n, 8, d] of each section."""


def features_of(bundle: Bundle, cohort: Path, cache: Path, progress: Progress) -> BundleFeatures:
    """The features of a bundle's backbone.

    Raises ``UsageError`` where they cannot be had, or where the cohort does not hold the sections that the
    reference was built from.
    """
    told = bundle.info.training
    own = told.get("recipe") == RECIPE
    if own and told.get("backbone") != BACKBONE:
        raise UsageError(
            f"{bundle.name} was fitted on the features of {told.get('backbone')}, which are not computed here; "
            f"use {option('no_ridge')}"
        )
    if not own and "model" not in told:
        raise UsageError(
            f"{bundle.name} does not say which backbone its image tower has, on whose features ridge would stand; "
            f"use {option('no_ridge')}"
        )
    found = _Shipped(bundle, cache, progress) if own else _Trained(bundle, cache, progress)
    found.training = _training_sections(bundle, cohort, progress)
    return found


class _Trained(BundleFeatures):
    """Of the backbone that a training started from."""

    def __init__(self, bundle: Bundle, cache: Path, progress: Progress) -> None:
        self._config = config_from(bundle.info.training, bundle.name)
        if self._config.model.backbone.startswith(LOCAL):
            raise UsageError(
                f"{bundle.name} names a backbone of its maker's own code, which is not run here; "
                f"use {option('no_ridge')}"
            )
        self._backbone = starting_backbone(self._config)
        self._cache, self._progress = cache, progress
        self.stages, self.shipped = self._backbone.block_dims, self._backbone.shipped

    def of(self, sections: Sequence[Section]) -> list[F32]:
        spec, device = self._config.data.tile, pick_device()
        return cached_features(sections, self._backbone, spec, self._cache, device, self._progress)


class _Shipped(BundleFeatures):
    """Of the backbone that towers are fitted on in closed form."""

    stages, shipped = LEVEL_DIMS, True

    def __init__(self, bundle: Bundle, cache: Path, progress: Progress) -> None:
        self._backbone = asset(BACKBONE).read_bytes()
        self._sha256 = hashlib.sha256(self._backbone).hexdigest()
        if bundle.info.training.get("backbone_sha256") != self._sha256:
            raise UsageError(
                f"{bundle.name} was fitted on another backbone than this version holds; use {option('no_ridge')}"
            )
        self._spec, self._cache, self._progress = bundle.info.tile, cache, progress

    def of(self, sections: Sequence[Section]) -> list[F32]:
        self._cache.mkdir(parents=True, exist_ok=True)
        return [kept_array(self._file(section), partial(self._one, section)) for section in sections]

    def _file(self, section: Section) -> Path:
        return self._cache / f"features-{self._sha256[:12]}-{cache_tag(section, self._spec)}.npy"

    def _one(self, section: Section) -> F32:
        found = section_features([section], self._backbone, self._spec, ALL_VIEWS, progress=self._progress)
        return np.array(found.rows.reshape(len(found.rows), ALL_VIEWS, -1))


def _training_sections(bundle: Bundle, cohort: Path, progress: Progress) -> list[Section]:
    records = bundle.info.sections
    by_id = {s.id: s for s in read_cohort(cohort, only=[r.id for r in records], progress=progress)}
    moved = [r.id for r in records if by_id[r.id].sha256 != r.sha256]
    if moved:
        raise UsageError(f"{cohort.name}: sections {', '.join(moved)} are not those the reference was built from")
    other = [r for r in records if len(by_id[r.id].barcodes) != r.n]
    if other:
        told = ", ".join(f"{r.id} ({r.n} spots, here {len(by_id[r.id].barcodes)})" for r in other)
        raise UsageError(
            f"{cohort.name}: the reference was built from other spots of {told}; set min_counts as it was then, "
            "0 where there was none"
        )
    return [by_id[r.id] for r in records]
