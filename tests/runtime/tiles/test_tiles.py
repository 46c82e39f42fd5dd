"""Where tiles lie and what pixels they hold: no drift, no swapped axis, fields centred on one point."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide
from bleep_cli.tiles.grid import grid_at, grid_over_tissue
from bleep_cli.tiles.mask import Mask, label_pieces
from bleep_cli.tiles.positions import Positions
from bleep_cli.tiles.read import read_tiles, stream_tiles
from bleep_cli.tiles.tissue.ground import Ground, survey
from bleep_cli.tiles.tissue.ink import Ink
from bleep_cli.types import U8, TileSpec

SPEC = TileSpec(16, (16.0,))


def stub(width: int, height: int, mpp: float = 1.0) -> Any:
    """A slide without pixels."""
    return SimpleNamespace(name="s.svs", size_l0=(width, height), bounds_l0=(0, 0, width, height), mpp=mpp)


def mask_of(tissue: Any, scale: float = 1.0) -> Mask:
    values = np.asarray(tissue, bool)
    return Mask(values, label_pieces(values), ground_of(values, scale))


def ground_of(tissue: Any, scale: float = 1.0) -> Ground:
    """Stained where there is tissue, glass elsewhere, no ink."""
    values = np.asarray(tissue, bool)
    overview = np.where(values[..., None], np.uint8(120), np.uint8(240)).repeat(3, axis=2)
    return Ground(overview, scale, 1 / scale, values, Ink(np.zeros_like(values), {}))


def positions(xy: Any) -> Positions:
    n = len(xy)
    barcode = np.array([f"s{i}" for i in range(n)], dtype=str)
    columns = np.arange(n) + 10, np.arange(n) + 20
    return Positions(barcode, np.asarray(xy, float).reshape(n, 2), *columns, np.ones(n, bool))


# --- the grid


def test_grid_does_not_drift_over_a_large_slide() -> None:
    slide, stride = stub(181_003, 9_001, mpp=0.4862), 55.0
    grid = grid_over_tissue(slide, mask_of(np.ones((548, 11_001)), 0.4862 / 8), SPEC, stride, 0.5).grid
    exact = Fraction(55) / Fraction(0.4862)
    for i in (0, 1, 799, len(grid) - 1):
        for axis, step in ((0, grid.array_col[i]), (1, grid.array_row[i])):
            assert abs(Fraction(float(grid.centre_l0[i, axis])) - (int(step) + Fraction(1, 2)) * exact) < 1e-6
    assert grid.array_col.max() == 1599  # 1600.06 fit
    assert grid.array_row.max() == 79  # 79.57 fit, and 0.57 of a cell is enough
    assert (grid.pitch_um, grid.mpp, grid.spec) == (55.0, 0.4862, SPEC)


def test_grid_covers_a_slide_wider_than_high_once() -> None:
    grid = grid_over_tissue(stub(80, 32), mask_of(np.ones((32, 80))), SPEC, 16.0, 0.5).grid
    assert grid.centre_l0.tolist() == [[8 + 16 * c, 8 + 16 * r] for r in range(2) for c in range(5)]
    assert grid.array_row.tolist() == [0] * 5 + [1] * 5
    assert grid.array_col.tolist() == [0, 1, 2, 3, 4] * 2
    assert grid.tile_id.tolist() == [f"s_{r}x{c}" for r in range(2) for c in range(5)]
    assert len(set(grid.tile_id.tolist())) == len(grid) == 10
    assert set(grid.region.tolist()) == {"1"}


@pytest.mark.parametrize(("least", "columns"), [(1.0, [1]), (0.5, [0, 1]), (0.25, [0, 1, 2]), (0.0, [0, 1, 2, 3])])
def test_tiles_are_kept_by_their_share_of_tissue(least: float, columns: list[int]) -> None:
    tissue = np.zeros((16, 80), bool)
    tissue[:, 8:36] = True  # half of tile 0, all of 1, a quarter of 2
    tissue[0, 48] = True  # a pixel of 3, nothing of 4
    grid = grid_over_tissue(stub(80, 16), mask_of(tissue), SPEC, 16.0, least).grid
    assert grid.array_col.tolist() == columns


def test_tissue_is_looked_up_at_x_y_whatever_the_mask_scale() -> None:
    tissue = np.zeros((10, 30), bool)
    tissue[2:4, 20:26] = True  # mask pixels of 8 px: x 160 to 208, y 16 to 32
    grid = grid_over_tissue(stub(240, 80), mask_of(tissue, 1 / 8), SPEC, 16.0, 0.5).grid
    assert grid.centre_l0.tolist() == [[168, 24], [184, 24], [200, 24]]


def test_what_lies_beyond_the_slide_counts_as_glass() -> None:
    for width, columns in ((40, [0, 1, 2]), (39, [0, 1])):  # 8 or 7 of the last tile's 16 px are on the slide
        grid = grid_over_tissue(stub(width, 16), mask_of(np.ones((16, width))), SPEC, 16.0, 0.5).grid
        assert grid.array_col.tolist() == columns


def test_tiles_know_their_piece_of_tissue() -> None:
    tissue = np.zeros((16, 96), bool)
    tissue[:, :16], tissue[:, 48:96] = True, True
    tissue[5:12, 85:92] = False  # a hole under the centre of the last tile
    grid = grid_over_tissue(stub(96, 16), mask_of(tissue), SPEC, 16.0, 0.5).grid
    assert grid.region.tolist() == ["2", "1", "1", "0"]


def test_strides_need_not_be_the_tile() -> None:
    grid = grid_over_tissue(stub(64, 16), mask_of(np.ones((16, 64))), SPEC, 8.0, 0.5).grid
    assert np.diff(grid.centre_l0[:8, 0]).tolist() == [8.0] * 7 and len(grid) == 16
    assert grid.edge_l0() == 16.0 and grid.pitch_um == 8.0


def test_a_slide_without_a_tile_of_tissue_is_an_error() -> None:
    tissue = np.zeros((16, 32), bool)
    tissue[0, 0] = True
    with pytest.raises(SlideError, match=r"^s\.svs: no tile has 50% tissue; lower min_tissue, or .* mask"):
        grid_over_tissue(stub(32, 16), mask_of(tissue), SPEC, 16.0, 0.5)


# --- given positions


def test_positions_are_taken_as_they_are() -> None:
    given = positions([[70, 5], [3.5, 9.25], [70, 5]])
    grid = grid_at(stub(100, 10), given, ground_of(np.ones((10, 100))), SPEC, 100.0).grid
    np.testing.assert_array_equal(grid.centre_l0, given.xy_l0)
    assert grid.tile_id.tolist() == ["s0", "s1", "s2"]
    assert (grid.array_row.tolist(), grid.array_col.tolist()) == ([10, 11, 12], [20, 21, 22])
    assert (grid.pitch_um, grid.region.tolist()) == (100.0, ["at"] * 3)


@pytest.mark.parametrize(
    ("xy", "outside"),
    [
        ([[5, 70], [9, 80], [3, 4]], "2 of 3"),  # (y, x) on a slide of 100 × 10
        ([[-1, 5], [101, 5]], "2 of 2"),
        ([], "0 of 0"),
    ],
)
def test_positions_of_another_slide_are_an_error(xy: Any, outside: str) -> None:
    with pytest.raises(SlideError, match=rf"^s\.svs: {outside} positions lie outside its 100 × 10 px; at takes"):
        grid_at(stub(100, 10), positions(xy), ground_of(np.ones((10, 100))), SPEC, 100.0)


def test_some_positions_may_lie_outside() -> None:
    given, ground = positions([[5, 5], [100, 10], [101, 5]]), ground_of(np.ones((10, 100)))
    assert len(grid_at(stub(100, 10), given, ground, SPEC, 100.0).grid) == 3


# --- pixels


@pytest.fixture
def ramp(tmp_path: Path) -> Path:
    """240 × 96 px; red is x, green is 2 y: a tile's pixels tell where it was cut."""
    y, x = np.mgrid[:96, :240]
    Image.fromarray(np.stack([x, 2 * y, np.full_like(x, 7)], axis=2).astype(np.uint8)).save(tmp_path / "r.png")
    return tmp_path / "r.png"


def tiles_at(path: Path, xy: Any, spec: TileSpec, mpp: float = 1.0) -> U8:
    slide = open_slide(path, mpp)
    try:
        grid = grid_at(slide, positions(xy), survey(slide), spec, 16.0).grid
        return read_tiles(slide, grid, 0, len(grid))
    finally:
        slide.close()


def test_tiles_hold_the_pixels_of_their_place(ramp: Path) -> None:
    image = np.asarray(Image.open(ramp))
    centres = [(8, 8), (100, 40), (232, 88), (200, 10)]
    tiles = tiles_at(ramp, centres, SPEC)
    assert tiles.shape == (4, 16, 16, 3) and tiles.dtype == np.uint8
    for tile, (x, y) in zip(tiles, centres, strict=True):
        np.testing.assert_array_equal(tile, image[y - 8 : y + 8, x - 8 : x + 8])


def test_tiles_are_resampled_around_their_centre(ramp: Path) -> None:
    for spec, mpp in ((TileSpec(16, (32.0,)), 1.0), (TileSpec(16, (16.0,)), 0.5), (TileSpec(24, (16.0,)), 1.0)):
        [tile] = tiles_at(ramp, [(120, 50)], spec, mpp).astype(float)
        edge = spec.um[0] / mpp
        place = 120 - edge / 2 + (np.arange(spec.px) + 0.5) * edge / spec.px - 0.5  # red of a pixel's centre
        np.testing.assert_allclose(tile[:, :, 0], np.broadcast_to(place, tile.shape[:2]), atol=1)
        place = 2 * (50 - edge / 2 + (np.arange(spec.px) + 0.5) * edge / spec.px - 0.5)
        np.testing.assert_allclose(tile[:, :, 1], np.broadcast_to(place[:, None], tile.shape[:2]), atol=1)


def test_fields_are_stacked_in_their_order_around_one_centre(ramp: Path) -> None:
    spec = TileSpec(16, (16.0, 32.0, 64.0))
    [tile] = tiles_at(ramp, [(120, 48)], spec)
    assert tile.shape == (16, 16, 9)
    for field, um in enumerate(spec.um):
        part = tile[:, :, 3 * field : 3 * field + 3].astype(float)
        np.testing.assert_array_equal(part, tiles_at(ramp, [(120, 48)], TileSpec(16, (um,)))[0])
        np.testing.assert_allclose(part.mean(axis=(0, 1)), (119.5, 95, 7), atol=0.6)
        assert np.ptp(part[0, :, 0]) == pytest.approx(um * 15 / 16, abs=1)
    assert (spec.mpp(0), spec.mpp(2)) == (1.0, 4.0)


def test_a_tile_over_the_edge_is_white_there(ramp: Path) -> None:
    [tile] = tiles_at(ramp, [(240, 40)], SPEC)
    assert (tile[:, 8:] == 255).all()
    np.testing.assert_array_equal(tile[0, :8, 0], np.arange(232, 240))


@pytest.mark.parametrize("batch", [1, 3, 5, 8])
def test_the_stream_is_the_grid_in_order(ramp: Path, batch: int) -> None:
    slide = open_slide(ramp, 1.0)
    try:
        grid = grid_over_tissue(slide, mask_of(np.ones((96, 240))), TileSpec(8, (8.0,)), 60.0, 0.5).grid
        parts = list(stream_tiles(slide, grid, batch))
    finally:
        slide.close()
    assert len(grid) == 8
    assert [first for first, _ in parts] == list(range(0, 8, batch))
    tiles = np.concatenate([tiles for _, tiles in parts])
    place = np.stack([tiles[..., 0].mean(axis=(1, 2)) + 0.5, tiles[..., 1].mean(axis=(1, 2)) / 2 + 0.5], axis=1)
    np.testing.assert_allclose(place, grid.centre_l0, atol=0.01)
