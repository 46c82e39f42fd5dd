"""Nothing leaves the machine and nothing stays behind: shown on the system calls of real commands."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from tracing import ALIVE_S, Traced, long_lived

from bleep_cli.base import privacy
from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset
from bleep_cli.bundle.encoders_folder import Encoders

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("code", "seen"),
    [
        ("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", "sockets"),
        ("from pathlib import Path; (Path.home() / '.cache').mkdir()", "left"),
        (
            "import os; os.close(os.open('/var/tmp/bleep-trace', os.O_CREAT)); os.unlink('/var/tmp/bleep-trace')",
            "made",
        ),
    ],
)
def test_the_trace_sees_what_it_is_to_see(traced: Callable[[str], Traced], code: str, seen: str) -> None:
    assert getattr(traced(code), seen)


@pytest.mark.slow
def test_commands_open_no_socket_and_leave_nothing_behind(
    traced: Callable[[str], Traced],
    write_cohort: Callable[..., Path],
    tmp_path: Path,
    make_encoders: Callable[..., Encoders],
) -> None:
    slide, bundle, out = str(asset(DEMO_SLIDE)), str(asset(DEMO_BUNDLE)), tmp_path / "work" / "out"
    cohort, encoders = write_cohort(tmp_path / "cohort"), tmp_path / "encoders"
    make_encoders().save(encoders)
    commands = [
        ["doctor"],
        ["build-reference", str(cohort), "--encoders", str(encoders), "-o", str(out / "own.zarr")],
        ["demo", "-o", str(out / "demo")],
        ["predict", slide, "--ref", bundle, "-o", str(out), "--views", "1", "--format", "h5ad,zarr,png"],
    ]
    found = traced(long_lived("bleep_cli.cli", commands))
    assert (out / "demo-slide.zarr").is_dir()
    assert found == Traced([], [], [])


@pytest.mark.slow
def test_importing_opens_no_socket_and_leaves_nothing_behind(traced: Callable[[str], Traced]) -> None:
    code = f"import bleep_cli, onnxruntime, time; time.sleep({ALIVE_S})"
    assert traced(code) == Traced([], [], [])


def test_onnxruntime_loaded_first_is_warned_of() -> None:
    environment = {k: v for k, v in os.environ.items() if k not in privacy.OFF}
    code = "import sys, types; sys.modules['onnxruntime'] = types.ModuleType('onnxruntime'); import bleep_cli"
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "TelemetryWarning: onnxruntime was imported before bleep_cli" in result.stderr


def test_onnxruntime_loaded_later_is_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        privacy.switch_off()
    assert privacy.telemetry_is_off()


@pytest.mark.parametrize("folder", ["bleep_cli", "train/bleep_train", "benchmarks"])
def test_whatever_loads_onnxruntime_loads_bleep_cli_before(folder: str) -> None:
    """Of the packages the first line of their ``__init__``, of a script an import at its top."""
    first = ROOT / folder / "__init__.py"
    if first.exists():
        assert "bleep_cli" in _imported(first)
        return
    for file in (ROOT / folder).glob("*.py"):
        if "onnxruntime" in file.read_text(encoding="utf-8"):
            assert "bleep_cli" in _imported(file), f"{file.name} has to import bleep_cli at its top"


def _imported(file: Path) -> set[str]:
    """Top packages that a file imports as it is loaded."""
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            names.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
    return names
