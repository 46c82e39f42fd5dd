"""Two runs that write the same results at the same time: one of them does, and the other says so."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bleep_cli.errors import OutputError
from bleep_cli.outputs.read import open_result

TAKEN = "bleep: query.h5ad is being written by another run; wait for its end, or choose another place with -o\n"
WRITTEN = ["query.bleep.json", "query.bleep.png", "query.h5ad", "query.zarr"]
HOLD = """
import sys
from bleep_cli.batch import run
plain = run.write_gene_png
def held(*arguments, **named):
    print("between two files", flush=True)
    sys.stdin.read()
    plain(*arguments, **named)
run.write_gene_png = held
from bleep_cli.cli import main
main()
"""


def start(code: list[str], words: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, *code, *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def words_of(slide: Path, bundle: Path, out: Path, k: int) -> list[str]:
    words = ["predict", slide, "--ref", bundle, "-o", out, "--format", "h5ad,zarr,png", "--device", "cpu"]
    return [*map(str, words), "--force", "-k", str(k)]


@pytest.mark.slow
def test_the_second_is_refused_while_the_first_has_written_a_part(
    query_slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    first = start(["-c", HOLD], words_of(query_slide, small_bundle, out, 3))
    try:
        assert first.stdout is not None and first.stdout.readline() == "between two files\n"
        second = start(["-m", "bleep_cli.cli"], words_of(query_slide, small_bundle, out, 7))
        told = second.communicate(timeout=300)
        assert (second.returncode, *told) == (
            OutputError.exit_code,
            "",
            TAKEN,
        )
        first.communicate(timeout=300)
        assert first.returncode == 0
    finally:
        first.kill()
    assert sorted(path.name for path in out.iterdir()) == WRITTEN
    assert {open_result(out / f"query.{kind}").provenance["options"]["k"] for kind in ("h5ad", "zarr")} == {3}


@pytest.mark.slow
def test_of_two_that_start_together_the_results_are_of_one(
    query_slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    runs = {
        k: start(["-m", "bleep_cli.cli"], words_of(query_slide, small_bundle, tmp_path / "out", k)) for k in (3, 7)
    }
    for run in runs.values():
        run.communicate(timeout=300)
    codes = {k: run.returncode for k, run in runs.items()}
    assert 0 in codes.values() and set(codes.values()) <= {0, OutputError.exit_code}
    found = {
        open_result(tmp_path / "out" / f"query.{kind}").provenance["options"]["k"] for kind in ("h5ad", "zarr")
    }
    assert len(found) == 1 and codes[found.pop()] == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == WRITTEN
