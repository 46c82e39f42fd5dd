"""The lists that a bundle stores of a large reference's embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.rows import Rows
from bleep_cli.bundle.index.measured import HELD_BYTES, SAMPLE_SEED, sample_queries, why_too_few
from bleep_cli.bundle.shapes import array_of
from bleep_cli.bundle.storage.arrays import Group
from bleep_cli.bundle.stored import read_group, reading, stated_number
from bleep_cli.errors import ReferenceError
from bleep_cli.search.exact import ExactIndex
from bleep_cli.search.lists import PROBES, ListIndex, Lists, make_lists
from bleep_cli.search.recall import RECALL_K, tune
from bleep_cli.towers.encoder import are_unit

LISTS = "index/lists"
CENTRES = f"{LISTS}/centres"
DTYPES = {"centres": "<f4", "member": "<i4"}


def usable_lists(root: Group, bundle: str, embeddings: Rows) -> ListIndex | None:
    """Search by the stored lists; None where there are none that may serve ``embeddings`` f32[n, d].

    Raises ``ReferenceError`` for damaged ones, or such as do not fit.
    """
    if LISTS not in root:
        return None
    index, attrs = list_index(root, bundle, embeddings)
    own = attrs.get("embeddings_sha256") == index.embeddings_sha256
    return index if own and not why_too_few(attrs, LISTS) else None


def list_index(root: Group, bundle: str, embeddings: Rows) -> tuple[ListIndex, Mapping[str, Any]]:
    """Search by the lists that the bundle holds, whatever they are of, and what they state."""
    n, dim = embeddings.shape

    def read(path: str) -> NDArray[Any]:
        array = array_of(root, bundle, path)
        if array.nbytes > 8 * n * dim:  # before it is unpacked: no more centres than spots, each in one list
            raise ReferenceError(f"{bundle}: {path} is too large for {n} spots")
        with reading(bundle, path):
            return np.asarray(array[...])

    def made(
        values: Mapping[str, NDArray[Any]], attrs: Mapping[str, Any]
    ) -> tuple[Lists, Mapping[str, Any]] | None:
        centres, member = values["centres"], values["member"]
        fits = centres.ndim == 2 and centres.shape[1] == dim and len(centres) <= n and member.shape == (n,)
        if not fits or not are_unit(centres) or member.min() < 0 or member.max() >= len(centres):
            return None
        probes = stated_number(attrs, "probes", 0, LISTS)
        return (Lists(centres, member, int(probes)), attrs) if 1 <= probes <= len(centres) else None

    found = read_group(root, bundle, LISTS, DTYPES, read, made)
    assert found is not None
    return ListIndex(embeddings, found[0], HELD_BYTES), found[1]


def make_listed(embeddings: Rows, queries: Rows) -> tuple[Lists, dict[str, Any]]:
    """The lists of ``embeddings`` f32[n, d] and their attributes; how many of them are looked into is chosen as
    ``ef`` of a graph is."""
    lists = make_lists(embeddings)
    index = ListIndex(embeddings, lists, HELD_BYTES)
    sample = sample_queries(queries, SAMPLE_SEED)
    wanted = ExactIndex(embeddings).search(sample, RECALL_K).index
    efforts = [probes for probes in PROBES if probes < len(lists.centres)] or [1]
    tuned = tune(lambda probes: index.at(probes).search(sample, RECALL_K).index, wanted, efforts)
    return replace(lists, probes=tuned.effort), {
        "embeddings_sha256": index.embeddings_sha256,
        "probes": tuned.effort,
        "recall": tuned.recall,
        "recall_k": RECALL_K,
    }
