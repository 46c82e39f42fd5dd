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
    "slide-strange": Code("warning", "most tiles of the slide look like nothing in the reference"),
    "tiles-strange": Code("warning", "many tiles of the slide, but not most, look like nothing in the reference"),
    "stain-differs": Code("warning", "most tiles of the slide are stained otherwise than the reference's"),
    "focus-soft": Code("warning", "the slide, or much of it, is out of focus"),
    "slide-coarse": Code(
        "warning", "the slide has fewer pixels per µm than the reference's tiles by half or more"
    ),
    "mpp-doubtful": Code("warning", "the tissue looks like the reference's at half or at twice the stated scale"),
    "interval-strange": Code("note", "bounds are given for tiles that may be strange to the reference"),
    # of a slide's tissue and tiles
    "ink-left-out": Code("note", "pen ink over what would be tissue was left out of it"),
    "tiles-ink-left-out": Code("note", "tiles under pen ink were left out"),
    "tiles-under-ink": Code("warning", "tiles that are predicted lie under pen ink in part"),
    "glass-left-out": Code("note", "tiles of nothing but glass or unscanned pixels were left out"),
    "tiles-on-glass": Code("warning", "tiles that are predicted show glass or unscanned pixels"),
    "positions-outside-tissue": Code("note", "positions that their table places outside tissue are predicted"),
    "plane-taken": Code("note", "which corner of a slide with bounds a mask, regions or positions count from"),
    "plane-unsure": Code("warning", "a mask, regions or positions may count from either corner of such a slide"),
    "mask-classes": Code("note", "which classes of a mask are tissue"),
    "mask-values": Code("note", "which values or colours of a mask picture are tissue"),
    "mask-passed-over": Code("note", "points, lines and features without a geometry in GeoJSON were passed over"),
    "mask-beyond": Code("warning", "a mask or regions reach beyond the slide"),
    "mask-everything": Code("warning", "a mask covers the slide, of which much is glass"),
    "mask-off-tissue": Code("warning", "a mask or regions lie beside the tissue"),
    "mpp-not-taken": Code("warning", "a slide states another pixel size than the one given for several slides"),
    "slide-black": Code("warning", "nothing in the picture is bright: it is refused for prediction"),
    "slide-dark": Code("warning", "most of the picture is dark, which sections stained with H&E are not"),
    "slide-grey": Code("warning", "the picture has no colours"),
    "slide-turned": Code("note", "an orientation tag was followed: the picture is turned or mirrored"),
    "scenes-ignored": Code("warning", "the file holds several scenes, of which the largest was taken"),
    "levels-left-out": Code(
        "warning", "smaller copies in the file show another picture than it, and are not read"
    ),
    "scenes-unreadable": Code("note", "the file holds further pictures that cannot be read"),
    "depth-stated": Code("note", "fewer than 16 bits of the samples are used, as the file's tags say"),
    "depth-guessed": Code("warning", "fewer than 16 bits of the samples are used, as their values say"),
    "planes-named": Code("note", "three grey planes were read as red, green and blue, by their names"),
    "planes-guessed": Code("warning", "three grey planes without names were read as red, green and blue"),
    "alpha-assumed": Code("note", "what a fourth sample means was taken from its values, as no tag says it"),
    "mpp-overrides": Code("warning", "the pixel size that was given is over 10 % from what the slide states"),
    "mpp-unknown": Code("warning", "the slide states no pixel size, or several: it has to be given"),
    # of tables of positions and of counts
    "text-encoding-guessed": Code(
        "note", "a table of text is in no Unicode encoding and was read as Windows-1252"
    ),
    "positions-in-um": Code("note", "positions in µm were turned into pixels"),
    "positions-moved": Code("note", "QuPath's positions were moved to the corner of the slide"),
    "positions-ids-guessed": Code("note", "no column of a table of positions is called barcode or id"),
    "counts-transposed": Code("note", "a table of counts has genes in rows and spots in columns"),
    "spots-named-otherwise": Code("note", "spots have other names in the counts than in the positions"),
    "matrix-raw": Code("note", "the raw matrix was read, as there is no filtered one"),
    # of a section's counts
    "features-no-genes": Code("note", "columns of counts that are no genes were left out"),
    "genome-picked": Code("note", "genes of other genomes than the one that was picked were left out"),
    "genome-prefix": Code("note", "gene names began with the name of their genome, which was taken off"),
    "symbols-missing": Code("note", "genes without a symbol carry their id"),
    "genes-merged": Code("note", "several columns of one gene were added up"),
    "spots-empty": Code("note", "spots without a single molecule were left out"),
    "spots-few-counts": Code("note", "spots of fewer counts than min_counts were left out"),
    "spots-outside-tissue": Code("note", "spots that the section says lie outside tissue were left out"),
    "spots-without-counts": Code("note", "spots in tissue that have no counts were left out"),
    "counts-without-position": Code("note", "rows of counts that have no position in tissue were left out"),
    # of a section on its picture
    "picture-scaled": Code(
        "note", "positions were multiplied to lie on a smaller copy of the picture they are of"
    ),
    "picture-turned": Code("note", "positions were turned or mirrored as the picture was"),
    "picture-size": Code("warning", "the picture's size or name says that positions are of another one"),
    "picture-doubtful": Code(
        "warning", "many spots lie on glass, or fewer would if the picture were turned or mirrored"
    ),
    "spots-on-glass": Code("note", "some spots lie where no tissue is found"),
    "spots-outside-picture": Code("note", "a few spots lie beside the picture"),
    "mpp-by-array": Code("note", "the array of the spots tells the microns per pixel, which the picture does not"),
    "mpp-of-whole": Code("note", "the stated microns per pixel are of the full-resolution picture"),
    "mpp-against-array": Code(
        "warning", "the stated microns per pixel are over 10 % from what the array of spots says"
    ),
    "pitch-unusual": Code("note", "spots lie nearer or farther apart than on any array of their kind"),
    "species-mixed": Code("warning", "by their genes the sections are of different species"),
    # of the files of a result
    "results-replaced": Code("note", "results that are not what was written, or do not say it, are made anew"),
    "layers-left-out": Code("note", "files of some formats do not hold the bounds and samples of a result"),
    "genes-left-out": Code(
        "note", "files of some formats hold those genes alone that vary most, or that have Ensembl ids"
    ),
    # of groups that are compared
    "genes-of-some-results": Code("note", "genes that not all results of a comparison hold were left out of it"),
    "results-differ": Code("warning", "results that are compared were predicted with different options"),
    "region-empty": Code("note", "no tile of a slide has its centre in a region"),
    "patients-unpaired": Code("note", "patients of one side alone were left out of a comparison of pairs"),
    "patients-few": Code("warning", "so few patients that nothing, or nothing with p below 0.05, can come of it"),
    # of a prediction
    "own-left-out": Code("note", "the slide is a section of the reference: spots of its donor were left out"),
    "own-kept": Code(
        "warning", "the slide is a section of the reference, whose own spots have a part in its prediction"
    ),
    "donor-left-out": Code("note", "sections of the reference were left out of a prediction, as was asked"),
    "level-taken": Code("note", "values were moved to the measured level of sections, as was asked"),
    # of a reference
    "genes-not-shared": Code("note", "genes that are not in every section were left out"),
    "symbols-renamed": Code("note", "several genes of one symbol carry their gene id as well"),
    "genes-rare": Code("note", "how many genes are seen in enough spots to be kept"),
    "genes-absent": Code("note", "genes of the base that a new section does not measure count as not detected"),
    "genes-dropped": Code("note", "genes that not all parts of a reference measure were left out of it"),
    "genes-chosen": Code("note", "a reference holds the genes that were asked for, and the panel of its towers"),
    "sections-left-out": Code("note", "sections of a reference were left out of it"),
    "sections-shared": Code("note", "sections that are in several merged references were taken once"),
    "donor-shared": Code("note", "sections of several merged references are of donors of one name"),
    "signature-part": Code("note", "the signature of a merged reference is of the sections of its first part"),
    "looks-part": Code("note", "the looks of a merged reference's tiles are of some of its parts alone"),
    "settings-of-first": Code("note", "merged references state different settings: those of the first are kept"),
    "spots-one-donor": Code("warning", "all spots are of one donor: what holds for the next one is not known"),
    "towers-batch-corrected": Code(
        "warning", "spots were added to a reference whose expression tower saw batch-corrected expression"
    ),
    "signature-missing": Code(
        "note", "the reference keeps no signature of its tissue: the scale of slides is not checked"
    ),
    "looks-missing": Code("note", "the image tower of a reference tells no looks: no tile will be called strange"),
    "reliability-missing": Code(
        "note", "the reference has too few spots to measure how well its genes are predicted"
    ),
    "base-of-other-use": Code("warning", "the base was made for something else, such as the synthetic demo"),
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
    """What docs/findings.md lists, as Markdown: made by ``tools/pages/findings.py``."""
    rows = (f"| `{code}` | {severity} | {meaning} |" for code, (severity, meaning) in CODES.items())
    return "\n".join(("| code | severity | what was noticed |", "|---|---|---|", *rows))


def refuse_warnings(findings: Iterable[Finding], error: type[BleepError]) -> None:
    """``--strict``: raises ``error`` where there is a warning among them."""
    warnings = [finding for finding in findings if finding.severity == "warning"]
    if warnings:
        told = "; ".join(finding.text for finding in warnings)
        raise error(f"{told} (refused, as {option('strict')} asks)", origin=warnings[0].origin)
