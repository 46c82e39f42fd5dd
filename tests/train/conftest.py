"""A small phantom cohort and one run on it, trained, exported and evaluated once for all tests.

Every test below this folder is of the marker ``torch``; those that use the run are ``slow`` besides.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from bleep_cli.cli import app as bleep_app
from bleep_train.__main__ import app as train_app
from bleep_train.phantom.section import write_phantom_cohort

HELD_OUT = "C-S1"
SETTINGS = ("data.tile_px=64", "optim.epochs=12")  # on top of the preset "tiny"
HERE = Path(__file__).parent
TRAINED = {"run", "evaluated", "train_tiny"}  # fixtures that train, or are there to do so


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker("torch")
            if TRAINED & set(getattr(item, "fixturenames", ())):
                item.add_marker("slow")


def invoke(app: typer.Typer, *args: Any) -> str:
    """What a command prints on stdout; its errors come through."""
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    if result.exception:
        raise result.exception
    return result.stdout


@pytest.fixture(scope="session")
def bleep() -> Callable[..., str]:
    """``bleep(*args)``: the command of the runtime."""
    return lambda *args: invoke(bleep_app, *args)


@pytest.fixture(scope="session")
def bleep_train() -> Callable[..., str]:
    """``bleep_train(*args)``: the command of the training package."""
    return lambda *args: invoke(train_app, *args)


@pytest.fixture(scope="session")
def train_tiny() -> Callable[..., str]:
    """``train_tiny(cohort, out, *settings, hold_out="C-S1", options=())``: ``bleep-train train``, preset tiny."""

    def train(cohort: Path, out: Path, *settings: str, hold_out: str = HELD_OUT, options: Any = ()) -> str:
        sets = [word for setting in (*SETTINGS, *settings) for word in ("--set", setting)]
        command = ["train", cohort, "-o", out, "--config", "tiny", "--hold-out", hold_out]
        return invoke(train_app, *command, *sets, *options)

    return train


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``cohort.toml`` of three donors A, B and C with one section each, about 45 spots; not to be written to."""
    return write_phantom_cohort(
        tmp_path_factory.mktemp("phantoms"), 5, donors=("A", "B", "C"), size_um=(900.0, 700.0)
    )


@pytest.fixture(scope="session")
def run(phantoms: Path, train_tiny: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run trained on A and B; not to be trained on."""
    out = tmp_path_factory.mktemp("runs") / "run"
    train_tiny(phantoms, out)
    return out


@dataclass(frozen=True)
class Evaluated:
    """``bundle`` exported from the run, the ``folder`` its evaluation wrote, and what both commands printed."""

    bundle: Path
    folder: Path
    exported: str
    printed: str


@pytest.fixture(scope="session")
def evaluated(
    run: Path, phantoms: Path, bleep_train: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Evaluated:
    """The run, exported into its own folder and evaluated on C."""
    folder = tmp_path_factory.mktemp("evaluated") / "result"
    exported = bleep_train("export", run, "-o", run / "bundle.zarr")
    printed = bleep_train("evaluate", run, phantoms, "--on", HELD_OUT, "-o", folder)
    return Evaluated(run / "bundle.zarr", folder, exported, printed)


@pytest.fixture
def own_run(run: Path, tmp_path: Path) -> Path:
    """A copy of the run with its caches, without its bundle; to do with as one likes."""
    return Path(shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("bundle.zarr")))
