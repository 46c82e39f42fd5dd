"""The overlapped pipeline: order, bounds, errors and interrupts of its threads; answers depend on none of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bleep_cli.base.machine import usable_cores
from bleep_cli.bundle.open import open_bundle
from bleep_cli.embedding import embedder as tower
from bleep_cli.embedding.lanes import Lanes, TileBuffers, lanes_for, overlapped, plain
from bleep_cli.errors import SlideError
from bleep_cli.prediction import predictor as predict
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import Plan, plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.towers import encoder
from bleep_cli.types import F32, I64, U8, TileGrid

LANES = [Lanes(1, 1, 1), Lanes(2, 1, 2), Lanes(1, 3, 1), Lanes(4, 2, 1)]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert {thread.name for thread in threading.enumerate() if thread not in before} == set()


def read(batch: int) -> U8:
    """A batch of two "tiles" that hold its number; later ones are ready sooner."""
    time.sleep(0.002 * (batch % 3))
    return np.full((2, 1), batch, np.uint8)


def embed(tiles: U8) -> F32:
    return tiles.astype(np.float32) * 2


# --- stages


@pytest.mark.parametrize("lanes", LANES)
def test_batches_come_out_in_their_order(lanes: Lanes) -> None:
    found = list(overlapped(range(20), read, embed, lanes))
    assert [batch for batch, _ in found] == list(range(20))
    assert [vectors[0, 0] for _, vectors in found] == [2 * batch for batch in range(20)]


def test_no_batches_are_no_work() -> None:
    assert list(overlapped([], read, embed, LANES[0])) == []


def test_stages_overlap() -> None:
    """The first batch is embedded while the second is read: each waits for the other, one by one would not end."""
    both = threading.Barrier(2)

    def read_meeting(batch: int) -> U8:
        if batch == 1:
            both.wait(timeout=20)
        return read(batch)

    def embed_meeting(tiles: U8) -> F32:
        if tiles[0, 0] == 0:
            both.wait(timeout=20)
        return embed(tiles)

    assert len(list(overlapped(range(4), read_meeting, embed_meeting, Lanes(1, 1, 1)))) == 4


def test_what_is_in_flight_is_bounded() -> None:
    begun = []

    def counted(batch: int) -> U8:
        begun.append(batch)
        return read(batch)

    lanes = Lanes(3, 2, 1)
    with closing(overlapped(range(1000), counted, embed, lanes)) as stream:
        for taken, _ in enumerate(stream, 1):
            assert len(begun) <= taken + lanes.ahead
            if taken == 30:
                break
    assert len(begun) <= 30 + lanes.ahead


@pytest.mark.parametrize("stage", ["read", "embed"])
@pytest.mark.parametrize("lanes", LANES)
def test_an_error_in_a_thread_is_raised_as_it_is(stage: str, lanes: Lanes) -> None:
    error, begun = SlideError("s.svs: tile 3 cannot be decoded"), []

    def failing(value: Any) -> Any:
        begun.append(value)
        if len(begun) == 4:
            raise error
        return read(value) if stage == "read" else embed(value)

    stages = (failing, embed) if stage == "read" else (read, failing)
    with pytest.raises(SlideError) as caught:
        list(overlapped(range(1000), *stages, lanes))
    assert caught.value is error
    assert len(begun) <= 4 + lanes.ahead + lanes.readers


def test_an_interrupt_of_the_caller_stops_the_threads() -> None:
    def interrupted() -> None:
        with closing(overlapped(range(1000), read, embed, Lanes(2, 2, 1))) as stream:
            for batch, _ in stream:
                if batch == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("bleep-")]


def test_buffers_are_used_again() -> None:
    buffers = TileBuffers((2, 3), plain)
    first, second = buffers.take(), buffers.take()
    assert first.shape == (2, 3) and first.dtype == np.uint8 and first is not second
    buffers.give_back(first)
    assert buffers.take() is first


@pytest.mark.parametrize(
    ("quota", "cores"),
    [
        (None, 8),
        ("max 100000\n", 8),
        ("200000 100000\n", 2),
        ("150000 100000\n", 2),
        ("10000 100000\n", 1),
        ("3200000 100000\n", 8),
        ("", 8),
    ],
)
def test_a_quota_of_the_container_bounds_the_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)), raising=False)
    if quota is not None:
        (tmp_path / "cpu.max").write_text(quota)
    assert usable_cores(tmp_path) == cores


@pytest.mark.parametrize("cores", [1, 2, 3, 8, 64])
def test_threads_do_not_outnumber_the_cores(cores: int) -> None:
    lanes = lanes_for("cpu", cores)
    assert 1 <= lanes.embedders * lanes.threads_each <= cores
    assert lanes.readers >= 1
    assert lanes_for("cuda", cores).embedders >= 1


# --- a whole slide


@pytest.fixture(scope="module")
def options() -> PredictOptions:
    return PredictOptions(device="cpu", stride_um=40.0, min_tissue=0.1)


def answers(ready: Plan, bundle: Any, options: PredictOptions) -> tuple[F32, I64]:
    predictor = Predictor(bundle, options)
    found = predictor.neighbours(ready.slide, ready.grid)
    return predictor.embed(ready.slide, ready.grid), found.index


@pytest.mark.parametrize("views", [1, 8])
def test_answers_depend_on_neither_batch_nor_threads(
    views: int, small_bundle: Path, query_slide: Path, options: PredictOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, options = open_bundle(small_bundle), replace(options, views=views)
    ready = plan(query_slide, bundle.info, options)
    results = []
    with closing(ready.slide):
        assert len(ready.grid) > 100
        for batch, lanes, searched in zip((8, 1, 7, 32), LANES, (512, 64, 7, 100), strict=True):
            monkeypatch.setitem(encoder.BATCH, "cpu", batch)
            monkeypatch.setattr(tower, "lanes_for", lambda *_, lanes=lanes: lanes)
            monkeypatch.setattr(predict, "SEARCH_TILES", searched)
            results.append(answers(ready, bundle, options))
    for vectors, index in results[1:]:
        np.testing.assert_allclose(vectors, results[0][0], atol=1e-6)
        np.testing.assert_array_equal(index, results[0][1])


def pick(grid: TileGrid, rows: I64) -> TileGrid:
    columns = ("centre_l0", "array_row", "array_col", "tile_id", "region")
    return replace(grid, **{name: getattr(grid, name)[rows] for name in columns})


def test_tiles_stand_in_the_order_of_the_grid(
    small_bundle: Path, query_slide: Path, options: PredictOptions
) -> None:
    """Positions in any order: each row is what its tile alone gives."""
    bundle = open_bundle(small_bundle)
    ready = plan(query_slide, bundle.info, options)
    with closing(ready.slide):
        grid = ready.grid
        mixed = np.random.default_rng(1).permutation(len(grid))
        shuffled = pick(grid, mixed)
        predictor = Predictor(bundle, options)
        wanted = predictor.embed(ready.slide, grid)[mixed]
        np.testing.assert_allclose(predictor.embed(ready.slide, shuffled), wanted, atol=1e-6)
        alone = predictor.embed(ready.slide, pick(grid, np.array([5])))
        np.testing.assert_allclose(predictor.embed(ready.slide, grid)[5], alone[0], atol=1e-6)


def test_progress_ends_with_the_last_tile(small_bundle: Path, query_slide: Path, options: PredictOptions) -> None:
    bundle = open_bundle(small_bundle)
    ready = plan(query_slide, bundle.info, options)
    told: list[tuple[str, int, int]] = []
    with closing(ready.slide):
        Predictor(bundle, options).neighbours(ready.slide, ready.grid, lambda *step: told.append(step))
    assert told[0] == ("tiles", 0, len(ready.grid)) and told[-1] == ("tiles", len(ready.grid), len(ready.grid))
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)


@pytest.mark.parametrize("stop", [SlideError("query.tif: tile 9 cannot be decoded"), KeyboardInterrupt()])
def test_a_slide_that_breaks_midway_or_an_interrupt_ends_the_run(
    stop: BaseException, small_bundle: Path, query_slide: Path, options: PredictOptions
) -> None:
    bundle = open_bundle(small_bundle)
    ready = plan(query_slide, bundle.info, options)
    reads = []

    def breaking(*region: Any) -> U8:
        reads.append(region)
        if len(reads) == 50 and isinstance(stop, SlideError):
            raise stop
        return ready.slide.read(*region)

    def progress(_stage: str, done: int, _total: int) -> None:
        if done >= 40 and isinstance(stop, KeyboardInterrupt):
            raise stop

    broken: Any = SimpleNamespace(read=breaking, name="query.tif")
    with closing(ready.slide):
        predictor = Predictor(bundle, options)
        with pytest.raises(type(stop)) as caught:
            predictor.neighbours(broken, ready.grid, progress)
    assert caught.value is stop
    assert len(reads) < len(ready.grid)
