"""The code blocks of README.md and docs/*.md, and the commands that they would run, as bash expands them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from project_text import project_files, text_of

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PROMPT = re.compile(r"^\w*\$ +", re.MULTILINE)
SPAN = re.compile(r"`(bleep(?:-train)? [^`]+)`")
SHELL = ("bash", "console")
PAGES = tuple(sorted(f for f in project_files() if f == "README.md" or re.fullmatch(r"docs/[\w-]+\.md", f)))
# Nothing is found on the path, so whatever is no builtin comes here: it is written down, not run.
RECORDER = """
PATH=/nowhere
command_not_found_handle() { printf '%s\\0' "$BLOCK" "$@" '' >> "$RECORD"; }
"""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: str
    line: int
    """Of its first line."""
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page."""
    text = text_of(page)
    return [Block(page, text.count("\n", 0, m.start()) + 2, m[1], m[2]) for m in BLOCK.finditer(text)]


def script(block: Block) -> str:
    """What is typed: all of a bash block; of a console what stands behind prompts, on lines that go on, too."""
    if block.language == "bash":
        return block.text
    lines = re.findall(r"^\w*\$ (?:.*\\\n)*.*\n", block.text, re.MULTILINE)
    return PROMPT.sub("", "".join(lines))


def commands(page: str, folder: Path) -> list[tuple[Block, list[str]]]:
    """(block, words) of every command in the shell blocks of a page, expanded by bash, none of them run.

    The blocks follow one another in one shell in a new ``folder``, so that what one of them exports holds in the
    next. ``AssertionError`` for a block that is no bash.
    """
    told = [block for block in blocks(page) if block.language in SHELL]
    folder.mkdir(exist_ok=True)
    record = folder / "record"
    record.touch()
    lines = [RECORDER]
    for number, block in enumerate(told):
        file = folder / f"block-{number}"
        file.write_text(script(block), encoding="utf-8")
        checked = subprocess.run(["bash", "-n", str(file)], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, f"{block}: {checked.stderr}"
        lines.append(f"BLOCK={number}; . '{file}'")
    (folder / "here").mkdir()
    subprocess.run(
        ["bash", "-c", "\n".join([*lines, "wait"])], cwd=folder / "here", env={"RECORD": str(record)},
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    found = [entry.split("\0") for entry in record.read_text(encoding="utf-8").split("\0\0") if entry]
    return [(told[int(number)], words) for number, *words in found]


def spans(page: str) -> Iterator[list[str]]:
    """Words of every ``bleep ...`` in the running text."""
    for found in SPAN.findall(" ".join(BLOCK.sub("", text_of(page)).split())):
        yield found.split()
