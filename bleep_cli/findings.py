"""What was noticed: facts about a slide, a section, a prediction or a bundle that a person should know.

A :class:`Finding` travels with the thing that it is about: ``Slide.findings``, ``Section.findings``,
``Prediction.findings`` and ``Built.findings`` (kept in the bundle's attributes). The console prints it,
``--json``, the provenance of a result and a bundle carry it, and ``--strict`` turns every warning into a refusal
(:func:`refuse_warnings`). What cannot be right is no finding but an error.

Every code is registered once in :data:`CODES`, with its severity: docs/findings.md is made from that table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from bleep_cli.errors import BleepError, Origin, option, plain_words, words

Severity = Literal["note", "warning"]
"""A note says what was done; a warning says that the result may be wrong."""


class Code(NamedTuple):
    """What a code stands for."""

    severity: Severity
    meaning: str
    """In one sentence, for any slide or section."""


CODES: Mapping[str, Code] = {
    # of a slide
    "slide-coarse": Code(
        "warning", "the slide has fewer pixels per µm than the reference's tiles by half or more"
    ),
    "mpp-doubtful": Code("warning", "the tissue looks like the reference's at half or at twice the stated scale"),
    # of a section's counts
    "genes-merged": Code("note", "several columns of one gene were added up"),
    "spots-empty": Code("note", "spots without a single molecule were left out"),
    "spots-few-counts": Code("note", "spots of fewer counts than min_counts were left out"),
    "spots-outside-tissue": Code("note", "spots that the section says lie outside tissue were left out"),
    "spots-without-counts": Code("note", "spots in tissue that have no counts were left out"),
    "counts-without-position": Code("note", "rows of counts that have no position in tissue were left out"),
    # of a reference
    "genes-not-shared": Code("note", "genes that are not in every section were left out"),
    "symbols-renamed": Code("note", "several genes of one symbol carry their gene id as well"),
    "genes-rare": Code("note", "how many genes are seen in enough spots to be kept"),
    "genes-absent": Code("note", "genes of the base that a new section does not measure count as not detected"),
    "signature-missing": Code(
        "note", "the reference keeps no signature of its tissue: the scale of slides is not checked"
    ),
    "towers-fitted": Code("note", "how the towers were fitted to the sections themselves"),
    "one-donor": Code("warning", "the towers are fitted to one donor: what holds for the next one is not known"),
    "backbone-terms": Code("note", "the bundle holds an image encoder of somebody's, under their terms"),
}
"""Every code, by the thing it is found on."""


@dataclass(frozen=True)
class Finding:
    """One fact that was noticed. ``what`` and ``mend`` may name parameters by :func:`bleep_cli.errors.option`."""

    code: str
    """Of :data:`CODES`; programs may rely on it."""
    what: str
    """The fact, with its numbers, in one sentence without a full stop."""
    where: str = ""
    """File name of the slide, id of the section, name of the bundle; empty where it is about all of them."""
    mend: str = ""
    """What to do about it, or what keeps it from happening."""
    origin: Origin = "call"
    """Where the parameters stand that it names."""
    saved_as: Severity | None = None
    """The severity that a bundle of another version states, which may have codes that this one does not know."""

    @property
    def severity(self) -> Severity:
        """Of its code."""
        return self.saved_as or CODES[self.code].severity

    @property
    def text(self) -> str:
        """All of it in one line; parameters still marked."""
        return ": ".join(filter(None, (self.where, "; ".join(filter(None, (self.what, self.mend))))))

    def worded(self, word: Callable[[str, Origin], str]) -> str:
        """The line with every parameter in the reader's own words."""
        return words(self.text, lambda name: word(name, self.origin))

    def __str__(self) -> str:
        return plain_words(self.text)

    def plain(self) -> dict[str, str]:
        """As JSON-able values: code, severity, where, what, mend."""
        return {
            "code": self.code,
            "severity": self.severity,
            "where": self.where,
            "what": plain_words(self.what),
            "mend": plain_words(self.mend),
        }


def finding_of(saved: Mapping[str, str]) -> Finding:
    """A finding from :meth:`Finding.plain`. ``KeyError``, ``TypeError`` or ``ValueError`` for what is none."""
    severities: dict[str, Severity] = {"note": "note", "warning": "warning"}
    code, what, where, mend = (str(saved[name]) for name in ("code", "what", "where", "mend"))
    saved_as = severities[saved["severity"]]
    return Finding(code, what, where, mend, saved_as=None if code in CODES else saved_as)


def table_of_codes() -> str:
    """What docs/findings.md lists, as Markdown: made by ``tools/findings.py``."""
    rows = (f"| `{code}` | {severity} | {meaning} |" for code, (severity, meaning) in CODES.items())
    return "\n".join(("| code | severity | what was noticed |", "|---|---|---|", *rows))


def refuse_warnings(findings: Iterable[Finding], error: type[BleepError]) -> None:
    """``--strict``: raises ``error`` where there is a warning among them."""
    warnings = [finding for finding in findings if finding.severity == "warning"]
    if warnings:
        told = "; ".join(finding.text for finding in warnings)
        raise error(f"{told} (refused, as {option('strict')} asks)", origin=warnings[0].origin)
