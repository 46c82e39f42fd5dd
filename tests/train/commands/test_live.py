"""What a person sees of a training: a table on a terminal, nothing elsewhere, TensorBoard where asked for."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from pathlib import Path
from typing import TextIO

import pytest
from rich.console import Console

from bleep_cli.errors import UsageError
from bleep_train.__main__ import app
from bleep_train.commands.live import COLUMNS, ROWS, TENSORBOARD, epoch_table, live_training, tensorboard
from bleep_train.training.checkpoint import METRICS

RECORD: dict[str, float] = {
    "epoch": 7,
    "loss": 3.14159,
    "ln_batch": 6.238,
    "temperature": 0.0712,
    "lr": 4.9e-4,
    "effective_rank": 41.27,
    "mean_cosine": 0.0321,
}


class Terminal:
    """A pseudo terminal to put in the place of stderr; ``shown()`` is what was written to it so far."""

    END = b"\x04"

    def __init__(self) -> None:
        self._master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "w")
        self._read, self._arrived = b"", threading.Condition()
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        """Reads all the time: a terminal that nobody reads blocks who writes to it."""
        while True:
            try:
                part = os.read(self._master, 1 << 16)
            except OSError:  # the other end is closed
                os.close(self._master)
                return
            with self._arrived:
                self._read += part
                self._arrived.notify()

    def shown(self) -> str:
        self.stream.write(self.END.decode())  # when this has arrived, so has everything before it
        self.stream.flush()
        with self._arrived:
            assert self._arrived.wait_for(lambda: self._read.endswith(self.END), timeout=60)
        return self._read.replace(self.END, b"").decode()

    def close(self) -> None:
        self.stream.close()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    opened = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.delenv("NO_COLOR", raising=False)
    yield opened
    opened.close()


def draw(stream: TextIO) -> None:
    with redirect_stderr(stream), live_training() as (progress, watch):
        progress("epochs", 3, 10)
        for epoch in range(2):
            watch({**RECORD, "epoch": epoch} | ({"validation_r": 0.217} if epoch else {}))


def test_a_terminal_shows_every_metric_of_an_epoch(terminal: Terminal) -> None:
    draw(terminal.stream)
    shown = terminal.shown()
    for heading, _ in COLUMNS.values():
        assert heading in shown
    for value in ("3.142", "6.238", "0.0712", "4.9e-04", "41.3", "0.032", "0.217"):
        assert value in shown
    assert "train · epochs" in shown
    assert "3/10" in shown
    assert "\x1b[3" in shown  # colours


def test_no_color_is_respected(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    draw(terminal.stream)
    shown = terminal.shown()
    assert "3.142" in shown
    assert "\x1b[3" not in shown
    assert "\x1b[9" not in shown


def test_nothing_is_drawn_off_a_terminal_when_quiet_or_on_other_ranks(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with redirect_stderr(terminal.stream), live_training(quiet=True) as (progress, watch):
        progress("epochs", 1, 2)
        watch(RECORD)
    monkeypatch.setenv("RANK", "1")
    draw(terminal.stream)
    assert terminal.shown() == ""
    monkeypatch.delenv("RANK")
    file = io.StringIO()
    draw(file)
    assert file.getvalue() == ""


def test_the_table_keeps_to_the_last_epochs(terminal: Terminal) -> None:
    with redirect_stderr(terminal.stream), live_training() as (_, watch):
        for epoch in range(100, 100 + 3 * ROWS):
            watch({**RECORD, "epoch": epoch})
    last = terminal.shown().rsplit("epoch ", 1)[-1]  # what stays on the terminal
    assert str(99 + 3 * ROWS) in last
    assert str(99 + 2 * ROWS) not in last


def test_an_epoch_without_validation_leaves_its_place_blank() -> None:
    console = Console(file=io.StringIO(), width=110)
    console.print(epoch_table([RECORD, {**RECORD, "validation_r": -0.5}]))
    first, second = console.file.getvalue().splitlines()[1:3]  # type: ignore[attr-defined]
    assert first.split()[-1] == "0.032"
    assert second.split()[-1] == "-0.500"


def test_tensorboard_gets_every_metric_of_every_epoch(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tensorboard(tmp_path, wanted=True) as watch:
        for epoch in range(3):
            watch({**RECORD, "epoch": epoch, "loss": 5.0 - epoch})
    with tensorboard(tmp_path, wanted=True) as watch:  # a resumed run does epoch 2 again
        watch({**RECORD, "epoch": 2, "loss": 2.5})
    events = EventAccumulator(str(tmp_path / TENSORBOARD)).Reload()
    assert set(events.Tags()["scalars"]) == {f"train/{key}" for key in RECORD if key != "epoch"}
    assert [(e.step, e.value) for e in events.Scalars("train/loss")] == [(0, 5.0), (1, 4.0), (2, 2.5)]
    assert events.Scalars("train/effective_rank")[0].value == pytest.approx(41.27)


@pytest.mark.slow
def test_without_the_package_tensorboard_is_an_error_that_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bleep_train: Callable[..., str]
) -> None:
    for name in [name for name in sys.modules if name.startswith(("torch.utils.tensorboard", "tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # what Python holds of a package that is not there
    with pytest.raises(UsageError, match=r"--tensorboard needs .*pip install '\.\[tensorboard\]'"):
        bleep_train("train", "cohort.toml", "-o", tmp_path / "run", "--tensorboard")
    assert not (tmp_path / "run").exists()
    with tensorboard(tmp_path / "run", wanted=False) as watch:
        watch(RECORD)
    assert not (tmp_path / "run").exists()


def test_the_command_shows_and_writes_what_the_loop_reports(
    phantoms: Path, run: Path, tmp_path: Path, terminal: Terminal, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    shutil.copytree(run / "cache", out / "cache")
    settings = ["data.tile_px=64", "optim.epochs=3", "validation.by=section", "validation.every=1"]
    arguments = ["train", phantoms, "-o", out, "--config", "tiny", "--hold-out", "C-S1", "--tensorboard"]
    sets = [word for setting in settings for word in ("--set", setting)]
    with redirect_stderr(terminal.stream):
        app([str(argument) for argument in (*arguments, *sets)], standalone_mode=False)
    assert "trained on 89 spots" in capsys.readouterr().out
    records = [json.loads(line) for line in (out / METRICS).read_text().splitlines()]
    assert len(records) == 3
    shown = terminal.shown()
    for record in records:
        assert f"{record['loss']:.3f}" in shown
        assert f"{record['validation_r']:.3f}" in shown
    assert len(list((out / TENSORBOARD).iterdir())) == 1
