"""Reading order and shared fields: the same pixels as tile by tile, the slide's own tiles decoded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from slide_samples import data_path, noise, write_tiff

from bleep_cli.base.files.array_cache import ArrayCache
from bleep_cli.embedding.lanes import Lanes, overlapped
from bleep_cli.slide.open import open_slide
from bleep_cli.slide.tiff.raster import TiffRaster
from bleep_cli.tiles.grid import grid_over_tissue
from bleep_cli.tiles.mask import Mask, label_pieces
from bleep_cli.tiles.read import read_rows, reading_order
from bleep_cli.tiles.shared_fields import FieldReader
from bleep_cli.tiles.tissue.ground import Ground
from bleep_cli.tiles.tissue.ink import Ink
from bleep_cli.types import I64, U8, Slide, TileGrid, TileSpec

ONE, THREE = TileSpec(32, (32.0,)), TileSpec(32, (32.0, 64.0, 128.0))


def grid_on(slide: Any, spec: TileSpec, stride_um: float) -> TileGrid:
    width, height = slide.size_l0
    tissue = np.ones((-(-height // 8), -(-width // 8)), bool)
    overview = np.zeros((*tissue.shape, 3), np.uint8)
    ground = Ground(overview, 1 / 8, 8 * slide.mpp, tissue, Ink(np.zeros_like(tissue), {}))
    mask = Mask(tissue, label_pieces(tissue), ground)
    return grid_over_tissue(slide, mask, spec, stride_um, 0.5).grid


def counted(slide: Slide) -> tuple[Any, Counter[Any]]:
    """The slide, and how often each region was read."""
    reads: Counter[Any] = Counter()

    def read(xy: Any, size: Any, out: Any) -> Any:
        reads[xy, size] += 1
        return slide.read(xy, size, out)

    return SimpleNamespace(read=read), reads


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TIFF of 11 × 24 tiles of 64 px: noise blurred a little, 1 µm/px."""
    pixels = noise(700, 1500).astype(float)
    for axis in (0, 1):
        pixels = (pixels + np.roll(pixels, 1, axis) + np.roll(pixels, 2, axis)) / 3
    path = tmp_path_factory.mktemp("slides") / "tiled.tif"
    return write_tiff(
        path, pixels.astype(np.uint8), tile=(64, 64), resolution=(1e4, 1e4), resolutionunit="CENTIMETER"
    )


# --- order


@pytest.mark.parametrize("strip_bytes", [1, 400_000, 1 << 40])
@pytest.mark.parametrize("stride", [16.0, 32.0, 50.0])
def test_order_is_a_permutation_in_bands(strip_bytes: int, stride: float) -> None:
    slide = SimpleNamespace(name="s", size_l0=(3000, 700), mpp=1.0)
    grid = grid_on(slide, THREE, stride)
    order = reading_order(grid, strip_bytes)
    np.testing.assert_array_equal(np.sort(order), np.arange(len(grid)))
    x, y = grid.centre_l0[order].T
    if strip_bytes == 1 << 40 and stride >= 32:
        np.testing.assert_array_equal(order, np.arange(len(grid)))  # rows of a grid are its bands
    if strip_bytes == 1:
        strips = np.floor(x / 256)  # twice the largest field
        assert (np.diff(strips) >= 0).all() and len(np.unique(strips)) == 12
    bands = np.floor(y / 32)
    assert (np.diff(bands)[np.diff(np.floor(x / max(256, strip_bytes / (3 * 1280)))) == 0] >= 0).all()


def decodes(path: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Slide], None]) -> Counter[Any]:
    """How often each of the slide's own tiles is decoded while ``read`` reads, after opening it."""
    done: Counter[Any] = Counter()
    decode = TiffRaster._decode

    def counting(self: TiffRaster, level: int, index: int) -> Any:
        done[level, index] += 1
        return decode(self, level, index)

    cache_bytes = 8 * 11 * 64 * 64 * 3  # 8 of its 24 rows of tiles
    with closing(open_slide(path, cache_bytes=cache_bytes)) as slide:
        monkeypatch.setattr(slide._raster, "_cache", ArrayCache(cache_bytes))  # opening has looked at some tiles
        monkeypatch.setattr(TiffRaster, "_decode", counting)
        read(slide)
        monkeypatch.undo()
    return done


@pytest.mark.parametrize("spec", [ONE, THREE])
@pytest.mark.parametrize("threads", [1, 4])
def test_own_tiles_are_decoded_once_per_band(
    spec: TileSpec, threads: int, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A third of the slide fits into the cache: once each in reading order, again and again in another."""

    def read(slide: Slide, ordered: bool = True) -> None:
        grid = grid_on(slide, spec, 32.0)
        order = reading_order(grid) if ordered else np.random.default_rng(0).permutation(len(grid))
        reader = FieldReader(slide, grid)

        def some(rows: I64) -> U8:
            out = np.empty((len(rows), 32, 32, 3 * len(spec.um)), np.uint8)
            reader.read(rows, out)
            return out

        batches = np.array_split(order, len(order) // 8)
        assert len(list(overlapped(batches, some, lambda tiles: tiles[:, 0, 0], Lanes(threads, 1, 1)))) > 100

    done = decodes(picture, monkeypatch, read)
    assert set(done.values()) == {1} and len(done) == 11 * 24
    mixed = decodes(picture, monkeypatch, lambda slide: read(slide, ordered=False))
    assert sum(mixed.values()) > 2 * len(done)


# --- shared fields


@pytest.mark.parametrize("stride", [16.0, 32.0, 48.0, 31.0])
@pytest.mark.parametrize("spec", [ONE, THREE, TileSpec(32, (40.0, 80.0)), TileSpec(32, (32.0, 50.0))])
def test_pixels_are_those_of_each_tile_read_alone(spec: TileSpec, stride: float, picture: Path) -> None:
    with closing(open_slide(picture)) as slide:
        grid = grid_on(slide, spec, stride)
        rows = np.random.default_rng(0).permutation(len(grid))[:60]
        found = np.empty((len(rows), 32, 32, 3 * len(spec.um)), np.uint8)
        FieldReader(slide, grid).read(rows, found)
        wanted = read_rows(slide, grid, rows)
    assert np.abs(found.astype(int) - wanted).max() <= 1  # the filter's weights are rounded around another origin
    assert (found != wanted).mean() < 1e-3


def test_larger_fields_are_read_once_for_all_tiles(picture: Path) -> None:
    with closing(open_slide(picture)) as slide:
        grid = grid_on(slide, THREE, 32.0)
        read, reads = counted(slide)
        FieldReader(read, grid).read(reading_order(grid), np.empty((len(grid), 32, 32, 9), np.uint8))
    assert set(reads.values()) == {1}
    by_edge = Counter(round(size[0]) for _, size in reads)
    assert by_edge[32] == len(grid) == 22 * 47  # side by side: nothing to share
    assert (by_edge[64], by_edge[128]) == (13 * 25, 7 * 14)


def test_tiles_at_any_place_are_read_alone(picture: Path) -> None:
    with closing(open_slide(picture)) as slide:
        grid = grid_on(slide, THREE, 32.0)
        grid.centre_l0[:] += np.random.default_rng(0).uniform(0, 1, grid.centre_l0.shape)
        read, reads = counted(slide)
        FieldReader(read, grid).read(np.arange(5), np.empty((5, 32, 32, 9), np.uint8))
    assert len(reads) == 15


# --- threads


@pytest.mark.parametrize(
    "name", ["tiled.tif", "flat.png", "real/CMU-1-Small-Region.svs", "real/camelyon_multiframe_small.dcm"]
)
def test_several_threads_read_what_one_reads(name: str, picture: Path, tmp_path: Path) -> None:
    path = picture
    if name == "flat.png":
        from PIL import Image

        path = tmp_path / name
        Image.fromarray(noise(500, 300)).save(path)
    elif "/" in name:
        path = data_path("slides", *name.split("/"))
    with closing(open_slide(path, 1.0)) as slide:
        width, height = slide.size_l0
        rng = np.random.default_rng(0)
        places = [(float(x), float(y)) for x, y in rng.uniform((-20, -20), (width, height), (60, 2))]
        regions = [(xy, (edge, edge), (64, 64)) for xy in places for edge in (64.0, 90.5)]
        wanted = [slide.read(*region) for region in regions]
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda region: slide.read(*region), regions * 3))
    for i, tile in enumerate(found):
        np.testing.assert_array_equal(tile, wanted[i % len(regions)])


@pytest.mark.parametrize("spec", [ONE, THREE], ids=["one", "three"])
def test_fields_are_stacked_along_the_channels_in_their_order(picture: Path, spec: TileSpec) -> None:
    with closing(open_slide(picture)) as slide:
        grid = grid_on(slide, spec, 100.0)
        tiles = read_rows(slide, grid, np.arange(5))
        for i, centre in enumerate(grid.centre_l0[:5]):
            fields = [
                slide.read(tuple(centre - edge / 2), (edge, edge), (spec.px, spec.px))
                for edge in map(grid.edge_l0, range(len(spec.um)))
            ]
            np.testing.assert_array_equal(tiles[i], np.concatenate(fields, axis=2))
