"""RGB out of pixels with alpha: what is opaque is taken as it is, and comes without gaps."""

import numpy as np
import pytest

from bleep_cli.slide.samples.pixels import PixelFormat, to_rgb

PIXELS = np.random.default_rng(3).integers(0, 256, (17, 23, 4), np.uint8)


@pytest.mark.parametrize("alpha", [0, 3])
def test_opaque_pixels_are_their_colours(alpha: int) -> None:
    pixels = PIXELS.copy()
    pixels[..., 3] = 255
    fmt = PixelFormat("rgb", alpha=3) if alpha else PixelFormat("rgb")
    rgb = to_rgb(pixels, fmt)
    np.testing.assert_array_equal(rgb, PIXELS[..., :3])
    assert rgb.flags.c_contiguous


def test_one_pixel_that_is_not_opaque_shows_white_behind_it() -> None:
    pixels = PIXELS.copy()
    pixels[..., 3] = 255
    pixels[5, 6] = 100, 50, 0, 51  # a fifth of the colour, four fifths of white
    rgb = to_rgb(pixels, PixelFormat("rgb", alpha=3))
    wanted = PIXELS[..., :3].copy()
    wanted[5, 6] = 224, 214, 204
    np.testing.assert_array_equal(rgb, wanted)


def test_no_pixels_are_none() -> None:
    assert to_rgb(PIXELS[:0], PixelFormat("rgb", alpha=3)).shape == (0, 23, 3)
