"""What a bundle or a slide holds, as a record and as lines for a person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bleep_cli.base.text import counted
from bleep_cli.bundle.index.graph import GRAPH
from bleep_cli.bundle.index.lists import CENTRES, LISTS
from bleep_cli.bundle.open import open_bundle, stored_costs
from bleep_cli.bundle.verify import verify as verify_bundle
from bleep_cli.checks.derived import derived
from bleep_cli.types import Progress, no_progress


def inspect_bundle(
    path: Path,
    *,
    verify: bool = False,
    ref_sha256: str | None = None,
    ref_key: Path | None = None,
    progress: Progress = no_progress,
) -> tuple[dict[str, Any], list[str], bool]:
    """Record, lines, and whether every check held (true without ``verify``); ``ref_sha256`` and ``ref_key`` are
    what :func:`~bleep_cli.bundle.open.open_bundle` asks of a bundle."""
    bundle = open_bundle(path, ref_sha256, ref_key)
    info = bundle.info
    checks = [*verify_bundle(bundle, progress), *derived(bundle, progress)] if verify else []
    graph = dict(bundle.array(GRAPH).attrs) if GRAPH in bundle.root else None
    lists = dict(bundle.array(CENTRES).attrs) if LISTS in bundle.root else None
    costs = stored_costs(bundle.root)
    fields = " + ".join(f"{um:g}" for um in info.tile.um)
    record = {
        "name": bundle.name,
        "content_sha256": bundle.content_sha256,
        "signed_by": bundle.signed_by,
        "parent_sha256": info.parent_sha256,
        "merged_sha256": list(info.merged_sha256),
        "encoding_version": bundle.attrs["encoding-version"],
        "spots": bundle.n_spots,
        "genes": len(bundle.symbols),
        "panel": len(bundle.panel),
        "dimensions": bundle.array("embeddings/image").shape[1],
        "tile": {"px": info.tile.px, "um": list(info.tile.um)},
        "k": info.k,
        "key": info.key,
        "aggregation": info.aggregation,
        "views": info.views,
        "recommended_views": info.recommended_views,
        "target_sum": info.target_sum,
        "expression_precision": info.expression_precision,
        "index": graph,
        "lists": lists,
        "precisions": {chosen: cost.attrs() for chosen, cost in costs.items()},
        "sections": [vars(section) for section in info.sections],
        "species": info.species,
        "licence": info.licence,
        "citation": info.citation,
        "intended_use": info.intended_use,
        "reliability": dict(info.reliability) or None,
        "findings": [finding.plain() for finding in info.findings],
        "checks": [vars(check) for check in checks],
    }
    size = f"{counted(bundle.n_spots, 'spot')} × {counted(len(bundle.symbols), 'gene')}"
    lines = [
        f"{bundle.name}: BLEEP reference, format {record['encoding_version']}, {bundle.content_sha256[:12]}",
        f"  {size}, log1p of counts per {info.target_sum:,.0f}",
        f"  tile {fields} µm at {info.tile.px} px; K {info.k}, {info.aggregation}; key {info.key}; "
        f"views {info.views} at build, {info.recommended_views} recommended",
        f"  index: {_indexes(lists, graph)}",
    ]
    lines += [f"  signed by {bundle.signed_by}"] if bundle.signed_by else []
    lines += [f"  {chosen} tower: {cost.line()}" for chosen, cost in costs.items()]
    lines += [f"  section {s.id}: donor {s.donor}, {counted(s.n, 'spot')}" for s in info.sections]
    for label in ("species", "licence", "citation", "intended_use"):
        lines += [f"  {label.replace('_', ' ')}: {record[label]}"] if record[label] else []
    lines += [f"  {finding.severity} when it was built: {finding}" for finding in info.findings]
    lines += [f"  {'ok    ' if check.ok else 'FAILED'} {check.name}: {check.detail}" for check in checks]
    return record, lines, all(check.ok for check in checks)


def _indexes(lists: dict[str, Any] | None, graph: dict[str, Any] | None) -> str:
    told = [] if lists is None else [_lists(lists)]
    told += [] if graph is None else [_graph(graph)]
    return "; ".join(told) or "none, search is exact"


def _lists(attrs: dict[str, Any]) -> str:
    probes, k, recall = (attrs.get(name, "not stated") for name in ("probes", "recall_k", "recall"))
    return f"lists, {probes} looked into, recall@{k} {recall}"


def _graph(attrs: dict[str, Any]) -> str:
    if "recall" not in attrs:
        return "HNSW, of a recall it does not state (verifying measures it)"
    m, ef, k, recall = (attrs.get(name, "not stated") for name in ("M", "ef", "recall_k", "recall"))
    return f"HNSW, M {m}, ef {ef}, recall@{k} {recall}"
