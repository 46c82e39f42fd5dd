"""An anonymous slide on a scheduler: no output, log or line of client, scheduler and worker names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster_processes import running
from named_world import ALWAYS, MASK, OF_FILES, SLIDE, bleep, contents, found, make_world

from bleep_cli.base.hashing import file_sha256


@pytest.mark.slow
def test_no_output_and_no_log_names_an_anonymous_slide(
    query_slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    world, out, logs = make_world(tmp_path, query_slide), tmp_path / "out", tmp_path / "logs"
    logs.mkdir()
    with running(logs, ("",)) as cluster:
        words = (world / SLIDE, "--mask", world / MASK, "--ref", small_bundle, "--anonymise", "-o", out)
        done = bleep("predict", *words, "--scheduler", cluster.address, home=tmp_path)
        again = bleep("predict", *words, "--scheduler", cluster.address, "--resume", "--json", home=tmp_path)
    written = [(log.name, log.read_bytes()) for log in logs.glob("*.log")]
    assert len(written) == 2
    assert found(ALWAYS | OF_FILES, ("told", done), ("JSON", again), *contents(out), *written) == []
    assert f"slide-{file_sha256(world / SLIDE)[:12]}.h5ad" in {path.name for path in out.iterdir()}
