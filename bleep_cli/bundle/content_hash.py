"""Hashes of a bundle's content; they do not depend on how values are chunked or compressed."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bleep_cli.base.hashing import buffer_of
from bleep_cli.bundle.stored import array_blocks, is_array

if TYPE_CHECKING:
    import zarr
    from zarr.types import AnyArray


def content_sha256(root: zarr.Group, attrs: Mapping[str, Any]) -> str:
    """Hash of every array's path, shape and values, and of the attributes; not of how they are stored."""
    digest = hashlib.sha256()
    for name, array in sorted(_arrays(root)):
        head = [name, list(array.shape), array.attrs.asdict()]
        digest.update(json.dumps(head, sort_keys=True).encode())
        for block in array_blocks(array):
            digest.update(buffer_of(block))
    kept = {key: value for key, value in attrs.items() if key != "content_sha256"}
    digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()


def _arrays(group: zarr.Group, prefix: str = "") -> Iterator[tuple[str, AnyArray]]:
    with warnings.catch_warnings(action="ignore"):  # of a file that a file manager left in a folder
        members = group.members()
    for name, member in members:
        if is_array(member):
            yield prefix + name, member
        else:
            yield from _arrays(member, f"{prefix}{name}/")
