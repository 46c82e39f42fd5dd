"""One tile or strip of a page: read, decoded, its planes together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import SlideError
from bleep_cli.slide.claimed import CODEC_ERRORS, check_ratio
from bleep_cli.slide.samples.depth import spread
from bleep_cli.slide.samples.pixels import Samples
from bleep_cli.slide.tiff.codec import IMAGE_CODECS, decode_bytes, decode_image
from bleep_cli.slide.tiff.ifd import TiffBytes
from bleep_cli.slide.tiff.page import Page

SEEN = 9, 5  # tiles of the coarsest level, and of level 0
SEEN_BYTES = 64 << 20  # of larger tiles the first is enough


def per_plane(page: Page) -> int:
    """Tiles or strips of each plane."""
    cols, rows = page.grid
    return cols * rows


def raw_tile(file: TiffBytes, page: Page, index: int, level: int = 0) -> Samples:
    """``[h, w, samples]`` of tile ``index`` as stored, cut to the picture. SlideError names it by ``level``."""
    shape = page.shape(index)
    try:
        planes = [_segment(file, page, i) for i in range(index, len(page.offsets), per_plane(page))]
        samples = planes[0] if page.planes == 1 else np.concatenate(planes, axis=2)
    except CODEC_ERRORS as error:
        place = f"{'tile' if page.tiled else 'strip'} {index} of level {level}"
        raise file.bad(f"{place} cannot be decoded: {error}") from None
    cols, _ = page.grid
    w = min(shape.cols, page.width - index % cols * page.tile_w)
    h = min(shape.rows, page.height - index // cols * page.tile_h)
    return samples[:h, :w]


def _segment(file: TiffBytes, page: Page, segment: int) -> Samples:
    """``[h, w, samples of the plane]`` of one stored segment."""
    offset, count = int(page.offsets[segment]), int(page.counts[segment])
    shape = page.shape(segment % per_plane(page))
    check_ratio(shape.rows * shape.row_bytes, count)
    data = file.read(offset, count)
    if page.compression in IMAGE_CODECS:
        return decode_image(data, page.compression, shape, page.photometric, page.tables)
    return decode_bytes(data, page.compression, shape, page.predictor)


def seen(file: TiffBytes, pages: Sequence[Page]) -> NDArray[Any]:
    """Some samples ``[n, samples]`` of the coarsest and the finest page, of tiles spread over them.

    Tiles that cannot be decoded are passed over; SlideError where none can.
    """
    found: list[NDArray[Any]] = []
    error: SlideError | None = None
    for level, most in dict(zip((len(pages) - 1, 0), SEEN, strict=True)).items():
        page = pages[level]
        written = np.flatnonzero(page.counts[: per_plane(page)])
        places = np.unique(np.linspace(0, len(written) - 1, most).astype(int))
        large = page.shape(0).rows * page.shape(0).row_bytes * page.planes > SEEN_BYTES
        for index in written[places[:1] if large else places].tolist():
            try:
                found.append(spread(raw_tile(file, page, index, level)))
            except SlideError as failed:
                error = failed
    if not found:
        raise error or file.bad("holds no tile")
    return np.concatenate(found)
