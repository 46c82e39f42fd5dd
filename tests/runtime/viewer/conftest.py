"""A predicted slide of the made-up world, served with its reference and pictures of its spots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import served

from bleep_cli import api
from bleep_cli.viewer.server import FILES

SCRIPT = Path(__file__).parents[3] / "bleep_cli" / "viewer" / "assets" / FILES["openseadragon.min.js"][1]


@pytest.fixture(scope="session")
def viewed(small_bundle: Path, query_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of the query slide."""
    path = tmp_path_factory.mktemp("viewed") / "query.h5ad"
    api.write(api.Predictor(small_bundle).predict(query_slide), path)
    return path


@pytest.fixture(scope="session")
def openseadragon() -> Iterator[bool]:
    """Whether it was fetched; where it was not, another script stands in for it."""
    with pytest.MonkeyPatch.context() as patch:
        if not SCRIPT.is_file():
            patch.setitem(FILES, "openseadragon.min.js", FILES["colours.js"])
        yield SCRIPT.is_file()


@pytest.fixture(scope="session")
def address(
    viewed: Path, query_slide: Path, small_bundle: Path, small_cohort: Path, openseadragon: bool
) -> Iterator[str]:
    """Where the page is, with everything that it can show."""
    with served(viewed, query_slide, small_bundle, cohort=small_cohort) as server:
        yield server.address
