"""Which pixels of a picture are tissue, by their colour."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bleep_cli.tiles.tissue.channels import brightest, darkest, luminance
from bleep_cli.tiles.tissue.ink import BLACK, Ink, find_ink
from bleep_cli.types import F32, U8, Bool

HOLE_UM2 = 150.0**2  # holes up to this area are tissue (vessels, fat, tears)
SPECK_UM2 = 100.0**2  # pieces up to this area are dirt
CHROMA_RANGE = (8.0, 40.0)  # Otsu's threshold is kept in here: outside it has split tissue, or noise
ONE_KIND_CHROMA = 16.0  # between yellowed glass and faint eosin, for a picture of only one of them
GLASS_LUMINANCE = 170.0
GLASS_STEPS = 2  # each follows the tint a little further from the glass known so far
LEAST_GLASS = 0.02  # of the picture, to learn the glass's colour from
GLASS_BLUR_UM = 400.0  # a tint changes over millimetres
COARSE_SIGMA_PX = 6.0  # of a wide Gaussian, in the pixels that it is taken in
FAR_FROM_GLASS = 0.02
WHITE = 240.0
WHITE_CHROMA, WHITE_LUMINANCE = 20.0, 215.0  # what glass looks like once its own colour is WHITE


def tissue_and_ink(rgb: U8, um_per_px: float) -> tuple[Bool, Ink]:
    """Tissue pixels of u8[h, w, 3], bool[h, w], and its ink, which is no tissue.

    Tissue is more colourful than glass by Otsu's threshold on the chroma. An image without glass is tissue
    throughout; one without colour is judged by darkness; black is no tissue. Glass that is tinted unevenly is told
    by looking like the glass around it.
    """
    from scipy import ndimage

    ink = find_ink(rgb, um_per_px)
    smooth = ndimage.gaussian_filter(rgb.astype(np.float32), (8.0 / um_per_px, 8.0 / um_per_px, 0))
    first, glass = _by_chroma(smooth, ink.where)
    if glass.mean() < LEAST_GLASS:
        return first, ink
    for _ in range(GLASS_STEPS):
        chroma, luminance, _ = _measures(_whitened(smooth, glass, GLASS_BLUR_UM / um_per_px))
        glass |= first & (chroma < WHITE_CHROMA) & (luminance > WHITE_LUMINANCE)
    return np.asarray(first & ~glass, bool), ink


def _whitened(rgb: F32, glass: Bool, sigma_px: float) -> F32:
    """f32[h, w, 3] divided by the colour of the glass around each pixel; far from any, of all the glass."""
    far = FAR_FROM_GLASS  # the weight that the overall colour has
    overall = np.median(rgb[glass], axis=0)
    weight = _blurred(glass.astype(np.float32), sigma_px) + far
    white = np.empty_like(rgb)
    for channel in range(3):
        values = np.ascontiguousarray(rgb[..., channel])
        colour = (_blurred(np.where(glass, values, np.float32(0)), sigma_px) + far * overall[channel]) / weight
        white[..., channel] = np.minimum(values * WHITE / colour, 255.0)
    return white


def _blurred(values: F32, sigma_px: float) -> F32:
    """f32[h, w] under a wide Gaussian, on a coarser raster: what is left varies too slowly to need a finer one."""
    from PIL import Image
    from scipy import ndimage

    height, width = values.shape
    factor = max(1, int(sigma_px / COARSE_SIGMA_PX))
    coarse = ndimage.gaussian_filter(np.asarray(Image.fromarray(values).reduce(factor)), sigma_px / factor)
    box = (0.0, 0.0, width / factor, height / factor)
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BILINEAR, box=box))


def _measures(rgb: F32) -> tuple[F32, F32, F32]:
    """Chroma, luminance and brightest channel of f32[h, w, 3]: f32[h, w] each."""
    high = brightest(rgb)
    return high - darkest(rgb), luminance(rgb), high


def _by_chroma(smooth: F32, ink: Bool) -> tuple[Bool, Bool]:
    """Tissue and glass of a smoothed f32[h, w, 3]: bool[h, w] each, ink in neither."""
    nothing = np.zeros(smooth.shape[:2], bool)
    chroma, luminance, high = _measures(smooth)
    seen = (high > BLACK) & ~ink
    if not seen.any():
        return nothing, nothing
    threshold = _chroma_threshold(chroma[seen])
    glass = seen & (chroma < threshold) & (luminance > GLASS_LUMINANCE)
    if float(np.percentile(chroma[seen], 99)) < CHROMA_RANGE[0]:  # a grey image
        dark = float(min(otsu(luminance[seen]), 220.0))
        return np.asarray(seen & (luminance < dark) & (np.ptp(luminance[seen]) > 20), bool), nothing
    coloured = seen & ~glass
    # Glass with a tint of its own is as bright as glass and as colourless as its border.
    tissue = coloured & ((chroma >= threshold) | (luminance <= GLASS_LUMINANCE))
    return np.asarray(tissue, bool), np.asarray(glass, bool)


def _chroma_threshold(chroma: F32) -> float:
    """Otsu's threshold, which would split glass, or tissue, in a picture of only one of them."""
    threshold = otsu(chroma)
    high = chroma >= threshold
    if high.all() or not high.any() or chroma[high].mean() - chroma[~high].mean() < CHROMA_RANGE[0]:
        return ONE_KIND_CHROMA
    return float(np.clip(threshold, *CHROMA_RANGE))


def otsu(values: NDArray[np.floating | np.integer]) -> float:
    """Otsu's threshold of values in 0..255 (Otsu 1979), by 256 bins."""
    counts, edges = np.histogram(values, bins=256, range=(0, 256))
    below = np.cumsum(counts).astype(np.float64)
    above = below[-1] - below
    sums = np.cumsum(counts * edges[:-1])
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1 + int(np.nanargmax(np.where(np.isfinite(between), between, -1)))])


def clean(tissue: Bool, um_per_px: float, ink: Bool | None = None) -> Bool:
    """Small holes filled, but for those of ``ink``; small specks removed."""
    filled = ~_large_only(~tissue, HOLE_UM2 / um_per_px**2)
    if ink is not None:
        filled &= ~ink
    return _large_only(filled, SPECK_UM2 / um_per_px**2)


def _large_only(mask: Bool, pixels: float) -> Bool:
    from scipy import ndimage

    labels, _ = ndimage.label(mask)
    large = np.bincount(labels.ravel()) >= pixels
    large[0] = False
    return np.asarray(large[labels], bool)
