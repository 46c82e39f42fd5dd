"""Sections → what the towers are trained on: genes, panel, log1p expression, cached tiles and features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import UsageError
from bleep_cli.genes.names import GeneTable, join_genes
from bleep_cli.genes.normalise import detected, log1p_normalise
from bleep_cli.genes.panel import most_variable
from bleep_cli.types import F32, I64, Section, Str
from bleep_train.config.schema import DataConfig
from bleep_train.data.harmonise import harmonise

if TYPE_CHECKING:
    from scipy import sparse


@dataclass(frozen=True)
class TrainingSet:
    """What the towers of a run are trained on: n spots, p panel genes."""

    sections: tuple[Section, ...]
    """In the order of the spots."""
    panel_keys: Str
    """str[p] what the cohort's genes are told apart by: ids, or symbols"""
    panel: F32
    """f32[n, p] input of the expression tower: log1p, or harmonised log1p"""
    log1p: F32
    """f32[n, p] the same before harmonising"""
    section_of: I64
    """i64[n] position in ``sections``"""
    notes: tuple[str, ...]
    """What joining and choosing had to drop or repair."""
    leaked: tuple[Section, ...] = ()
    """Protocol "paper" only: held-out sections that the panel and Harmony were fitted with."""
    leaked_panel: F32 | None = None
    """f32[m, p] what ``panel`` would hold of them; training never sees it"""

    @property
    def harmonised(self) -> F32 | None:
        """What the expression tower takes in place of log1p; None where that is what it takes."""
        return None if self.panel is self.log1p else self.panel


def prepare(
    sections: Sequence[Section], config: DataConfig, seed: int, leaked: Sequence[Section] = ()
) -> TrainingSet:
    """Joins the genes, picks the panel and normalises; no held-out section must be among ``sections``.

    ``leaked`` held-out sections that enter the panel and Harmony all the same, as in the published code. Raises
    ``UsageError`` for such sections under any protocol but "paper".
    """
    if leaked and config.protocol != "paper":
        raise UsageError(
            f"held-out sections {', '.join(s.id for s in leaked)} must not be prepared with the training "
            'sections; only data.protocol = "paper" does so'
        )
    joint, n = [*sections, *leaked], sum(len(s.barcodes) for s in sections)
    table = join_genes(joint)
    expression = [log1p_normalise(s.counts, config.target_sum)[:, table.columns[s.id]] for s in joint]
    columns = choose_panel(joint, table, expression, config)
    measured = np.concatenate([e[:, columns].toarray() for e in expression])
    section_of = np.repeat(np.arange(len(sections)), [len(s.barcodes) for s in sections])
    ids = [s.id for s in joint for _ in s.barcodes]
    towers_input = harmonise(measured, ids, seed) if config.harmony else measured
    log1p = measured[:n]
    notes = [*map(str, table.findings), *(str(finding) for s in joint for finding in s.findings)]
    if leaked:
        notes.append(_leak_note(leaked, config))
    return TrainingSet(
        sections=tuple(sections),
        panel_keys=table.keys[columns],
        panel=towers_input[:n] if config.harmony else log1p,
        log1p=log1p,
        section_of=section_of,
        notes=tuple(notes),
        leaked=tuple(leaked),
        leaked_panel=towers_input[n:] if leaked else None,
    )


def _leak_note(leaked: Sequence[Section], config: DataConfig) -> str:
    what = "the panel and the Harmony fit" if config.harmony else "the panel"
    return (
        f"protocol paper: held-out sections {', '.join(s.id for s in leaked)} entered {what}, as in the published "
        "code; results on them are flattered by that leak"
    )


def choose_panel(
    sections: Sequence[Section], table: GeneTable, expression: Sequence[sparse.csr_matrix], config: DataConfig
) -> I64:
    """Columns of the joined table that feed the expression tower, ascending."""
    spots = sum(len(s.barcodes) for s in sections)
    seen = sum(detected(s.counts)[table.columns[s.id]] for s in sections)
    enough = np.asarray(seen >= max(1, config.min_spots * spots))
    if config.panel == "hvg":
        chosen = np.zeros(len(enough), bool)
        for matrix in expression:
            chosen |= highly_variable(matrix, config.panel_genes)
        return np.flatnonzero(chosen & enough)
    return most_variable(expression, config.panel_genes, enough)


def highly_variable(log1p: sparse.csr_matrix, n_genes: int) -> NDArray[np.bool_]:
    """bool[g]: scanpy's highly variable genes of one section (paper section 4: 1,000 per section)."""
    import anndata
    import scanpy as sc

    adata = anndata.AnnData(log1p.copy())
    adata.uns["log1p"] = {"base": None}
    sc.pp.highly_variable_genes(adata, n_top_genes=min(n_genes, adata.n_vars))
    return np.asarray(adata.var["highly_variable"], bool)
