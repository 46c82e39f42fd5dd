"""What building and growing a reference have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.base.rows import Rows, dense_rows, row_blocks
from bleep_cli.bundle.contents import BundleArrays, BundleInfo, SectionRecord
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.errors import BleepError, ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.tiles.section import section_image
from bleep_cli.towers.encoder import OnnxExpressionEncoder, unit
from bleep_cli.types import F32, Section, Str

SPOT_BLOCK = 4096  # spots whose expression is embedded at a time


@dataclass(frozen=True)
class Built:
    """A reference, ready to be written."""

    info: BundleInfo
    arrays: BundleArrays
    looks: F32 | None = None
    """f32[m, l] what the tiles of its last m spots look like, those that were embedded for it, as the image tower
    tells it; None where it does not."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was dropped, repaired or assumed; the bundle keeps it."""
        return self.info.findings


def opened(bundle: Bundle | Path | str) -> Bundle:
    """The bundle, opened where it is a path."""
    return bundle if isinstance(bundle, Bundle) else open_bundle(bundle)


def with_findings(built: Built, findings: Sequence[Finding]) -> Built:
    """The same with further findings behind its own."""
    return replace(built, info=replace(built.info, findings=(*built.findings, *findings)))


def described(built: Built, texts: Mapping[str, str]) -> Built:
    """The same with ``texts`` (species, licence, citation by name) in its attributes.

    What stands there already is kept and the new text added behind it, unless it says the same: the terms of
    towers, and of a bundle that was grown, go on holding.
    """
    said = {name: text.strip() for name, text in texts.items()}
    old = {name: getattr(built.info, name) for name in said}
    new = {name: text for name, text in said.items() if text and f"; {text}; " not in f"; {old[name]}; "}
    joined: dict[str, Any] = {name: f"{old[name]}; {text}" if old[name] else text for name, text in new.items()}
    return replace(built, info=replace(built.info, **joined)) if joined else built


def refuse_twice(known: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Raises ``ReferenceError`` for a section whose data is among ``known`` (hash → where) or given twice."""
    seen = dict(known)
    for section in sections:
        if section.sha256 in seen:
            raise ReferenceError(f"section {section.id} is already in {seen[section.sha256]}")
        seen[section.sha256] = f"the cohort (as {section.id})"


def embed_expression(tower: bytes, panel: Rows) -> F32:
    """Unit vectors f32[n, d] of log1p expression [n, p] on the panel, made dense some spots at a time."""
    encoder = OnnxExpressionEncoder(tower)
    return unit(np.concatenate([encoder.embed(dense_rows(rows)) for rows in row_blocks(panel, SPOT_BLOCK)]))


def record_of(section: Section, towers_saw_it: bool | None) -> SectionRecord:
    """What a bundle says of a section; ``towers_saw_it`` as there."""
    n = len(section.barcodes)
    image_sha256, mpp = _image(section)
    return SectionRecord(section.id, section.sha256, section.donor, n, image_sha256, towers_saw_it, mpp)


def _image(section: Section) -> tuple[str, float | None]:
    """Hash of a section's image, as of a slide, and its µm per level-0 px; nothing of one that is not here, such
    as where workers embed it."""
    try:
        with closing(section_image(section)) as image:
            return image.sha256, image.mpp
    except BleepError:
        return "", None


def one_donor(findings: Sequence[Finding], sections: Sequence[SectionRecord]) -> tuple[Finding, ...]:
    """The findings, with a warning of ``sections`` that are all of one donor, and without an earlier one."""
    kept = tuple(finding for finding in findings if finding.code != "spots-one-donor")
    if len({record.donor for record in sections}) > 1:
        return kept
    told = f"all spots are of one donor ({sections[0].donor})"
    return (*kept, Finding("spots-one-donor", told, mend="add sections of other donors"))


def repeat_by_section(sections: Sequence[Section], values: Sequence[str]) -> Str:
    return np.repeat(np.array(values, dtype=str), [len(s.barcodes) for s in sections])
