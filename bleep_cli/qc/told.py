"""What was found of a slide, told: as a record, as lines, as a picture."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bleep_cli.base.hidden import Hidden
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import plain_words
from bleep_cli.findings import Finding
from bleep_cli.outputs.anonymous import hidden_finding
from bleep_cli.plotting.quality import QualityPicture
from bleep_cli.qc.check import Check, Verdict, verdict_of
from bleep_cli.qc.strange import Beside
from bleep_cli.tiles.mask import Mask
from bleep_cli.types import TileGrid


@dataclass(frozen=True)
class Judged:
    """A slide with all that was found of it."""

    name: str
    """File name of the slide."""
    mpp: float
    """µm per level-0 pixel."""
    bundle: Bundle | None
    """The reference that it was judged by."""
    checks: tuple[Check, ...]
    others: tuple[Finding, ...]
    """Findings of none of the checks."""
    mask: Mask
    grid: TileGrid
    """The tiles that were compared with the reference's."""
    beside: Beside | None
    """How they compare; None where they do not."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All of them."""
        return (*(finding for check in self.checks for finding in check.findings), *self.others)

    def hidden(self, name: str, hidden: Hidden) -> Judged:
        """The same of a slide that is called ``name``, without the names that are hidden."""
        checks = tuple(
            replace(
                check,
                words=hidden.text(check.words),
                values=hidden.value(check.values),
                findings=tuple(hidden_finding(found, hidden) for found in check.findings),
            )
            for check in self.checks
        )
        others = tuple(hidden_finding(found, hidden) for found in self.others)
        return replace(self, name=name, checks=checks, others=others)

    @property
    def verdict(self) -> Verdict:
        """In words."""
        return verdict_of(self.findings)


@dataclass(frozen=True)
class SlideQuality:
    """What a slide was judged to be."""

    verdict: Verdict
    record: dict[str, Any]
    """JSON-able, for programs."""
    lines: list[str]
    """For a person."""
    findings: tuple[Finding, ...]
    """What was noticed; any warning makes the slide doubtful, or not fit."""


def told(judged: Judged, picture: Path | None) -> SlideQuality:
    """In words and numbers, with the path of the picture that was drawn."""
    findings = judged.findings
    reasons = [plain_words(f"{f.code}: {f.what}") for f in findings if f.severity == "warning"]
    bundle = judged.bundle
    record = {
        "slide": judged.name,
        "verdict": judged.verdict,
        "reasons": reasons,
        "not_judged": [check.name for check in judged.checks if check.state == "not judged"],
        "reference": bundle and {"name": bundle.name, "content_sha256": bundle.content_sha256},
        "checks": {check.name.replace(" ", "_"): check.plain() for check in judged.checks},
        "findings": [finding.plain() for finding in findings],
        "picture": None if picture is None else str(picture),
    }
    lines = [_headline(judged), *(f"  {check.name}: {check.words}" for check in judged.checks)]
    if picture is not None:
        lines.append(f"  picture {picture}")
    return SlideQuality(judged.verdict, record, lines, findings)


def picture_of(judged: Judged) -> QualityPicture:
    """What is drawn of it."""
    ground = judged.mask.ground
    return QualityPicture(
        overview=ground.overview,
        um_per_hires=ground.um_per_px,
        tissue=judged.mask.tissue,
        ink=ground.ink.where,
        centre_hires=judged.grid.centre_l0 * ground.scale,
        edge_hires=judged.grid.edge_l0() * ground.scale,
        strange=None if judged.beside is None else judged.beside.strange,
        title=judged.name,
        verdict=_verdict(judged),
        facts=[(check.name, check.words, check.state) for check in judged.checks],
    )


def _headline(judged: Judged) -> str:
    return f"{judged.name}: {_verdict(judged)}"


def _verdict(judged: Judged) -> str:
    """With what it rests on."""
    by = "" if judged.bundle is None else f" by {judged.bundle.name}"
    codes = [finding.code for finding in judged.findings if finding.severity == "warning"]
    if codes:
        return f"{judged.verdict}{by} ({', '.join(dict.fromkeys(codes))})"
    whole = judged.beside is not None
    return f"{judged.verdict}{by}" if whole else f"{judged.verdict}{by}, as far as it could be judged"
