"""One thing that a slide is judged by, and what all of them together say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bleep_cli.findings import Finding

State = Literal["good", "doubtful", "bad", "not judged"]
Verdict = Literal["fit to predict", "doubtful", "not fit"]

BAD = {"mpp-doubtful", "slide-strange"}
"""Findings by which a slide is not fit: a scale wrong by two costs a third of r, and where most tiles are strange
nobody has measured what a prediction is worth (docs/reliability.md)."""


@dataclass(frozen=True)
class Check:
    """What was found of a slide in one respect."""

    name: str
    words: str
    """In one line, for a person."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able, for programs."""
    findings: tuple[Finding, ...] = ()
    """Warnings make it doubtful, those of :data:`BAD` bad."""
    judged: bool = True
    """False where it could not be, or is only told: then ``words`` say why."""

    @property
    def state(self) -> State:
        """What it says of the slide."""
        warnings = {finding.code for finding in self.findings if finding.severity == "warning"}
        if warnings:
            return "bad" if warnings & BAD else "doubtful"
        return "good" if self.judged else "not judged"

    def plain(self) -> dict[str, Any]:
        """As JSON-able values."""
        return {"state": self.state, "words": self.words, **self.values}


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """Not fit by a finding of :data:`BAD`, doubtful by any other warning."""
    warnings = {finding.code for finding in findings if finding.severity == "warning"}
    if warnings & BAD:
        return "not fit"
    return "doubtful" if warnings else "fit to predict"
