"""Training opens no socket and leaves nothing in the home folder either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tracing import Traced, long_lived


def manifest_of_phantom(folder: Path) -> str:
    """A recipe of the section A-S1 that lies in the folder."""
    texts = ("title", "species", "tissue", "technology", "licence", "citation", "accuracy")
    head = "".join(f'{key} = "x"\n' for key in texts) + 'source = "https://example.org"\nbuild = {views = 1}\n'
    section = '[[section]]\nid = "A"\ndonor = "A"\nimage = "A-S1/A-S1.tif"\nspaceranger = "A-S1/outs"\n'
    below = [file.relative_to(folder).as_posix() for file in (folder / "A-S1").rglob("*") if file.is_file()]
    used = [name for name in below if name.startswith("A-S1/outs/") or name.endswith(".tif")]
    return head + section + "".join(f'[[file]]\npath = "{name}"\n' for name in used)


@pytest.mark.slow
def test_train_export_and_evaluate_open_no_socket_and_leave_nothing_behind(
    traced: Callable[[str], Traced], phantoms: Path, tmp_path: Path
) -> None:
    run, held_out = str(tmp_path / "work" / "run"), ("--hold-out", "C-S1")
    sets = ("--config", "tiny", "--set", "data.tile_px=64", "--set", "optim.epochs=3")
    own, folder = tmp_path / "work" / "own.toml", phantoms.parent
    own.write_text(manifest_of_phantom(folder), encoding="utf-8")
    commands = [
        ("train", str(phantoms), "-o", run, *sets, *held_out),
        ("export", run, "-o", str(tmp_path / "work" / "b.zarr")),
        ("evaluate", run, str(phantoms), "--on", "C-S1", "-o", str(tmp_path / "work" / "eval")),
        ("recipe", "her2st"),
        ("recipe", str(own), "--from", str(folder), "-o", str(tmp_path / "work" / "own.zarr")),
    ]
    found = traced(long_lived("bleep_train.__main__", commands))
    assert (tmp_path / "work" / "eval" / "metrics.json").is_file()
    assert found == Traced([], [], [])
