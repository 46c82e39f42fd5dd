"""Sound input in small, made in code: a bundle with every array that there is, its towers, their folder."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

from made_nuclei import small_signature

from bleep_cli.bundle import write as bundle_write
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.write import write_bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.reference.build import build_reference
from bleep_cli.search.hnsw import hnsw_available


def shared() -> Any:
    """The conftest of all tests, whichever folder's was imported last under that name."""
    name = "conftest_of_all_tests"
    if name not in sys.modules:
        spec = spec_from_file_location(name, Path(__file__).parents[1] / "conftest.py")
        assert spec is not None and spec.loader is not None
        sys.modules[name] = module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


def towers() -> tuple[bytes, bytes]:
    """The image and the expression tower of the tests."""
    conftest = shared()

    return conftest.towers()


def encoders() -> Encoders:
    """Both, as a folder holds them."""
    conftest = shared()

    return conftest.encoders_for(k=7, licence="CC0", training={"lr": 0.1})


def bundle(folder: Path) -> Path:
    """A bundle of one section: several chunks, slope, signature and graph."""
    conftest = shared()

    sections = read_cohort(conftest.cohort(folder / "cohort", ("st",)))
    built = build_reference(sections, conftest.encoders_for(), device="cpu")
    arrays = replace(built.arrays, signature=small_signature())
    path, chunks = folder / "sound.zarr", bundle_write.EXPRESSION_CHUNK
    bundle_write.EXPRESSION_CHUNK = (40, 5)
    try:
        info = replace(built.info, aggregation="corrected")
        write_bundle(path, info, arrays, exact_up_to=10 if hnsw_available() else 10**9)
    finally:
        bundle_write.EXPRESSION_CHUNK = chunks
    shutil.rmtree(folder / "cohort")
    return path
