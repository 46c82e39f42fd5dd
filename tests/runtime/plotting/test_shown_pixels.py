"""What a panel is given of an overview: no more pixels than it shows."""

from __future__ import annotations

import numpy as np

from bleep_cli.plotting.panels import Window, show, two_panels


def test_a_panel_gets_no_more_pixels_than_it_shows_each_the_mean_of_what_it_covers() -> None:
    picture = np.zeros((4000, 4000, 3), np.uint8)
    picture[::2, ::2] = 200  # a quarter of the pixels
    window = Window(0, 0, 4000, 4000)
    panels = two_panels(window, picture, 1.0, ("a", "b"))
    (shown,) = panels.left.get_images()
    pixels = np.asarray(shown.get_array())
    assert pixels.shape[0] == pixels.shape[1] <= 1100 and pixels.shape[2] == 3
    assert abs(float(pixels.mean()) - 50) < 1
    assert shown.get_extent() == [0, 4000, 4000, 0]


def test_a_small_picture_is_given_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    window = Window(0, 0, 40, 40)
    axes = two_panels(window, picture, 1.0, ("a", "b")).left
    show(axes, picture, window)
    np.testing.assert_array_equal(np.asarray(axes.get_images()[-1].get_array()), picture)
