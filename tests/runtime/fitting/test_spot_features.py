"""The means of features over views, on disk: the same bits whatever is asked of them."""

from __future__ import annotations

import numpy as np

from bleep_cli.fitting.features import SpotFeatures


def test_means_of_some_fields_are_those_of_the_fields_alone() -> None:
    features = SpotFeatures(40, 8, 3, 50)
    features.rows[:] = np.random.default_rng(0).normal(size=features.rows.shape) * 100
    scale = np.random.default_rng(1).random(50, np.float32)
    for fields in (1, 2, 3):
        alone = np.stack([spot[:, :fields].mean(axis=0, dtype=np.float64).ravel() for spot in features.rows])
        found, scaled = features.mean(fields), features.scaled(fields, scale)
        assert found.tobytes() == alone.astype(np.float32).tobytes()
        assert scaled.shape == found.shape
        wanted = found * np.tile(scale, fields)
        assert scaled[:].tobytes() == wanted.tobytes()
        assert scaled[np.array([7, 3])].tobytes() == wanted[[7, 3]].tobytes()
        assert scaled[5:9].tobytes() == wanted[5:9].tobytes()
