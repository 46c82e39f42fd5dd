"""What tests of stored indexes share: what counts as large, which search is chosen, what ``--verify`` says."""

from __future__ import annotations

from pathlib import Path

from bleep_cli.bundle.index.choose import choose_index
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.choices import Key
from bleep_cli.types import Index

LARGE = 100  # spots; a reference of more counts as large


def index_of(bundle: Bundle, key: Key = "expression", exact_up_to: int = LARGE) -> Index:
    return choose_index(bundle.root, bundle.name, bundle.embedding_rows(key), exact_up_to)


def index_check(path: Path) -> tuple[bool, str]:
    """Whether the index of a bundle held, and the line about it."""
    [found] = [check for check in verify(open_bundle(path)) if check.name == "index"]
    return found.ok, found.detail
