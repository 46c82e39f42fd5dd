"""A made-up public data set: a manifest of it, and what lies at its addresses."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bleep_train.recipes.manifest import BuildOptions, DataFile, Manifest

TEXTS = {
    "title": "made up",
    "species": "Homo sapiens",
    "tissue": "none",
    "technology": "none",
    "licence": "CC0",
    "citation": "Doe 2020",
    "source": "https://example.org",
    "accuracy": "not measured",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def manifest_of(*files: DataFile, sections: Any = (), **more: Any) -> Manifest:
    """A manifest that no file was read for, so that its addresses may be anything."""
    return Manifest(**{**TEXTS, "name": "made-up", "file": files, "section": tuple(sections), **more})


def of_cohort(cohort: Path, **more: Any) -> Manifest:
    """A manifest of the made-up cohort's ST section S0, hashes known."""
    names = {"image": "S0.png", "counts": "S0.tsv", "positions": "S0-spots.tsv"}
    files = []
    for name in names.values():
        content = (cohort.parent / name).read_bytes()
        files.append(DataFile(name, f"https://example.org/{name}", len(content), sha256(content)))
    return manifest_of(*files, sections=[{"id": "S0", "donor": "D0", **names}], **more)


def tar_of(members: Mapping[str, bytes]) -> bytes:
    """A gzipped tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def visium(folder: Path) -> Manifest:
    """The Space Ranger section S0 of the made-up cohort, as archives hold one: flat names, a tar, gzip; its
    cohort in ``folder/cohort``, the published files in ``folder/flat``."""
    outs, flat = folder / "cohort" / "S0-outs", folder / "flat"
    flat.mkdir()
    matrix = outs / "filtered_feature_bc_matrix"
    files = []
    for part in ("barcodes.tsv.gz", "features.tsv.gz", "matrix.mtx.gz"):
        (flat / f"GSM1_{part}").write_bytes((matrix / part).read_bytes())
        files.append(DataFile(f"S0/outs/filtered_feature_bc_matrix/{part}", also=(f"**/GSM*_{part}",)))
    positions = (outs / "spatial" / "tissue_positions.csv").read_bytes()
    (flat / "spatial.tar.gz").write_bytes(tar_of({"spatial/tissue_positions.csv": positions}))
    (flat / "S0.png.gz").write_bytes(gzip.compress((folder / "cohort" / "S0.png").read_bytes()))
    files += [
        DataFile("spatial.tar.gz", sha256=sha256((flat / "spatial.tar.gz").read_bytes())),
        DataFile(
            "S0/outs/spatial/tissue_positions.csv", inside="spatial.tar.gz", member="spatial/tissue_positions.csv"
        ),
        DataFile("S0.png.gz"),
        DataFile("S0/S0.png", inside="S0.png.gz"),
    ]
    section = {"id": "S0", "donor": "D0", "image": "S0/S0.png", "spaceranger": "S0/outs"}
    return manifest_of(*files, sections=[section], build=BuildOptions(pitch_um=80.0))
