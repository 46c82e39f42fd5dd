"""A prediction as an h5ad by the CELLxGENE schema 7.1.0: genes by Ensembl id, tiles described by ontology terms.

Source: ``schema_definition.yaml`` of cellxgene-schema 7.1.2, the schema's own validator. What neither slide nor
reference tells is "unknown" where the schema allows that, and absent where it does not: assay, disease, tissue and
raw counts (docs/other-programs.md). What its tool adds (``cellxgene-schema add-labels``: ``feature_name``, labels
of terms, the version of the schema) it wants absent as well; symbols are therefore ``var["gene_symbols"]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.errors import UsageError, option
from bleep_cli.genes.names import ENSEMBL, is_ensembl
from bleep_cli.genes.species import TAXON, guessed_species
from bleep_cli.outputs.blocks import of_genes
from bleep_cli.outputs.elements import categorical, elements, table
from bleep_cli.outputs.h5ad import write_anndata
from bleep_cli.types import Prediction, Progress, Str, no_progress

SCHEMA = "7.1.0"
SAME_IN_ALL: Mapping[str, str] = {
    "cell_type_ontology_term_id": "unknown",
    "development_stage_ontology_term_id": "unknown",
    "sex_ontology_term_id": "unknown",
    "donor_id": "unknown",
    "suspension_type": "na",
    "tissue_type": "tissue",
}
"""Columns of ``obs``."""
RENAMED = {"in_tissue": "on_tissue", "array_row": "tile_row", "array_col": "tile_column"}
"""Columns whose own names the schema keeps for Visium."""
EMBEDDING = "X_slide"
"""Of the places of the tiles; "X_spatial" is forbidden, and "spatial" is for measured assays alone."""
HUMAN = "NCBITaxon:9606"


def write_cellxgene(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes ``X`` f32[n, g] of the genes with Ensembl ids, which are the names of ``var``; in ``obs`` what the
    h5ad has there and the columns of the schema; ``obsm["X_slide"]`` f64[n, 2], the tiles' (x, -y) in level-0 px,
    as plots of embeddings have it; in ``uns`` title, organism and ``bleep_prediction``, the provenance.

    The same prediction gives the same bytes. ``UsageError`` where :func:`ensembl_genes` raises it; ``OutputError``
    if ``path`` exists and not ``force``, or if it cannot be written.
    """
    kept = ensembl_genes(prediction.gene_ids, prediction.symbols)
    known = prediction if len(kept) == len(prediction.gene_ids) else of_genes(prediction, kept)
    write_anndata(known, _content(known), {"X": known.blocks}, path, force=force, progress=progress)


def ensembl_genes(gene_ids: Str, symbols: Str) -> list[str]:
    """Those ids that are Ensembl's. ``UsageError`` where most are not, or of a species that the schema lacks."""
    if not is_ensembl(gene_ids) or guessed_species(gene_ids, symbols) not in TAXON:
        raise UsageError(
            f"{option('format')} cellxgene needs Ensembl ids of {', '.join(TAXON)}, and the reference calls its "
            f"genes {gene_ids[0]}, ...; build it of sections that have such ids (var column gene_ids), or choose "
            "h5ad"
        )
    return [str(gene) for gene in gene_ids if ENSEMBL.match(str(gene))]


def _content(prediction: Prediction) -> dict[str, Any]:
    content = elements(prediction)
    taxon = TAXON[guessed_species(prediction.gene_ids, prediction.symbols)]
    genes = {"gene_symbols": prediction.symbols, "feature_is_filtered": np.zeros(len(prediction.symbols), bool)}
    return {
        "obs": _obs(content["obs"], taxon),
        "var": table(prediction.gene_ids, {**genes, **prediction.var}),
        "obsm": {EMBEDDING: prediction.grid.centre_l0 * (1.0, -1.0)},
        "uns": {
            "title": f"Expression predicted from H&E: {prediction.slide_id}",
            "organism_ontology_term_id": taxon,
            "default_embedding": EMBEDDING,
            "bleep_prediction": {"made_for": f"CELLxGENE schema {SCHEMA}", **content["uns"]["bleep"]},
        },
        **{empty: {} for empty in ("varm", "obsp", "varp", "layers")},
    }


def _obs(obs: Any, taxon: str) -> Any:
    """The table of tiles with the columns of the schema."""
    ethnicity = "unknown" if taxon == HUMAN else "na"
    columns = {**SAME_IN_ALL, "self_reported_ethnicity_ontology_term_id": ethnicity}
    same = {name: categorical(np.full(len(obs), value)) for name, value in columns.items()}
    return obs.rename(columns=RENAMED).assign(**same, is_primary_data=False)
