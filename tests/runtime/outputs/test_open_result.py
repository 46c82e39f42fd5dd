"""A written result is read back as the prediction that it was made from, or refused in one line."""

from __future__ import annotations

import shutil
import tracemalloc
import warnings
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import anndata
import h5py
import numpy as np
import pytest
from made_prediction import SLIDE, blocks_of, make_prediction
from scipy import sparse

from bleep_cli.errors import BleepError, OutputError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.outputs import read
from bleep_cli.outputs.formats import FORMATS, RESULTS
from bleep_cli.outputs.read import open_result
from bleep_cli.types import Prediction

COARSE = Finding("slide-coarse", "1.0 µm per pixel where 0.5 would do", "s.svs", "give a finer scan")
KINDS = list(RESULTS)


def whole(prediction: Prediction) -> np.ndarray:
    return np.concatenate([block for _, block in prediction])


def save(adata: anndata.AnnData, path: Path) -> None:
    """As AnnData writes it: Zarr still by its second version."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Writing zarr v2")
        adata.write_h5ad(path) if path.suffix == ".h5ad" else adata.write_zarr(path)


def made() -> tuple[Prediction, np.ndarray]:
    """A prediction with a finding, a column of truth values, and nothing in its provenance that is left out."""
    prediction, expression = make_prediction()
    said = {
        "slide": {"name": "s.svs", "sha256": "ab" * 32, "mpp": 0.5},
        "options": {"k": 5, "genes": []},
        "sections": [{"id": "C1", "n": 180}, {"id": "C2", "n": 2**40}],
        "findings": [COARSE.plain()],
    }
    odd = prediction.obs["similarity"] > 0.5
    prediction = replace(
        prediction,
        provenance=said,
        findings=(COARSE,),
        obs={**prediction.obs, "out_of_focus": odd},
        obsm={"offset": np.arange(120, dtype=np.float32).reshape(60, 2)},
        var={"reference_p99": np.arange(7, dtype=np.float32)},
    )
    return prediction, expression


@pytest.fixture(params=KINDS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"a.{request.param}"
    FORMATS[request.param].write(made()[0], path)
    return path


def test_what_was_written_is_what_is_opened(written: Path) -> None:
    prediction, expression = made()
    found = open_result(written)
    assert found.slide_id == SLIDE
    for field in fields(prediction.grid):
        np.testing.assert_array_equal(getattr(found.grid, field.name), getattr(prediction.grid, field.name))
    assert found.in_tissue.dtype == bool
    np.testing.assert_array_equal(found.in_tissue, prediction.in_tissue)
    np.testing.assert_array_equal(found.symbols, prediction.symbols)
    np.testing.assert_array_equal(found.gene_ids, prediction.gene_ids)
    np.testing.assert_array_equal(found.neighbours.index, prediction.neighbours.index)
    np.testing.assert_array_equal(found.neighbours.similarity, prediction.neighbours.similarity)
    assert list(found.obs) == ["similarity", "reliability", "out_of_focus"]
    for name, column in prediction.obs.items():
        assert found.obs[name].dtype == column.dtype
        np.testing.assert_array_equal(found.obs[name], column)
    assert list(found.obsm) == ["offset"]
    np.testing.assert_array_equal(found.obsm["offset"], prediction.obsm["offset"])
    assert list(found.var) == ["reference_p99"]
    np.testing.assert_array_equal(found.var["reference_p99"], prediction.var["reference_p99"])
    np.testing.assert_array_equal(found.hires, prediction.hires)
    assert found.hires_scalef == prediction.hires_scalef
    assert found.provenance == prediction.provenance
    assert found.findings == (COARSE,)
    np.testing.assert_array_equal(whole(found), expression)
    np.testing.assert_array_equal(whole(found), expression)  # its blocks can be asked for again


@pytest.mark.parametrize("kind", KINDS)
def test_expression_is_read_in_blocks(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction, _ = make_prediction(rows=128, columns=128, genes=250)
    expression = np.random.default_rng(1).random((16_384, 250), np.float32)
    path = tmp_path / f"a.{kind}"
    FORMATS[kind].write(replace(prediction, blocks=lambda: blocks_of(expression, 1024)), path)
    monkeypatch.setattr(read, "BLOCK_BYTES", 1 << 20)
    found = open_result(path)
    tracemalloc.start()
    rows = 0
    for first, block in found:
        assert first == rows
        np.testing.assert_array_equal(block, expression[first : first + len(block)])
        rows += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == 16_384
    assert peak < expression.nbytes / 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_went_through_other_hands_opens(tmp_path: Path, kind: str) -> None:
    prediction, expression = made()
    FORMATS["h5ad"].write(prediction, tmp_path / "a.h5ad")
    adata = anndata.read_h5ad(tmp_path / "a.h5ad")[10:50, [5, 0, 2]].copy()
    adata.X = sparse.csr_matrix(adata.X)
    adata.obs["cluster"] = "a"
    adata.obs["n_genes"] = np.arange(40)
    path = tmp_path / f"b.{kind}"
    save(adata, path)
    found = open_result(path)
    np.testing.assert_array_equal(whole(found), expression[10:50][:, [5, 0, 2]])
    assert list(found.obs) == ["similarity", "reliability", "out_of_focus", "n_genes"]
    assert list(found.symbols) == list(prediction.symbols[[5, 0, 2]])
    np.testing.assert_array_equal(found.grid.centre_l0, prediction.grid.centre_l0[10:50])


# --- refusals


def refusal(path: Path, error: type[BleepError]) -> str:
    with pytest.raises(error) as caught:
        whole(open_result(path))
    assert "\n" not in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("content", [b"", b"somebody's thesis", b"PK\x03\x04zip"])
def test_what_is_no_result_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.h5ad").write_bytes(content)
    assert refusal(tmp_path / "a.h5ad", UsageError) == (
        "a.h5ad is no result of bleep: give an h5ad or a zarr that bleep predict wrote"
    )


def test_what_is_something_else_is_named(tmp_path: Path, small_bundle: Path) -> None:
    assert refusal(tmp_path / "none.h5ad", UsageError) == "none.h5ad: no such file"
    anndata.AnnData(np.ones((3, 2), np.float32)).write_h5ad(tmp_path / "other.h5ad")
    assert "other.h5ad is no result of bleep" in refusal(tmp_path / "other.h5ad", UsageError)
    (tmp_path / "folder.zarr").mkdir()
    assert "folder.zarr is no result of bleep" in refusal(tmp_path / "folder.zarr", UsageError)
    if small_bundle.is_dir():
        assert "is a reference bundle, no result" in refusal(small_bundle, UsageError)


def with_two_slides(adata: anndata.AnnData) -> None:
    adata.uns["spatial"]["another"] = adata.uns["spatial"][SLIDE]


def with_a_place_unknown(adata: anndata.AnnData) -> None:
    adata.obsm["spatial"][3, 0] = np.nan


def with_a_grey_picture(adata: anndata.AnnData) -> None:
    adata.uns["spatial"][SLIDE]["images"]["hires"] = np.zeros((50, 120), np.uint8)


def with_an_unknown_finding(adata: anndata.AnnData) -> None:
    adata.uns["bleep"]["findings"]["0"]["severity"] = "doom"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (with_two_slides, f"b.* holds 2 slides, not one: another, {SLIDE}"),
        (with_a_place_unknown, "b.* is damaged: its elements do not belong together"),
        (with_a_grey_picture, "b.* is damaged: its elements do not belong together"),
        (with_an_unknown_finding, "b.* is damaged: uns/bleep lacks 'doom'"),
        (lambda adata: adata.obs.pop("tile_id"), "b.* is damaged: obs lacks 'tile_id'"),
        (lambda adata: adata.var.pop("gene_ids"), "b.* is damaged: var lacks 'gene_ids'"),
        (lambda adata: adata.uns.pop("spatial"), "b.* is damaged: it holds no uns/spatial"),
        (lambda adata: adata.obsm.pop("neighbours"), "b.* is damaged: obsm lacks 'neighbours'"),
    ],
)
def test_what_lacks_something_or_does_not_fit_is_refused(
    tmp_path: Path, kind: str, spoil: Callable[[anndata.AnnData], Any], message: str
) -> None:
    FORMATS["h5ad"].write(made()[0], tmp_path / "a.h5ad")
    adata = anndata.read_h5ad(tmp_path / "a.h5ad")
    spoil(adata)
    path = tmp_path / f"b.{kind}"
    save(adata, path)
    assert refusal(path, OutputError) == message.replace("*", kind)


def test_a_file_that_was_cut_off_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    FORMATS["h5ad"].write(made()[0], path)
    whole_file = path.read_bytes()
    for share in (0.02, 0.5, 0.99):
        path.write_bytes(whole_file[: int(share * len(whole_file))])
        assert "a.h5ad is damaged" in refusal(path, OutputError)


def test_expression_that_is_gone_or_changed_is_damage(tmp_path: Path) -> None:
    """Zarr itself would read a chunk that is not there as zeros."""
    path = tmp_path / "a.zarr"
    FORMATS["zarr"].write(made()[0], path)
    shutil.copytree(path, tmp_path / "b.zarr")
    chunk = next(file for file in (path / "X" / "c").rglob("*") if file.is_file())
    chunk.unlink()
    assert refusal(path, OutputError) == "a.zarr is damaged: 1 chunks of X are missing"
    other = tmp_path / "b.zarr" / chunk.relative_to(path)
    data = bytearray(other.read_bytes())
    data[len(data) // 2] ^= 255
    other.write_bytes(data)
    assert "b.zarr is damaged: X cannot be read" in refusal(tmp_path / "b.zarr", OutputError)


def test_expression_of_another_size_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.h5ad"
    FORMATS["h5ad"].write(made()[0], path)
    with h5py.File(path, "r+") as file:
        attrs = dict(file["X"].attrs)
        del file["X"]
        file["X"] = np.zeros((60, 6), np.float32)
        file["X"].attrs.update(attrs)
    assert refusal(path, OutputError) == "a.h5ad is damaged: its elements do not belong together"


def test_tiles_of_nothing_but_zeros_are_whole(tmp_path: Path) -> None:
    prediction, expression = make_prediction()
    path = tmp_path / "a.zarr"
    FORMATS["zarr"].write(replace(prediction, blocks=lambda: blocks_of(0 * expression, 16)), path)
    assert not whole(open_result(path)).any()
