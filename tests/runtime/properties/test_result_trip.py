"""Results: whatever was predicted comes back from both formats that are read, and from one made of the other."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from trips import always_the_same, floats, folder, names, rows_of

from bleep_cli.outputs.elements import plain, storable
from bleep_cli.outputs.formats import FORMATS
from bleep_cli.outputs.read import open_result
from bleep_cli.types import Neighbours, Prediction, TileGrid, TileSpec

words = st.text(st.characters(exclude_categories=("C",)), max_size=6)
said = st.recursive(
    words | st.booleans() | st.integers(-(2**40), 2**40) | floats(-1e30, 1e30),
    lambda inner: st.dictionaries(st.text("abcxyz_", min_size=1, max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    """Few tiles and genes of any name and any value; the slide's name has no slash, as no file's has."""
    n, symbols = draw(st.integers(1, 7)), draw(st.lists(names, min_size=1, max_size=5, unique=True))
    g, k = len(symbols), draw(st.integers(1, 3))
    values, lower = rows_of(draw, n, g, 0.0, 3e38), rows_of(draw, n, g, 0.0, 12.0)
    um = tuple(draw(st.lists(floats(1, 2000), min_size=1, max_size=2, unique=True)))
    grid = TileGrid(
        centre_l0=rows_of(draw, n, 2, -1e5, 1e7).astype(np.float64),
        array_row=np.arange(n),
        array_col=np.array(draw(st.lists(st.integers(0, 2**31 - 1), min_size=n, max_size=n)), np.int64),
        tile_id=np.array(draw(st.lists(names, min_size=n, max_size=n, unique=True))),
        region=np.array(draw(st.lists(names, min_size=n, max_size=n))),
        spec=TileSpec(draw(st.integers(1, 4096)), um),
        mpp=float(draw(floats(0.0625, 64.0))),
        pitch_um=float(draw(floats(1.0, 1000.0))),
    )
    made = Prediction(
        slide_id=draw(names.filter(lambda name: "/" not in name)),
        grid=grid,
        in_tissue=np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n))),
        symbols=np.array(symbols),
        gene_ids=np.array(draw(st.lists(names, min_size=g, max_size=g))),
        neighbours=Neighbours(
            np.random.default_rng(n).integers(0, 2**31 - 1, (n, k)), rows_of(draw, n, k, -1.0, 1.0)
        ),
        obs={"similarity": rows_of(draw, n, 1, -1.0, 1.0)[:, 0]},
        blocks=lambda: iter([(0, values)]),
        hires=rows_of(draw, 8, 12, 0.0, 255.0).astype(np.uint8)[..., None].repeat(3, axis=2),
        hires_scalef=float(draw(floats(0.001, 1.0))),
        provenance={"slide": {"name": draw(words)}, "findings": [], "options": draw(said)},
        findings=(),
        obsm={"offset": rows_of(draw, n, 2, -5.0, 5.0)},
        var={"r": rows_of(draw, g, 1, -1.0, 1.0)[:, 0]},
    )
    return replace(made, layers={"lower": lambda: iter([(0, lower)])})


def same(found: Any, wanted: Any) -> None:
    """Compares predictions part by part, values, types and names."""
    if isinstance(wanted, Prediction | TileGrid | Neighbours | TileSpec):
        for part in fields(wanted):
            if part.name != "provenance":
                same(getattr(found, part.name), getattr(wanted, part.name))
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            same(found[key], value)
    elif isinstance(wanted, np.ndarray):
        assert found.dtype.kind == wanted.dtype.kind
        np.testing.assert_array_equal(found, wanted)
    elif callable(wanted):
        same(np.concatenate([b for _, b in found()]), np.concatenate([b for _, b in wanted()]))
    else:
        assert found == wanted


@settings(always_the_same, max_examples=8)
@given(made=predictions())
def test_a_result_comes_back_from_every_format_that_is_read(made: Prediction) -> None:
    with folder() as where:
        for kind in ("h5ad", "zarr"):
            FORMATS[kind].write(made, where / f"a.{kind}")
            found = open_result(where / f"a.{kind}")
            same(found, made)
            assert found.provenance == plain(storable(made.provenance))
        for kind, other in (("h5ad", "zarr"), ("zarr", "h5ad")):
            FORMATS[other].write(open_result(where / f"a.{kind}"), where / f"b.{other}")
            same(open_result(where / f"b.{other}"), made)
