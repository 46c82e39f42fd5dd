"""``bleep-train`` behaves as ``bleep`` does: common options, quiet, JSON, missing packages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from absent_packages import without

from bleep_train.__main__ import app
from bleep_train.recipes.manifest import manifests

RUN = "import sys; sys.argv[0] = 'bleep-train'; from bleep_train.__main__ import main; main()"
TRAINING = (
    "torch",
    "torchvision",
    "scanpy",
    "harmonypy",
    "sklearn",
    "safetensors",
    "onnxscript",
    "igraph",
    "umap",
)


def told(words: Sequence[str], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    app(list(words), standalone_mode=False)
    return tuple(capsys.readouterr())  # type: ignore[return-value]


@pytest.mark.parametrize("option", ["--json", "-q", "-v"])
def test_common_options_stand_before_and_behind_the_command(
    capsys: pytest.CaptureFixture[str], option: str
) -> None:
    out, err = told((option, "recipe"), capsys)
    assert told(("recipe", option), capsys) == (out, err) and err == ""
    if option == "--json":
        (table,) = json.loads(out)["tables"]
        assert [row[0] for row in table["rows"]] == [manifest.name for manifest in manifests()]
    else:
        assert bool(out) == (option == "-v")


def test_every_command_shows_the_common_options(capsys: pytest.CaptureFixture[str]) -> None:
    commands = ("phantom", "hest", "train", "distill", "export", "evaluate", "ablate", "figures", "recipe")
    for command in commands:
        out, _ = told((command, "--help"), capsys)
        assert all(option in out for option in ("--json", "--quiet", "--verbose")), command


def test_one_recipe_is_told_as_lines_or_as_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    lines, _ = told(("recipe", "her2st"), capsys)
    record = json.loads(told(("recipe", "her2st", "--json"), capsys)[0])
    assert (record["recipe"], "\n".join(record["told"]) + "\n") == ("her2st", lines)
    assert told(("recipe", "her2st", "-q"), capsys) == ("", "")


@pytest.mark.slow
def test_without_the_training_stack_a_command_is_one_line(phantoms: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", without(TRAINING, RUN), "train", str(phantoms), "-o", str(tmp_path / "run")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    mend = 'training needs bleep-cli with its extra train, such as pip install ".[cpu,train]"'
    assert ended.stderr == f"bleep-train: the package torch is not installed; {mend}\n"
    assert (ended.returncode, ended.stdout) == (5, "")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_without_the_training_stack_there_is_help_and_a_list() -> None:
    for words in (["--help"], ["train", "--help"], ["recipe"]):
        command = [sys.executable, "-c", without(TRAINING, RUN), *words]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert (ended.returncode, ended.stderr) == (0, "")
        assert ended.stdout
