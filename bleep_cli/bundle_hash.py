"""Hashes of a bundle's content; they do not depend on how values are chunked or compressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bleep_cli.rows import Rows, row_blocks

ROW_BLOCK = 16_384  # rows hashed at a time


def content_sha256(root: Any, attrs: Mapping[str, Any]) -> str:
    """Hash of every array's path, shape and values, and of the attributes; not of how they are stored."""
    digest = hashlib.sha256()
    for name, array in sorted(_arrays(root)):
        head = [name, list(array.shape), array.attrs.asdict()]
        digest.update(json.dumps(head, sort_keys=True).encode())
        for block in row_blocks(array, array.chunks[0] if array.ndim else 1):
            digest.update(_buffer(block))
    kept = {key: value for key, value in attrs.items() if key != "content_sha256"}
    digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()


def sha256_of(rows: Rows) -> str:
    """Hash of f32 values in C order, read some rows at a time."""
    digest = hashlib.sha256()
    for block in row_blocks(rows, ROW_BLOCK):
        digest.update(_buffer(np.asarray(block)))
    return digest.hexdigest()


def _arrays(group: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, member in group.members():
        if hasattr(member, "shape"):
            yield prefix + name, member
        else:
            yield from _arrays(member, f"{prefix}{name}/")


def _buffer(block: Any) -> Any:
    if block.dtype.kind in "fiu":
        return np.ascontiguousarray(block, block.dtype.newbyteorder("<")).view(np.uint8).data
    return "".join(f"{len(text)}:{text}" for text in map(str, block)).encode()  # no two columns read alike
