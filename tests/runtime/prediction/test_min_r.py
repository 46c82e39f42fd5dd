"""Genes that a reference predicts badly: marked, or left out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest

from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import UsageError
from bleep_cli.outputs.blocks import of_genes
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.read import open_result
from bleep_cli.prediction.genes_kept import genes_kept
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.parts import Built

R = np.array([0.1, np.nan, 0.5, 0.3, -0.2, 0.9, 0.0, 0.4, 0.2, 0.31, 0.29, 0.6], np.float32)
GOOD = [2, 3, 5, 7, 9, 11]


@pytest.fixture
def bundle(small_built: Built, tmp_path: Path) -> Bundle:
    path = tmp_path / "ref.zarr.zip"
    write_bundle(path, small_built.info, replace(small_built.arrays, gene_columns={"heldout_r": R}))
    return open_bundle(path)


def test_genes_are_marked(bundle: Bundle) -> None:
    columns, said = genes_kept(bundle, PredictOptions(min_r=0.3))
    assert columns.tolist() == list(range(12))
    assert np.flatnonzero(said["reliable"]).tolist() == GOOD


def test_genes_are_left_out(bundle: Bundle) -> None:
    columns, said = genes_kept(bundle, PredictOptions(min_r=0.3, drop_unreliable=True, genes=("GENE5", "GENE0")))
    assert columns.tolist() == [5]
    assert said["reliable"].tolist() == [True] and said["heldout_r"].tolist() == [R[5]]


def test_none_left_none_known_and_what_cannot_be_are_refused(bundle: Bundle, small_bundle: Path) -> None:
    with pytest.raises(UsageError, match="no gene that is asked for reaches it"):
        genes_kept(bundle, PredictOptions(min_r=0.95, drop_unreliable=True))
    with pytest.raises(UsageError, match="does not say how well its genes are predicted"):
        genes_kept(open_bundle(small_bundle), PredictOptions(min_r=0.3))
    with pytest.raises(UsageError, match="from -1 to 1"):
        PredictOptions(min_r=3)
    with pytest.raises(UsageError, match="leaves out genes below"):
        PredictOptions(drop_unreliable=True)


def test_a_result_says_it_and_is_read_back(bundle: Bundle, query_slide: Path, tmp_path: Path) -> None:
    prediction = Predictor(bundle, PredictOptions(min_r=0.3, device="cpu")).predict(query_slide, mpp=4.0)
    path = tmp_path / "out.h5ad"
    write_h5ad(prediction, path)
    np.testing.assert_array_equal(anndata.read_h5ad(path).var["heldout_r"].to_numpy(), R)
    again = of_genes(open_result(path), ["GENE3", "GENE0"])
    assert again.var["reliable"].tolist() == [True, False]
    np.testing.assert_array_equal(again.var["heldout_r"], R[[3, 0]])
    assert prediction.provenance["reliability"]["per_gene"] == "not available"
