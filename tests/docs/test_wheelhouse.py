"""``make wheelhouse``, then the lines of docs/install.md without a network: installed, the demo predicted."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anndata
import pytest
from project_text import ROOT, text_of

NO_NETWORK = ["unshare", "--map-root-user", "--net"]


def offline_lines() -> list[str]:
    """The block of docs/install.md for the machine without a connection."""
    page = text_of("docs/install.md").split("## Without the internet\n")[1]
    return re.findall(r"```bash\n(.*?)```", page, re.DOTALL)[0].splitlines()


def test_the_lines_are_those_of_the_page_for_clinics() -> None:
    assert "\n".join(offline_lines()) in text_of("docs/clinical.md")


@pytest.mark.slow
def test_a_wheelhouse_installs_and_predicts_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "distribution"))
    lock = importlib.import_module("which_lock").lock_here()
    if lock is None or shutil.which("make") is None:
        pytest.skip("there is no make, or no lock for this Python and system")
    if shutil.which("unshare") is None or subprocess.run([*NO_NETWORK, "true"], check=False).returncode:
        pytest.skip("namespaces without a network are not permitted here")
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    project = tmp_path / "project"
    shutil.copytree(
        ROOT, project, ignore=shutil.ignore_patterns(".*", "build", "wheels", "docs", "tests", "__pycache__")
    )
    made = subprocess.run(
        ["make", "wheelhouse", f"PYTHON={sys.executable}"], cwd=project, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    if re.search("ConnectionError|Could not find a version|No matching distribution", made.stderr):
        pytest.skip("the wheels cannot be had from an index here")
    assert made.returncode == 0, made.stderr
    name = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    lines = [line.replace("python3.11", name).replace("3.11.txt", f"{name[6:]}.txt") for line in offline_lines()]
    script = "\n".join([*lines, "bleep/bin/bleep predict slide.tif --ref demo -o results --gene CYP3A4"])
    script = script.replace(f"{name} -m venv", f"'{sys.executable}' -m venv", 1)
    away = tmp_path / "away"
    away.mkdir()
    (project / "wheels").rename(away / "wheels")
    shutil.copy(ROOT / "artifacts" / "demo-slide.tif", away / "slide.tif")
    done = subprocess.run(
        [*NO_NETWORK, "bash", "-e", "-c", script], cwd=away, env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert anndata.read_h5ad(away / "results" / "slide.h5ad").shape == (229, 327)
