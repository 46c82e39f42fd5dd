"""Channels of a picture, beside NumPy along the last axis."""

import numpy as np
import pytest

from bleep_cli.tiles.tissue.channels import brightest, darkest, luminance, luminance64


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_values_are_those_along_the_last_axis_to_the_last_bit(dtype):
    rgb = (np.random.default_rng(0).random((61, 47, 3)) * 255).astype(dtype)
    np.testing.assert_array_equal(brightest(rgb), rgb.max(axis=2))
    np.testing.assert_array_equal(darkest(rgb), rgb.min(axis=2))
    assert brightest(rgb).dtype == darkest(rgb).dtype == dtype


def test_the_mean_is_that_along_the_last_axis_to_the_last_bit():
    u8 = np.random.default_rng(0).integers(0, 256, (61, 47, 3), np.uint8)
    np.testing.assert_array_equal(luminance64(u8), u8.mean(axis=2, dtype=np.float64))
    rgb = (np.random.default_rng(1).random((61, 47, 3)) * 255).astype(np.float32)
    np.testing.assert_array_equal(luminance(rgb), rgb.mean(axis=2))
    assert luminance(rgb).dtype == np.float32
