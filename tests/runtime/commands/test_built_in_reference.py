"""``--ref demo`` is the synthetic reference that is installed, unless a bundle of that name lies there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bleep_cli.base.assets import DEMO_SLIDE, asset
from bleep_cli.bundle.open import open_bundle
from bleep_cli.cli import app
from bleep_cli.commands.options import _built_in


def test_demo_is_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = CliRunner().invoke(
        app, ["predict", str(asset(DEMO_SLIDE)), "--ref", "demo", "--dry-run"], catch_exceptions=False
    )
    assert found.exit_code == 0
    assert found.stdout.startswith("demo-slide.tif: 229 tiles × 327 genes")


def test_a_bundle_of_that_name_goes_first(
    small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small_bundle, tmp_path / "demo")
    assert open_bundle(_built_in(Path("demo"))).content_sha256 == open_bundle(small_bundle).content_sha256
