"""Expression on disk: only the chunks of the asked genes and spots are read, and all come in the asked order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from bleep_cli.bundle import write as bundle_write
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.bundle.storage.container import Folder
from bleep_cli.bundle.stored import StoredExpression, rounded
from bleep_cli.bundle.write import write_bundle
from bleep_cli.errors import ReferenceError
from bleep_cli.prediction.expression import impute
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.reference.parts import Built
from bleep_cli.types import F32, Prediction

CHUNK = (100, 5)  # of 252 spots × 12 genes: three chunks of each


@pytest.fixture(scope="module")
def path(small_built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = Path(tmp_path_factory.mktemp("chunks")) / "chunks.zarr"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_write, "EXPRESSION_CHUNK", CHUNK)
        write_bundle(path, small_built.info, small_built.arrays)
    return path


@pytest.fixture
def whole(small_built: Built) -> F32:
    return np.asarray(small_built.arrays.expression[:252].toarray(), np.float32)


@pytest.fixture
def chunks_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The keys of the chunks of expression that are read, e.g. ``c/0/2``."""
    keys: list[str] = []
    real = Folder.read

    def read(folder: Folder, name: str, most: int) -> bytes:
        if name.startswith("expression/c/"):
            keys.append(name.removeprefix("expression/"))
        return real(folder, name, most)

    monkeypatch.setattr(Folder, "read", read)
    return keys


def test_chunks_are_of_spots_and_genes(path: Path, whole: F32) -> None:
    array = open_bundle(path).array("expression")
    assert (array.chunks, array.dtype) == (CHUNK, np.float16)
    np.testing.assert_array_equal(array[...].astype(np.float32), whole)


@pytest.mark.parametrize("columns", [[7, 2], [11], [10, 0, 5], list(range(12)), list(range(11, -1, -1))])
def test_genes_come_in_the_asked_order(path: Path, whole: F32, columns: list[int]) -> None:
    stored = open_bundle(path).expression_rows(np.array(columns))
    assert stored.shape == (252, len(columns))
    np.testing.assert_array_equal(stored[:252], whole[:, columns])
    np.testing.assert_array_equal(stored[90:210], whole[90:210, columns])
    rows = np.array([0, 3, 99, 100, 251])
    np.testing.assert_array_equal(stored.read(rows), whole[rows][:, columns])


@pytest.mark.parametrize(
    ("columns", "wanted"),
    [([2], "0"), ([4, 0], "0"), ([7, 6], "1"), ([11, 0], "02"), (list(range(12)), "012")],
)
def test_only_the_chunks_of_the_asked_genes_are_read(
    path: Path, chunks_read: list[str], columns: list[int], wanted: str
) -> None:
    bundle = open_bundle(path)
    assert chunks_read == []
    for read in (bundle.expression, bundle.expression_to_average):
        chunks_read.clear()
        read(np.array(columns), 1 << 30)
        assert sorted(chunks_read) == [f"c/{row}/{column}" for row in range(3) for column in wanted]


def test_only_the_chunks_of_the_asked_spots_are_read(path: Path, chunks_read: list[str]) -> None:
    stored = open_bundle(path).expression_rows(np.array([11, 0]))
    stored.read(np.array([5, 205]))
    assert sorted(chunks_read) == ["c/0/0", "c/0/2", "c/2/0", "c/2/2"]


@pytest.mark.parametrize("max_bytes", [1, 4 * 3 * 2, 1 << 30])
def test_gene_blocks_cover_all_genes_once(path: Path, whole: F32, max_bytes: int) -> None:
    columns, rows = np.array([11, 1, 10, 0, 7]), np.array([4, 120, 251])
    blocks = list(open_bundle(path).expression_rows(columns).gene_blocks(rows, max_bytes))
    sizes = {1: [1] * 5, 24: [2, 1, 2], 1 << 30: [2, 1, 2]}[max_bytes]  # the genes of a chunk, or fewer
    assert [block.shape for _, block in blocks] == [(3, size) for size in sizes]
    out = np.full((3, 5), np.nan, np.float32)
    for positions, block in blocks:
        assert np.isnan(out[:, positions]).all()
        out[:, positions] = block
    np.testing.assert_array_equal(out, whole[rows][:, columns])


def test_all_genes_are_read_in_one_pass(path: Path, chunks_read: list[str]) -> None:
    for _ in open_bundle(path).expression_rows().gene_blocks(np.arange(252), 1 << 30):
        pass
    assert sorted(chunks_read) == [f"c/{row}/{column}" for row in range(3) for column in range(3)]


def test_a_damaged_chunk_is_named(path: Path, tmp_path: Path) -> None:
    broken = damaged(path, tmp_path, ["c/1/1"])
    stored = open_bundle(broken).expression_rows(np.array([3, 7]))
    np.testing.assert_array_equal(stored[:100], open_bundle(path).expression_rows(np.array([3, 7]))[:100])
    with pytest.raises(ReferenceError, match=r"^chunks\.zarr: expression is damaged"):
        stored[:101]


def damaged(path: Path, folder: Path, chunks: Sequence[str]) -> Path:
    """A copy of the bundle with other bytes in those chunks of expression."""
    import shutil

    broken = Path(shutil.copytree(path, folder / path.name))
    for chunk in chunks:
        (broken / "expression" / chunk).write_bytes(b"damaged" * 10)
    return broken


# --- through the whole prediction


def predict(bundle: Bundle, slide: Path, *genes: str) -> Prediction:
    options = PredictOptions(k=7, views=1, genes=genes or None)
    ready = plan(slide, bundle.info, options)
    try:
        return Predictor(bundle, options).predict_plan(ready)
    finally:
        ready.slide.close()


def values_of(prediction: Prediction) -> F32:
    return np.concatenate([block for _, block in prediction.blocks()])


def test_a_prediction_of_some_genes_reads_no_others(
    path: Path, tmp_path: Path, query_slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other genes' chunks are damaged, and nobody notices in a reference too large to be hashed first."""
    monkeypatch.setattr("bleep_cli.prediction.predictor.HASHED_UNASKED", 0)
    wanted = values_of(predict(open_bundle(path), query_slide))[:, [6, 9]]
    broken = damaged(path, tmp_path, [f"c/{row}/{column}" for row in range(3) for column in (0, 2)])
    found = values_of(predict(open_bundle(broken), query_slide, "GENE6", "GENE9"))
    np.testing.assert_array_equal(found, wanted)
    with pytest.raises(ReferenceError, match="expression is damaged"):
        values_of(predict(open_bundle(broken), query_slide, "GENE6", "GENE10"))


@pytest.mark.parametrize("genes", [(), ("GENE11", "GENE3")])
def test_expression_that_does_not_fit_is_left_on_disk_and_gives_the_same_bits(
    path: Path, query_slide: Path, chunks_read: list[str], monkeypatch: pytest.MonkeyPatch, genes: tuple[str, ...]
) -> None:
    wanted = values_of(predict(open_bundle(path), query_slide, *genes))
    monkeypatch.setattr("bleep_cli.prediction.predictor.DENSE_BYTES", 100)
    monkeypatch.setattr(impute, "DENSE_BYTES", 4 * 252 * 2)
    monkeypatch.setattr("bleep_cli.prediction.predictor.measured_range", lambda _: {})  # looks at some spots
    monkeypatch.setattr("bleep_cli.prediction.predictor.HASHED_UNASKED", 0)  # hashing reads all
    chunks_read.clear()
    prediction = predict(open_bundle(path), query_slide, *genes)
    assert chunks_read == []
    np.testing.assert_array_equal(values_of(prediction), wanted)
    assert chunks_read
    np.testing.assert_array_equal(values_of(prediction), wanted)  # blocks() can be called again


# --- precision


def test_f16_moves_values_by_half_a_unit_in_the_last_place() -> None:
    rng = np.random.default_rng(0)
    expression = sparse.csr_matrix(np.where(rng.random((200, 50)) < 0.3, rng.uniform(0.1, 9, (200, 50)), 0))
    expression = expression.astype(np.float32)
    found = rounded(expression, "f16")
    assert found.dtype == np.float32 and rounded(expression, "f32") is expression
    relative = np.abs(found.data / expression.data - 1)
    assert 2**-13 < relative.max() <= 2**-11
    np.testing.assert_array_equal(rounded(found, "f16").data, found.data)


def test_a_mean_of_fifty_moves_by_less_than_a_thousandth() -> None:
    """The reason why f16 is enough for what ``bleep predict`` writes."""
    rng = np.random.default_rng(1)
    counts = sparse.csr_matrix(rng.poisson(rng.gamma(0.5, 2, (1, 300)), (500, 300)).astype(np.float32))
    expression = counts.multiply(1e4 / counts.sum(axis=1)).log1p().tocsr().astype(np.float32)
    index = np.stack([rng.permutation(500)[:50] for _ in range(100)])
    exact, near = (values.toarray()[index].mean(axis=1) for values in (expression, rounded(expression, "f16")))
    assert expression.max() > 4 and np.abs(exact - near).max() < 1e-3


def test_f32_can_be_asked_for(small_built: Built, tmp_path: Path) -> None:
    info = replace(small_built.info, expression_precision="f32")
    odd = small_built.arrays.expression[:252].copy()
    odd.data[0] = 1 / 3
    write_bundle(tmp_path / "a.zarr", info, replace(small_built.arrays, expression=odd))
    found = open_bundle(tmp_path / "a.zarr")
    assert found.info.expression_precision == "f32" and found.array("expression").dtype == np.float32
    np.testing.assert_array_equal(found.expression(None, 1 << 30), odd.toarray())


def test_nothing_is_read_for_no_genes_and_no_spots(path: Path, chunks_read: list[str]) -> None:
    stored: StoredExpression = open_bundle(path).expression_rows(np.array([], np.int64))
    assert stored[:252].shape == (252, 0) and list(stored.gene_blocks(np.arange(3), 10)) == []
    assert open_bundle(path).expression_rows().read(np.array([], np.int64)).shape == (0, 12)
    assert chunks_read == []
