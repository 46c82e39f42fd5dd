"""How the command line behaves, whatever the command: common options, quiet, JSON, names of any letters, missing
packages, the first sign of life."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata
import pytest
from absent_packages import without

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset
from bleep_cli.cli import app
from bleep_cli.commands.program import GARBAGE_OBJECTS
from bleep_cli.errors import BleepError

REF = str(asset(DEMO_BUNDLE))
RUN = "import sys; sys.argv[0] = 'bleep'; from bleep_cli.cli import main; main()"
ASCII = {"PYTHONUTF8": "0", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"}


def process(
    code: str, *arguments: str | Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        env=os.environ | (env or {}),
        timeout=300,
        check=False,
    )


# --- options before and behind the command


@pytest.mark.parametrize("of", ["bundle", "slide"])
@pytest.mark.parametrize("option", ["--json", "-q", "--quiet", "-v", "--verbose"])
def test_common_options_stand_before_and_behind_the_command(
    capsys: pytest.CaptureFixture[str], small_bundle: Path, query_slide: Path, of: str, option: str
) -> None:
    command = ("inspect", str(small_bundle if of == "bundle" else query_slide))
    app([option, *command], standalone_mode=False)
    before = capsys.readouterr()
    app([*command, option], standalone_mode=False)
    assert capsys.readouterr() == before
    assert before.err == ""
    if option == "--json":
        assert json.loads(before.out)["name"] == Path(command[1]).name
    else:
        assert bool(before.out) == (option in ("-v", "--verbose"))


def test_every_command_shows_the_common_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("predict", "build-reference", "inspect", "doctor", "demo"):
        app([command, "--help"], standalone_mode=False)
        told = capsys.readouterr().out
        assert all(option in told for option in ("--json", "--quiet", "--verbose")), command


@pytest.mark.parametrize("behind", [True, False])
def test_strict_stands_before_and_behind_the_command(
    query_slide: Path, small_bundle: Path, tmp_path: Path, capsys: Any, behind: bool
) -> None:
    coarse = ("predict", query_slide, "--ref", REF, "-o", tmp_path, "--device", "cpu")
    words = [*coarse, "--strict"] if behind else ["--strict", *coarse]
    with pytest.raises(BleepError, match=r"refused, as strict asks"):
        app([*map(str, words)], standalone_mode=False)


# --- quiet, JSON


@pytest.mark.slow
def test_quiet_keeps_warnings_and_nothing_else(
    query_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = [Path(shutil.copy(query_slide, tmp_path / name)) for name in ("a.tif", "b.tif")]
    command = ["predict", *slides, "--ref", REF, "-o", tmp_path / "out", "--device", "cpu", "--format", "h5ad"]
    app([*map(str, command), "-q"], standalone_mode=False)
    told = capsys.readouterr()
    assert told.out == ""
    lines = [tuple(line.split(": ")[:3]) for line in told.err.splitlines()]
    assert list(dict.fromkeys(lines)) == [("bleep", "warning", name) for name in ("a.tif", "b.tif")]
    assert sorted(path.name for path in (tmp_path / "out").glob("*.h5ad")) == ["a.h5ad", "b.h5ad"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("predict", "absent.svs", "--ref", REF), 2),
        (("predict", "absent.svs", "--ref", "absent.zarr"), 4),
        (("inspect", "absent.svs"), 4),
        (("build-reference", "absent.toml", "-o", "a.zarr"), 2),
    ],
)
def test_json_tells_of_the_error_that_ends_the_run(arguments: Sequence[str], code: int, tmp_path: Path) -> None:
    told = process(f"import os; os.chdir({str(tmp_path)!r}); {RUN}", *arguments, "--json")
    record = json.loads(told.stdout)
    assert (told.returncode, record["exit_code"]) == (code, code)
    assert told.stderr.decode() == f"bleep: {record['error']}\n"


# --- what is not installed


@pytest.mark.slow
def test_doctor_without_onnx_runtime() -> None:
    told = process(without(["onnxruntime"], RUN), "doctor", "--json")
    record = json.loads(told.stdout)
    assert (told.returncode, record["device"], record["providers"]) == (5, None, [])
    assert told.stderr.decode() == (
        'bleep: ONNX Runtime is not installed; install BLEEP with its extra cpu or gpu: pip install ".[cpu]"\n'
    )


@pytest.mark.slow
def test_doctor_with_an_onnx_runtime_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libfoo.so: no such file')")
    told = process(RUN, "doctor", env={"PYTHONPATH": f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"})
    assert told.returncode == 5
    assert told.stderr.decode() == (
        "bleep: ONNX Runtime is installed but does not load (libfoo.so: no such file)\n"
    )
    assert "device auto = none; ONNX Runtime providers: none" in told.stdout.decode()


@pytest.mark.slow
def test_a_package_that_is_missing_is_one_line() -> None:
    told = process(without(["openslide"], RUN), "inspect", asset(DEMO_SLIDE))
    assert told.returncode == 5
    assert told.stderr.decode() == "bleep: the package openslide is not installed; install bleep-cli again\n"


# --- names of any letters


@pytest.mark.slow
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
@pytest.mark.parametrize("by_table", [False, True])
def test_umlauts_where_only_ascii_is_known(
    query_slide: Path, small_bundle: Path, tmp_path: Path, by_table: bool
) -> None:
    name = "Müller µ-切片"
    shutil.copy(query_slide, tmp_path / f"{name}.tif")
    (tmp_path / "slides.csv").write_text(f"slide,name\n{name}.tif,{name}\n", encoding="utf-8")
    slides = ("--slides", tmp_path / "slides.csv") if by_table else (tmp_path / f"{name}.tif",)
    command = ("predict", *slides, "--ref", small_bundle, "-o", tmp_path / "out", "--format", "h5ad,zarr,png")
    told = process(RUN, *command, env=ASCII)
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout.decode().startswith(f"{name}.tif: ")
    files = [tmp_path / "out" / f"{name}{end}" for end in (".bleep.json", ".bleep.png", ".h5ad", ".zarr")]
    assert sorted((tmp_path / "out").iterdir()) == files
    for adata in (anndata.read_h5ad(files[2]), anndata.read_zarr(files[3])):
        assert (adata.uns["bleep"]["slide"]["name"], list(adata.uns["spatial"])) == (f"{name}.tif", [name])
    told = process(RUN, *command, "--resume", "--json", env=ASCII)
    record = json.loads(told.stdout)
    assert (record["slide"], record["name"], record["status"]) == (f"{name}.tif", name, "complete already")
    assert record["files"][0] == str(files[2])


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_terminal_of_another_encoding_gets_what_it_has(query_slide: Path, tmp_path: Path) -> None:
    slide = shutil.copy(query_slide, tmp_path / "ü-切.tif")
    told = process(RUN, "inspect", slide, env={**ASCII, "PYTHONIOENCODING": "latin-1"})
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout.startswith("ü-\\u5207.tif: 300 × 200 px at 4 µm/px".encode("latin-1"))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_a_name_that_is_no_text(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    slide = tmp_path / os.fsdecode(b"M\xfcller.tif")
    shutil.copy(query_slide, slide)
    told = process(RUN, "predict", slide, "--ref", small_bundle, "-o", tmp_path / "out", "--format", "h5ad,png")
    assert (told.returncode, told.stderr) == (0, b"")
    assert told.stdout.startswith(b"M\\xfcller.tif: ")
    (table,) = (tmp_path / "out").glob("*.h5ad")
    assert os.fsencode(table.name) == b"M\xfcller.h5ad"
    assert anndata.read_h5ad(table).uns["bleep"]["slide"]["name"] == "M\\xfcller.tif"


# --- a terminal


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_the_first_sign_of_life_is_what_is_read(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    """Before anything heavy is loaded; and the bars say that they read until the tiles are known."""
    import pty

    slides = [shutil.copy(query_slide, tmp_path / name) for name in ("a.tif", "b.tif")]
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", RUN, "predict", *slides, "--ref", small_bundle, "-o", tmp_path / "out"],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env=os.environ | {"TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    seen = b""
    try:
        while part := os.read(ours, 65536):
            seen += part
    except OSError:  # the other side is closed
        pass
    assert child.wait(60) == 0
    text = seen.decode()
    assert text.startswith("bleep: reading a.tif and 1 more ...\r\n")
    assert text.index("1/2 a.tif · reading") < text.index("1/2 a.tif · tiles") < text.index("2/2 b.tif (about ")
    assert "2 slides: 2 written; " in text


def test_garbage_is_sought_seldom_and_not_as_the_process_ends() -> None:
    at_the_end = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_threshold()[0], gc.get_freeze_count() > 0));"
    )
    done = process(at_the_end + RUN, "--version")
    assert done.returncode == 0
    assert done.stdout.decode().split()[-2:] == [str(GARBAGE_OBJECTS), "True"]
