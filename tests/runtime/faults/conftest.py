"""Every kind of command that writes, with small input of its own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from made_cohorts import cohort
from made_towers import encoders_for

from bleep_cli.bundle.write import write_bundle
from bleep_cli.cli import app
from bleep_cli.cohort.read import read_cohort
from bleep_cli.reference.build import build_reference

HERE = Path(__file__).parent
KINDS = ("h5ad", "zarr", "png", "spatialdata", "parquet", "csv", "geojson", "ometiff", "html")
Commands = Callable[[Path], Mapping[str, tuple[str, ...]]]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE) and not sys.platform.startswith("linux"):
            item.add_marker(pytest.mark.skip(reason="faults are made as Linux makes them"))


@pytest.fixture(scope="session")
def results(query_slide: Path, small_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the same result as ``query.h5ad`` and ``query.zarr``; not to be changed."""
    out = tmp_path_factory.mktemp("results")
    words = ("predict", query_slide, "--ref", small_bundle, "-o", out, "--format", "h5ad,zarr", "--device", "cpu")
    assert not app(list(map(str, words)), standalone_mode=False)
    return out


@pytest.fixture(scope="session")
def commands(
    results: Path,
    query_slide: Path,
    small_bundle: Path,
    small_cohort: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Commands:
    """Words of the commands that write into a folder, by what they do."""
    further = tmp_path_factory.mktemp("further")
    encoders_for().save(further / "encoders")
    more = cohort(further / "more", ("st",), first_seed=50)
    built = build_reference(read_cohort(more), encoders_for(), device="cpu")
    write_bundle(further / "other.zarr", built.info, built.arrays)

    def of(out: Path) -> Mapping[str, tuple[str, ...]]:
        h5ad, cpu = results / "query.h5ad", ("--device", "cpu")
        found = {
            f"convert to {kind}": (
                *("convert", results / "query.zarr" if kind == "h5ad" else h5ad),
                *("--format", kind, "-o", out),
            )
            for kind in KINDS
        }
        found |= {
            "predict": (
                *("predict", query_slide, "--ref", small_bundle, *cpu),
                *("--format", "h5ad", "-o", out),
            ),
            "report": ("report", h5ad, "-o", out / "page.html"),
            "plot": ("plot", h5ad, "--genes", "GENE1", "-o", out / "figure.png"),
            "build": (
                *("build-reference", small_cohort, "--encoders", further / "encoders", *cpu),
                *("-o", out / "built.zarr.zip"),
            ),
            "add": ("reference", "add", small_bundle, more, "-o", out / "grown.zarr", *cpu),
            "merge": ("reference", "merge", small_bundle, further / "other.zarr", "-o", out / "merged.zarr"),
        }
        return {name: tuple(map(str, words)) for name, words in found.items()}

    return of
