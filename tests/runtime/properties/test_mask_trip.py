"""Masks: what is drawn around tiles marks those tiles, and how an outline is written down says nothing."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import Image
from trips import always_the_same, folder

from bleep_cli.outputs.exports.geojson import write_geojson
from bleep_cli.tiles.mask_file.geojson import GeoJson
from bleep_cli.tiles.mask_file.picture import Picture
from bleep_cli.tiles.mask_file.read import read_mask_file
from bleep_cli.types import I64, Bool, Neighbours, Prediction, TileGrid, TileSpec

SIZE = (48, 40)  # (w, h) px of the rasters that masks are laid on
corner = st.tuples(st.integers(-10, 60), st.integers(-10, 50))
outline = st.lists(corner, min_size=3, max_size=9, unique=True)


def laid(*rings: list[tuple[float, float]], shift: tuple[float, float] = (0.0, 0.0)) -> Bool:
    """A GeoJSON of one polygon on the raster: bool[h, w]."""
    closed = [[*ring, ring[0]] for ring in rings]
    raw = json.dumps({"type": "Polygon", "coordinates": closed}).encode()
    return GeoJson(raw, "a.geojson", ()).laid(SIZE, 1.0, shift)


@always_the_same
@given(ring=outline)
def test_a_pixel_is_in_where_its_centre_is_by_the_even_odd_rule(ring: list[tuple[int, int]]) -> None:
    """Matplotlib counts differently which way an outline winds, so it is asked about triangles alone, by fans."""
    centres = np.stack(np.meshgrid(np.arange(SIZE[0]) + 0.5, np.arange(SIZE[1]) + 0.5), axis=-1).reshape(-1, 2)
    wanted = np.zeros(len(centres), bool)
    on_an_edge = np.zeros(len(centres), bool)
    for second, third in pairwise(ring[1:]):
        fan = Outline([ring[0], second, third, ring[0]], closed=True)
        wanted ^= fan.contains_points(centres)
        on_an_edge |= fan.contains_points(centres, radius=1e-6) != fan.contains_points(centres, radius=-1e-6)
    found = laid(ring).ravel()
    np.testing.assert_array_equal(found[~on_an_edge], wanted[~on_an_edge])


@always_the_same
@given(ring=outline, start=st.integers(0, 8), by=st.tuples(st.integers(-20, 20), st.integers(-20, 20)))
def test_where_an_outline_begins_which_way_it_goes_and_where_it_counts_from_say_nothing(
    ring: list[tuple[int, int]], start: int, by: tuple[int, int]
) -> None:
    turned = ring[start % len(ring) :] + ring[: start % len(ring)]
    np.testing.assert_array_equal(laid(turned), laid(ring))
    moved = [(x - by[0], y - by[1]) for x, y in ring]
    np.testing.assert_array_equal(laid(moved, shift=by), laid(ring))


@always_the_same
@given(outer=outline, hole=outline)
def test_a_hole_is_what_its_own_polygon_is(outer: list[tuple[int, int]], hole: list[tuple[int, int]]) -> None:
    np.testing.assert_array_equal(laid(outer, hole), laid(outer) & ~laid(hole))


def tiles_of(places: I64, corner_l0: tuple[int, int]) -> Prediction:
    """Tiles of 200 px at some places of a grid of 5 rows and 12 columns that begins at the corner."""
    row, column = np.divmod(places, 12)
    n = len(places)
    grid = TileGrid(
        centre_l0=np.stack([column, row], axis=1) * 200.0 + 100 + corner_l0,
        array_row=row,
        array_col=column,
        tile_id=places.astype(str),
        region=np.full(n, "1"),
        spec=TileSpec(224, (100.0,)),
        mpp=0.5,
        pitch_um=100.0,
    )
    return Prediction(
        slide_id="s",
        grid=grid,
        in_tissue=np.ones(n, bool),
        symbols=np.array(["A"]),
        gene_ids=np.array(["A"]),
        neighbours=Neighbours(np.zeros((n, 1), np.int64), np.ones((n, 1), np.float32)),
        obs={},
        blocks=lambda: iter([(0, np.ones((n, 1), np.float32))]),
        hires=np.zeros((1, 1, 3), np.uint8),
        hires_scalef=0.1,
        provenance={"slide": {"bounds_l0": (*corner_l0, 2400, 1000)}},
    )


@always_the_same
@given(
    keep=st.lists(st.booleans(), min_size=60, max_size=60).filter(any),
    corner_l0=st.tuples(st.integers(0, 50), st.integers(0, 50)).map(lambda xy: (10 * xy[0], 10 * xy[1])),
)
def test_tiles_as_geojson_are_a_mask_of_those_tiles(keep: list[bool], corner_l0: tuple[int, int]) -> None:
    """What is written for QuPath, which counts from the corner of the scanned part, comes back as an outline."""
    rows = np.array(keep)
    with folder() as where:
        write_geojson(tiles_of(np.flatnonzero(rows), corner_l0), where / "tiles.geojson")
        mask = read_mask_file(where / "tiles.geojson")
    assert isinstance(mask, GeoJson) and len(mask.areas) == rows.sum()
    x, y = corner_l0[0] // 10, corner_l0[1] // 10
    wanted = np.zeros((150, 290), bool)  # a pixel of the raster to 10 of the slide, 20 of them to a tile
    wanted[y : y + 100, x : x + 240] = np.kron(rows.reshape(5, 12), np.ones((20, 20), bool))
    np.testing.assert_array_equal(mask.laid((290, 150), 0.1, corner_l0), wanted)


@always_the_same
@given(seed=st.integers(0, 10_000), share=st.floats(0.05, 0.95), kind=st.sampled_from(["L", "1", "RGB", "RGBA"]))
def test_a_picture_of_tissue_is_that_tissue(seed: int, share: float, kind: Any) -> None:
    tissue = np.random.default_rng(seed).random(SIZE[::-1]) < share
    with folder() as where:
        Image.fromarray(tissue.astype(np.uint8) * 255).convert(kind).save(where / "mask.png")
        mask = read_mask_file(where / "mask.png")
        assert isinstance(mask, Picture)
        mask.fits(SIZE)
        np.testing.assert_array_equal(mask.laid(SIZE, 1.0, (0, 0, *SIZE)), tissue)
