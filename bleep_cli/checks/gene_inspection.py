"""What a bundle says of how well its genes are predicted, as a record and as lines for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.bundle.learned.per_gene import COLUMNS
from bleep_cli.bundle.open import open_bundle

_HEADING = "  gene               r   [95 % interval]   rank    MAE  var. ratio  mean measured"
_GROUPS = {"donor": "one donor", "section": "one section", "block": "one part of the section"}


def inspect_genes(
    path: Path, genes: Sequence[str] | None, *, ref_sha256: str | None = None, ref_key: Path | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Record and lines of ``genes`` by symbol or id, of all for None, then the best first; ``ref_sha256`` and
    ``ref_key`` are what :func:`~bleep_cli.bundle.open.open_bundle` asks of a bundle.

    ``UsageError`` for genes that are not there. A bundle that does not know says so; numbers that are not known
    are null.
    """
    bundle = open_bundle(path, ref_sha256, ref_key)
    rows, known = bundle.gene_rows(genes), bundle.gene_columns()
    columns = {name: known[name] for name in COLUMNS if name in known}
    record: dict[str, Any] = {"name": bundle.name, "content_sha256": bundle.content_sha256}
    record["reliability"] = dict(bundle.info.reliability) or None
    if "heldout_r" not in columns:
        told = f"{bundle.name} does not say how well its genes are predicted; build it anew to have it measured"
        return record | {"genes": []}, [told]
    if genes is None:
        rows = rows[np.argsort(-columns["heldout_r"][rows], kind="stable")]
    record["genes"] = [
        {"symbol": str(bundle.symbols[row]), "id": str(bundle.gene_ids[row])}
        | {name: _plain(values[row]) for name, values in columns.items()}
        for row in rows
    ]
    return record, [measured_by(bundle.info.reliability), _HEADING, *map(_line, record["genes"])]


def measured_by(said: Mapping[str, Any]) -> str:
    """What the numbers per gene stand on, in a sentence without a full stop."""
    held = f"r over spots, {_GROUPS.get(str(said.get('left_out')), 'some spots')} left out at a time"
    seen = "; the towers have seen those spots: too good" if said.get("towers") == "seen" else ""
    return f"{held} ({said.get('spots', '?')} spots){seen}"


def _line(gene: Mapping[str, Any]) -> str:
    def number(name: str, form: str) -> str:
        return "-" if gene.get(name) is None else format(gene[name], form)

    r, rank = number("heldout_r", ".2f"), number("heldout_rank", ".0f")
    interval = f"[{number('heldout_r_low', '.2f')}, {number('heldout_r_high', '.2f')}]"
    return (
        f"  {gene['symbol']:<14} {r:>5}   {interval:>15} {rank:>6} "
        f"{number('heldout_mae', '.3f'):>6}  {number('heldout_variance_ratio', '.2f'):>10}  "
        f"{number('measured_mean', '.3f'):>13}"
    )


def _plain(value: np.floating[Any]) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
