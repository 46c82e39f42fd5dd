"""Hashes of a bundle's content; they do not depend on how values are chunked or compressed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from bleep_cli.base.hashing import buffer_of
from bleep_cli.bundle.storage.arrays import Group, array_blocks


def content_sha256(root: Group, attrs: Mapping[str, Any]) -> str:
    """Hash of every array's path, shape and values, and of the attributes; not of how they are stored."""
    digest = hashlib.sha256()
    for name, array in root.arrays().items():
        head = [name, list(array.shape), dict(array.attrs)]
        digest.update(json.dumps(head, sort_keys=True).encode())
        for block in array_blocks(array):
            digest.update(buffer_of(block))
    kept = {key: value for key, value in attrs.items() if key != "content_sha256"}
    digest.update(json.dumps(kept, sort_keys=True).encode())
    return digest.hexdigest()
