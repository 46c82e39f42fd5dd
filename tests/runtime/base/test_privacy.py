"""Nothing leaves the machine and nothing stays behind: shown on the system calls of real commands.

ONNX Runtime sends its telemetry in batches, so a process has to live for half a minute to be believed.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bleep_cli.base import privacy
from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset
from bleep_cli.bundle.encoders_folder import Encoders

ROOT = Path(__file__).parents[3]
ALIVE_S = 40
CALLS = "network,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,link,linkat,symlink,symlinkat"
MADE = re.compile(r'(?:openat?|creat|mkdir(?:at)?|rename(?:at2?)?|link(?:at)?|symlink(?:at)?)\(.*"([^"]+)"')
COMMANDS = """
import sys, time
start = time.monotonic()
from bleep_cli.cli import main
for arguments in ARGUMENTS:
    sys.argv = ["bleep", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, (arguments, end.code)
time.sleep(max(0, ALIVE_S - (time.monotonic() - start)))
"""


@dataclass(frozen=True)
class Traced:
    """``sockets``: calls that name an internet address family; ``made``: paths made or written outside ``inside``;
    ``left``: files in the home and temporary folders afterwards."""

    sockets: list[str]
    made: list[str]
    left: list[str]


@pytest.fixture
def traced(tmp_path: Path) -> Callable[[str], Traced]:
    """Runs Python code under strace, in an empty home and without any network."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    places = {name: tmp_path / name for name in ("home", "temp", "work")}
    for place in places.values():
        place.mkdir()
    probe = subprocess.run(["unshare", "-n", "true"], capture_output=True, check=False)
    cut_off = ["unshare", "-n"] if probe.returncode == 0 else []

    def run(code: str) -> Traced:
        log = tmp_path / "trace"
        kept = {k: v for k, v in os.environ.items() if k not in {*privacy.OFF, "MPLCONFIGDIR", "NUMBA_CACHE_DIR"}}
        kept = {k: v for k, v in kept.items() if not k.startswith("XDG_")}
        settings = {"HOME": str(places["home"]), "TMPDIR": str(places["temp"]), "PYTHONDONTWRITEBYTECODE": "1"}
        result = subprocess.run(
            [*cut_off, "strace", "-f", "-e", f"trace={CALLS}", "-o", log, sys.executable, "-c", code],
            env=kept | settings, cwd=places["work"], capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
        assert result.returncode == 0, result.stderr
        calls = log.read_text(errors="replace").splitlines()
        changing = [
            c for c in calls if "= -1 " not in c and ("open" not in c or re.search("O_CREAT|O_WRONLY|O_RDWR", c))
        ]
        made = [found.group(1) for call in changing if (found := MADE.search(call))]
        outside = [p for p in made if p.startswith("/") and not p.startswith(("/dev/", "/proc/", str(tmp_path)))]
        left = [str(f.relative_to(tmp_path)) for name in ("home", "temp") for f in places[name].rglob("*")]
        return Traced([c for c in calls if "AF_INET" in c], outside, left)

    return run


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
    found = traced(COMMANDS.replace("ARGUMENTS", repr(commands)).replace("ALIVE_S", str(ALIVE_S)))
    assert (out / "demo-slide.zarr").is_dir()
    assert found == Traced([], [], [])


def test_importing_opens_no_socket_and_leaves_nothing_behind(traced: Callable[[str], Traced]) -> None:
    code = "import bleep_cli, onnxruntime, time; time.sleep(35)"
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
