"""Endings of slide files: what is left of a name without them, and which files of a folder are slides.

Only names are judged here; what a file is, its content says when it is opened.
"""

from __future__ import annotations

from pathlib import Path

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".j2k", ".jpx", ".bmp", ".gif", ".ppm", ".webp"))
"""Of flat pictures, which may be something else than slides: thumbnails, labels, masks."""

SERIES = frozenset((".dcm", ".dicom"))
"""Of files of which several are one slide."""

VENDORS = frozenset((
    *(".svs", ".svslide", ".ndpi", ".scn", ".mrxs", ".bif", ".vms", ".vmu", ".czi", ".isyntax", ".i2syntax"),
    *(".qptiff", ".btf", ".tf2", ".tf8", ".tif", ".tiff", ".vsi", ".lif", ".lsm", ".nd2"),
    *(".kfb", ".sdpc", ".tmap", ".mds", ".mdsx", ".bkf"),
))  # fmt: skip
"""Of files that are slides and nothing else, whether or not they can be read here."""

SLIDES = VENDORS | SERIES
ENDINGS = VENDORS | SERIES | PICTURES | {".ome"}


def ending(name: str) -> str:
    """The last ending of a file name, in small letters, with its dot."""
    return Path(name).suffix.lower()


def slide_id(name: str) -> str:
    """The file name without its endings: ``a.ome.tif`` → ``a``."""
    stem = Path(name)
    while stem.suffix.lower() in ENDINGS:
        stem = stem.with_suffix("")
    return stem.name or name
