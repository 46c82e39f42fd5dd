"""The stain of a reference's tiles is read back from their looks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from made_looks import FEATURES, looking, looks_head

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.learned.looks import STAIN, Looks
from bleep_cli.fitting.cca import LinearHead
from bleep_cli.fitting.graphs import image_tower
from bleep_cli.fitting.looks import stain_of
from bleep_cli.qc.strange import reference_stain
from bleep_cli.towers.encoder import OnnxEncoder


def looks_of(encoder: OnnxEncoder, tiles: np.ndarray) -> Looks:
    told = encoder.see(tiles)[:, encoder.dim :].astype(np.float16)
    own = np.zeros(1, np.float32)
    return Looks(told, np.arange(len(tiles)), own, (0.0, 0.0), (1.0, 1.0), "donor")


def tiles_for(encoder: OnnxEncoder) -> np.ndarray:
    rng = np.random.default_rng(2)
    low = rng.integers(20, 150, (12, 1, 1, 3))
    px = encoder.tile_px
    return (low + rng.integers(0, 100, (12, px, px, 3))).astype(np.uint8)


def test_it_is_that_of_the_pixels(make_encoders: Callable[..., Encoders]) -> None:
    encoder = OnnxEncoder(looking(make_encoders()).image, "cpu")
    tiles = tiles_for(encoder)
    found = reference_stain(encoder, looks_of(encoder, tiles))
    assert found is not None
    np.testing.assert_allclose(found, stain_of(tiles), atol=0.02)
    assert np.ptp(found[:, 0]) > 0.5  # tiles differ by far more


def test_a_tower_that_tells_less_than_the_stain_gives_none(make_encoders: Callable[..., Encoders]) -> None:
    encoders, head = make_encoders(), looks_head(8)
    weights = head.stain.weights.copy()
    weights[:, -1] = 0
    less = replace(head, stain=LinearHead(head.stain.mean, weights))
    plain = LinearHead(np.zeros(8, np.float32), np.eye(8, dtype=np.float32))
    encoder = OnnxEncoder(image_tower(encoders.image, encoders.tile.px, 1, plain, less), "cpu")
    assert encoder.looks == FEATURES + STAIN
    assert reference_stain(encoder, looks_of(encoder, tiles_for(encoder))) is None
