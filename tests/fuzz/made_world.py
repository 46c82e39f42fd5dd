"""Sound input in small, made in code: a bundle with every array that there is, its towers, their folder."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from made_cohorts import cohort
from made_nuclei import small_signature
from made_towers import encoders_for

from bleep_cli.bundle import write as bundle_write
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.reference.build import build_reference
from bleep_cli.search.hnsw import hnsw_available


def encoders() -> Encoders:
    """Both towers, as a folder holds them."""
    return encoders_for(k=7, licence="CC0", training={"lr": 0.1})


def bundle(folder: Path) -> Path:
    """A bundle of one section: several chunks, slope, components, signature and graph."""
    sections = read_cohort(cohort(folder / "cohort", ("st",)))
    built = build_reference(sections, encoders_for(), device="cpu")
    arrays = replace(built.arrays, signature=small_signature())
    path, chunks = folder / "sound.zarr", bundle_write.EXPRESSION_CHUNK
    bundle_write.EXPRESSION_CHUNK = (40, 5)
    try:
        info = replace(built.info, aggregation="projected")
        write_bundle(path, info, arrays, exact_up_to=10 if hnsw_available() else 10**9)
    finally:
        bundle_write.EXPRESSION_CHUNK = chunks
    shutil.rmtree(folder / "cohort")
    return path
