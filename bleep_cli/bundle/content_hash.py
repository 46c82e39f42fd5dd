"""Hashes of a bundle's content; they do not depend on how values are chunked or compressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from bleep_cli.base.hashing import buffer_of
from bleep_cli.base.rows import row_blocks


def content_sha256(root: Any, attrs: Mapping[str, Any]) -> str:
    """Hash of every array's path, shape and values, and of the attributes; not of how they are stored."""
    digest = hashlib.sha256()
    for name, array in sorted(_arrays(root)):
        head = [name, list(array.shape), array.attrs.asdict()]
        digest.update(json.dumps(head, sort_keys=True).encode())
        for block in row_blocks(array, array.chunks[0] if array.ndim else 1):
            digest.update(buffer_of(block))
    kept = {key: value for key, value in attrs.items() if key != "content_sha256"}
    digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()


def _arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, member in group.members():
        if hasattr(member, "shape"):
            yield prefix + name, member
        else:
            yield from _arrays(member, f"{prefix}{name}/")
