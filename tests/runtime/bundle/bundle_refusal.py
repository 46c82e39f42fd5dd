"""What every refusal of a bundle has to be: one line, of the reference's class, that names no folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.errors import ReferenceError


def refused(path: Path, match: str, read: Callable[[Bundle], Any] = lambda bundle: None) -> None:
    with pytest.raises(ReferenceError, match=match) as caught:
        read(open_bundle(path))
    told = str(caught.value)
    assert len(told.splitlines()) == 1 and str(path.parent) not in told and caught.value.exit_code == 4
