"""Bundles: what is written comes back, from a folder and from a zip, under one hash that knows every part."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from trips import always_the_same, floats, folder, names, rows_of

from bleep_cli.bundle.contents import BundleArrays, BundleInfo, SectionRecord
from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.bundle.write import write_bundle
from bleep_cli.reference.parts import Built

words = st.text(st.characters(exclude_categories=("C",)), max_size=12)
settings_of = st.recursive(
    words | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e300, 1e300) | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)


@st.composite
def bundles(draw: st.DrawFn, built: Built) -> tuple[BundleInfo, BundleArrays]:
    """Some spots of a sound bundle under other names, with other expression and places, and other words on it."""
    a = built.arrays
    n = draw(st.integers(2, 9))
    rows = np.array(draw(st.lists(st.integers(0, len(a.section) - 1), min_size=n, max_size=n, unique=True)))
    section, donor = draw(names), draw(names)
    symbols = draw(st.lists(names, min_size=12, max_size=12, unique=True))
    expression = rows_of(draw, n, 12, 0.0, 11.0)
    arrays = replace(
        a,
        image_embeddings=np.asarray(a.image_embeddings)[rows],
        expression_embeddings=np.asarray(a.expression_embeddings)[rows],
        expression=sparse.csr_array(expression) if draw(st.booleans()) else expression,
        symbols=np.array(symbols),
        gene_ids=np.array(draw(st.lists(names, min_size=12, max_size=12))),
        panel=np.array(draw(st.permutations(range(12))), np.int64),
        section=np.full(n, section),
        barcode=np.array(draw(st.lists(names, min_size=n, max_size=n, unique=True))),
        donor=np.full(n, donor),
        xy_l0=rows_of(draw, n, 2, -1e6, 1e6).astype(np.float64),
        gene_columns={"heldout_r": rows_of(draw, 12, 1, -1.0, 1.0)[:, 0]},
        calibration=None,
        signature=None,
        looks=None,
    )
    info = replace(
        built.info,
        sections=(SectionRecord(section, "ab" * 32, donor, n, mpp=draw(st.none() | floats(0.125, 64.0))),),
        k=draw(st.integers(1, 500)),
        target_sum=float(draw(floats(1.0, 1e6))),
        expression_precision="f32",
        species=draw(words),
        licence=draw(words),
        citation=draw(words),
        intended_use=draw(words),
        training=draw(st.dictionaries(words, settings_of, max_size=3)),
    )
    return info, arrays


@settings(always_the_same, max_examples=10)
@given(data=st.data())
def test_what_is_written_comes_back_under_one_hash(small_built: Built, data: st.DataObject) -> None:
    info, arrays = data.draw(bundles(small_built))
    with folder() as where:
        written = {write_bundle(where / name, info, arrays) for name in ("a.zarr", "a.zarr.zip")}
        assert len(written) == 1
        for name in ("a.zarr", "a.zarr.zip"):
            found = open_bundle(where / name)
            assert found.info == info and {found.content_sha256} == written
            for column in ("section", "barcode", "donor"):
                np.testing.assert_array_equal(found.spots(column), getattr(arrays, column))
            for part in ("symbols", "gene_ids", "panel"):
                np.testing.assert_array_equal(getattr(found, part), getattr(arrays, part))
            np.testing.assert_array_equal(found.xy_l0(), arrays.xy_l0)
            np.testing.assert_array_equal(found.embeddings("image"), arrays.image_embeddings)
            np.testing.assert_array_equal(found.gene_columns()["heldout_r"], arrays.gene_columns["heldout_r"])
            wanted = arrays.expression
            wanted = wanted.toarray() if sparse.issparse(wanted) else wanted
            np.testing.assert_array_equal(found.expression(None, 1 << 30), wanted)
            assert {check.name for check in verify(found) if not check.ok} <= {"embeddings", "towers"}


@settings(always_the_same, max_examples=10)
@given(data=st.data(), row=st.integers(0, 1), gene=st.integers(0, 11))
def test_another_value_is_another_hash(small_built: Built, data: st.DataObject, row: int, gene: int) -> None:
    info, arrays = data.draw(bundles(small_built))
    other = np.asarray(arrays.expression.toarray() if sparse.issparse(arrays.expression) else arrays.expression)
    other = other.copy()
    other[row, gene] = np.nextafter(other[row, gene], np.float32(20))
    with folder() as where:
        one = write_bundle(where / "a.zarr", info, arrays)
        assert write_bundle(where / "b.zarr", info, replace(arrays, expression=other)) != one
        assert write_bundle(where / "c.zarr", replace(info, k=info.k + 1), arrays) != one
