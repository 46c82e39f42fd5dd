"""The lines of docs/clinical.md that install without the internet: none of them asks an index for BLEEP itself."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib

import pytest
from project_text import ROOT, text_of

SECTION = text_of("docs/clinical.md").split("## Installing without the internet\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```bash\n(.*?)```", SECTION, re.DOTALL)
CONNECTED, OFFLINE = ([shlex.split(line) for line in block.splitlines()] for block in BLOCKS)
PIP = ("python3.11 -m pip", "bleep/bin/pip")


def pip_calls(lines: list[list[str]]) -> list[list[str]]:
    """What follows pip on the lines that call it."""
    ours = [line for line in lines if " ".join(line).startswith(PIP)]
    called = [line[3:] if line[1:3] == ["-m", "pip"] else line[1:] for line in ours]
    assert called
    return called


@pytest.mark.parametrize("call", pip_calls(CONNECTED) + pip_calls(OFFLINE), ids=" ".join)
def test_pip_knows_the_command_and_its_options(call: list[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pip", call[0], "--help"], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    for option in (word for word in call if word.startswith("-")):
        assert re.search(rf"(^|\s){re.escape(option)}\b", told), option


def test_the_wheel_is_made_of_the_checkout_and_installed_by_its_file() -> None:
    wheel = next(call for call in pip_calls(CONNECTED) if call[0] == "wheel")
    assert wheel[-1] == "." and "--no-deps" in wheel  # of the folder that the lines are typed in
    assert (ROOT / "pyproject.toml").is_file()
    name = tomllib.loads(text_of("pyproject.toml"))["project"]["name"].replace("-", "_")
    kept = wheel[wheel.index("-w") + 1]
    assert [call[-1] for call in pip_calls(OFFLINE)][-1] == f"{kept}/{name}-*.whl"


def test_offline_no_index_is_asked_and_files_are_those_that_were_carried() -> None:
    download = next(call for call in pip_calls(CONNECTED) if call[0] == "download")
    lock, kept = (download[download.index(option) + 1] for option in ("-r", "-d"))
    assert (ROOT / lock).is_file()
    assert ["cp", lock, kept] in CONNECTED
    for call in pip_calls(OFFLINE):
        assert "--no-index" in call
        assert not any(word.startswith("bleep-cli") for word in call)
    first = pip_calls(OFFLINE)[0]
    assert first[first.index("--find-links") + 1] == kept
    assert first[first.index("-r") + 1] == f"{kept}/{lock.rpartition('/')[2]}"
    assert "--hash=sha256:" in text_of(lock)
    assert not re.search("^bleep", text_of(lock), re.MULTILINE)


def test_no_page_asks_an_index_for_what_is_not_there() -> None:
    """BLEEP is on no index: pages install it from a checkout."""
    pages = [path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")) if path.name != "releasing.md"]
    assert len(pages) > 10
    asking = re.compile(r"pip install [^\n`]*\bbleep-cli")
    assert not [path.name for path in pages if asking.search(path.read_text(encoding="utf-8"))]
