"""h5ad by the CELLxGENE schema: what its validator says of it, and what anndata reads of it."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from made_prediction import SLIDE, SYMBOLS, make_prediction

from bleep_cli.batch.kinds import left_out
from bleep_cli.errors import UsageError
from bleep_cli.outputs.exports.cellxgene import write_cellxgene
from bleep_cli.outputs.read import open_result
from bleep_cli.types import F32, Prediction

IDS = np.array([f"ENSG00000{i}" for i in (141736, 196126, 198804, 160868, 163631, 118271, 171557)])
"""Genes that GENCODE knows."""
ABSENT = {
    f"Dataframe 'obs' is missing column '{term}_ontology_term_id'." for term in ("assay", "disease", "tissue")
}
FILLED = {
    "assay_ontology_term_id": "EFO:0008994",  # spatial transcriptomics
    "disease_ontology_term_id": "PATO:0000461",
    "tissue_ontology_term_id": "UBERON:0002107",
}
RAW = {
    "All non-zero values in raw matrix must be positive integers of type numpy.float32.",
    "Raw data is missing: there is only a normalized matrix in X and no raw.X",
}
VALIDATOR = shutil.which("cellxgene-schema")


def human() -> tuple[Prediction, F32]:
    prediction, expression = make_prediction()
    return replace(prediction, gene_ids=IDS), expression


def written(folder: Path, prediction: Prediction) -> anndata.AnnData:
    write_cellxgene(prediction, folder / "a.cellxgene.h5ad", force=True)
    return anndata.read_h5ad(folder / "a.cellxgene.h5ad")


def test_genes_go_by_their_ensembl_ids(tmp_path: Path) -> None:
    prediction, expression = human()
    adata = written(tmp_path, prediction)
    assert adata.var_names.tolist() == IDS.tolist()
    assert adata.var["gene_symbols"].tolist() == SYMBOLS.tolist()
    assert not adata.var["feature_is_filtered"].any()
    np.testing.assert_array_equal(adata.X, expression)
    assert adata.obs_names.tolist() == prediction.grid.tile_id.tolist()
    np.testing.assert_array_equal(adata.obsm["X_slide"], prediction.grid.centre_l0 * [1, -1])
    assert adata.uns["default_embedding"] in adata.obsm
    assert adata.uns["organism_ontology_term_id"] == "NCBITaxon:9606"
    assert adata.uns["title"] == f"Expression predicted from H&E: {SLIDE}"
    assert adata.uns["bleep_prediction"]["made_for"] == "CELLxGENE schema 7.1.0"
    assert adata.uns["bleep_prediction"]["slide"]["sha256"] == "ab" * 32


def test_what_is_not_known_is_unknown_and_nothing_is_primary_data(tmp_path: Path) -> None:
    obs = written(tmp_path, human()[0]).obs
    stated = {name: set(obs[name]) for name in obs if name.endswith("_term_id") or name == "donor_id"}
    assert set().union(*stated.values()) == {"unknown"}
    assert not {name for name in obs if name.startswith(("assay", "disease", "tissue_ontology"))}
    assert obs["is_primary_data"].dtype == bool and not obs["is_primary_data"].any()
    assert obs["on_tissue"].tolist() == [int(i != 3) for i in range(60)]
    mouse = replace(human()[0], gene_ids=np.array([f"ENSMUSG{i:011d}" for i in range(7)]))
    adata = written(tmp_path, mouse)
    assert set(adata.obs["self_reported_ethnicity_ontology_term_id"]) == {"na"}
    assert adata.uns["organism_ontology_term_id"] == "NCBITaxon:10090"


def test_genes_without_ensembl_ids_are_left_out_and_told(tmp_path: Path) -> None:
    prediction, expression = human()
    some = replace(prediction, gene_ids=np.array([*IDS[:5], "ERCC-00002", "tdTomato"]))
    adata = written(tmp_path, some)
    assert adata.var_names.tolist() == IDS[:5].tolist()
    np.testing.assert_array_equal(adata.X, expression[:, :5])
    (told,) = left_out(["h5ad", "cellxgene"], some, "s.svs")
    assert (told.code, told.what) == (
        "genes-left-out",
        "cellxgene holds 5 of 7 genes, the others have no Ensembl ids",
    )
    assert not left_out(["cellxgene"], prediction, "s.svs")


@pytest.mark.parametrize("ids", [SYMBOLS, np.array([f"ENSGALG{i:011d}" for i in range(7)])])
def test_other_genes_are_refused(tmp_path: Path, ids: Any) -> None:
    with pytest.raises(UsageError, match=r"format cellxgene needs Ensembl ids of Homo sapiens.*choose h5ad"):
        write_cellxgene(replace(human()[0], gene_ids=ids), tmp_path / "a.h5ad")
    assert not list(tmp_path.iterdir())


def test_it_is_not_taken_for_a_result(tmp_path: Path) -> None:
    written(tmp_path, human()[0])
    with pytest.raises(UsageError, match="is no result of bleep: give an h5ad or a zarr"):
        open_result(tmp_path / "a.cellxgene.h5ad")


def errors_of(path: Path) -> set[str]:
    assert VALIDATOR is not None
    done = subprocess.run([VALIDATOR, "validate", path], capture_output=True, text=True, check=False)
    assert "Validation complete" in done.stderr, done.stderr
    return set(re.findall(r"ERROR: (.*)", done.stderr))


@pytest.mark.slow
@pytest.mark.skipif(
    VALIDATOR is None, reason="cellxgene-schema is not on the path; it needs an environment of its own"
)
def test_its_validator_misses_what_a_prediction_cannot_know(tmp_path: Path) -> None:
    """Three terms; and once these are filled in by hand, raw counts."""
    adata = written(tmp_path, human()[0])
    assert errors_of(tmp_path / "a.cellxgene.h5ad") == ABSENT
    filled: Mapping[str, str] = FILLED
    adata.obs = adata.obs.assign(**filled)
    adata.write_h5ad(tmp_path / "filled.h5ad")
    assert errors_of(tmp_path / "filled.h5ad") == RAW
