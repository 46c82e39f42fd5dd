"""Gene names: Ensembl versions, duplicates, panels that differ between sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bleep_cli.base.text import counted
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.types import Bool, Section, Str

if TYPE_CHECKING:
    from scipy import sparse

ENSEMBL = re.compile(r"^(ENS[A-Z]*G\d{11})(\.\d+)?$")


def strip_version(gene_id: str) -> str:
    """``ENSG00000141510.18`` → ``ENSG00000141510``; anything else unchanged."""
    match = ENSEMBL.match(gene_id)
    return match.group(1) if match else gene_id


def is_ensembl(gene_ids: Str) -> bool:
    """Whether most ids are Ensembl gene ids."""
    return bool(len(gene_ids)) and sum(bool(ENSEMBL.match(g)) for g in gene_ids) > len(gene_ids) / 2


def symbol_columns(symbols: Str, keys: Str) -> dict[str, int]:
    """The column of each symbol; of several columns of one symbol that of the smallest key, the gene that
    :func:`unique_symbols` leaves the plain name."""
    chosen: dict[str, int] = {}
    for column, symbol in enumerate(map(str, symbols)):
        other = chosen.setdefault(symbol, column)
        if str(keys[column]) < str(keys[other]):
            chosen[symbol] = column
    return chosen


def sum_duplicates(counts: sparse.csr_matrix, keys: Str) -> tuple[sparse.csr_matrix, Str, list[int], int]:
    """Adds up the columns of one key.

    ``counts`` CSR[n, g], ``keys`` str[g] → (CSR[n, u], unique keys in order of first appearance, the first
    column of each, number of columns that went into another).
    """
    first: dict[str, int] = {}
    for column, key in enumerate(keys):
        first.setdefault(str(key), column)
    if len(first) == len(keys):
        return counts, keys, list(range(len(keys))), 0
    from scipy import sparse

    slot = {key: i for i, key in enumerate(first)}
    target = np.array([slot[str(key)] for key in keys])
    merge = sparse.csr_matrix(
        (np.ones(len(keys), np.float32), (np.arange(len(keys)), target)), shape=(len(keys), len(first))
    )
    return (
        (counts @ merge).tocsr(),
        np.array(list(first), dtype=str),
        list(first.values()),
        len(keys) - len(first),
    )


@dataclass(frozen=True)
class GeneTable:
    """Genes that every section of a cohort measures."""

    keys: Str
    """str[g] what the sections are joined by: Ensembl ids without their version, or symbols."""
    symbols: Str
    """str[g] gene symbols, unique."""
    columns: dict[str, list[int]]
    """By section id, the g columns of that section."""
    findings: tuple[Finding, ...]
    """What was left out or renamed."""


def join_genes(sections: Sequence[Section]) -> GeneTable:
    """The genes present in every section, in the order of the first one.

    Joined by Ensembl id where all sections have them, by symbol otherwise.
    Raises ``ReferenceError`` when nothing is shared.
    """
    by_id = all(is_ensembl(section.gene_ids) for section in sections)
    slots = [symbol_columns(s.gene_ids if by_id else s.symbols, s.gene_ids) for s in sections]
    shared = [key for key in slots[0] if all(key in slot for slot in slots[1:])]
    if not shared:
        raise ReferenceError(
            "the sections share no gene: "
            + ", ".join(f"{s.id} has {s.symbols[0]}, ..." for s in sections[:3] if len(s.symbols))
        )
    columns = {s.id: [slot[key] for key in shared] for s, slot in zip(sections, slots, strict=True)}
    first = sections[0]
    symbols, renamed = unique_symbols(first.symbols[columns[first.id]], np.array(shared, dtype=str))
    findings = [
        Finding(
            "genes-not-shared",
            f"{len(s.symbols) - len(shared)} of {len(s.symbols)} genes are not in every section",
            s.id,
        )
        for s in sections
        if len(s.symbols) > len(shared)
    ]
    if renamed:
        told = counted(renamed, "duplicate symbol carries its", "duplicate symbols carry their")
        findings.append(Finding("symbols-renamed", f"{told} gene id"))
    return GeneTable(np.array(shared, dtype=str), symbols, columns, tuple(findings))


def plain_names(symbols: Str, keys: Str) -> Bool:
    """Which genes carry their symbol plain, bool[g]: all but those that :func:`unique_symbols` had to rename, so
    that every symbol is there once."""
    there = set(map(str, symbols))
    named = zip(map(str, symbols), map(str, keys), strict=True)
    return np.array([not (s.endswith(f"-{k}") and s[: -len(k) - 1] in there) for s, k in named], dtype=bool)


def unique_symbols(symbols: Str, keys: Str) -> tuple[Str, int]:
    """Symbols made unique by the gene id: of several genes of one symbol the smallest id keeps it plain."""
    owner: dict[str, str] = {}
    for symbol, key in zip(symbols, keys, strict=True):
        owner[str(symbol)] = min(owner.get(str(symbol), str(key)), str(key))
    out = [str(s) if owner[str(s)] == str(k) else f"{s}-{k}" for s, k in zip(symbols, keys, strict=True)]
    return np.array(out, dtype=str), sum(a != str(b) for a, b in zip(out, symbols, strict=True))
