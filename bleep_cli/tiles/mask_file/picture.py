"""A picture as a mask: which of its values are tissue, whatever kind of picture it is.

| picture | tissue |
| --- | --- |
| two values of grey | the brighter one |
| more values: a label image of 8, 16 or 32 bits | all but 0 |
| a palette | all but index 0, whatever its colour; where the palette has transparent entries, all but these |
| colours | all but black; without black, the brighter of two |
| transparency | what can be seen, and is not black where other colours can be seen, too |
| grey that was stored with loss, or has soft edges | what is brighter than half of the brightest |
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.errors import UsageError, option
from bleep_cli.findings import Finding
from bleep_cli.limits import MOST_DIRECTORIES, MOST_MASK_PIXELS, over
from bleep_cli.types import Bool

if TYPE_CHECKING:
    from PIL.Image import Image

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP")
FORMATS = ("BMP", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened: others run programs (EPS), or are read by code that hardly anybody looks at."""
FEW_VALUES = 16  # a grey picture of more, nearly all of them rare, has soft edges
SOFT_EDGES = 0.1  # of the picture at most
NEARLY_GREY = 24  # between the channels of a grey picture that was stored with loss
PROPORTION = 0.01  # by which width over height may differ from the slide's
RGB_BITS = (16, 8, 0)

Values = NDArray[Any]
"""[h, w] one number for each pixel: a grey, a label, an index of a palette, or a packed colour."""


class Picture:
    """A decoded mask picture. ``UsageError`` for what is no picture, or leaves open what is tissue."""

    def __init__(self, raw: bytes, name: str, classes: Sequence[str]) -> None:
        self.name = name
        self.findings: tuple[Finding, ...] = ()
        image = self._opened(raw)
        self.tissue: Bool = self._labels(image, classes) if classes else self._tissue(image)
        """bool[h, w]"""
        if not self.tissue.any():
            raise UsageError(f"{option('mask')}: {name} marks nothing as tissue; {self._says()}")

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        height, width = self.tissue.shape
        return width, height

    def fits(self, size_l0: tuple[int, int]) -> bool:
        """Whether it has the proportions of a (w, h), to 1 % or, as small pictures are rounded, to a pixel."""
        (width, height), (w, h) = self.size, size_l0
        across, down = height * w / h, width * h / w
        return abs(width - across) <= max(1.0, PROPORTION * across) or abs(height - down) <= max(
            1.0, PROPORTION * down
        )

    def laid(self, size: tuple[int, int], scale: float, rectangle_l0: tuple[int, int, int, int]) -> Bool:
        """The tissue on a raster (w, h) of ``scale`` pixels per level-0 pixel, spread over a part of the slide."""
        from PIL import Image

        left, top, width, height = (round(value * scale) for value in rectangle_l0)
        spread = Image.fromarray(self.tissue.view(np.uint8) * np.uint8(255))
        part = spread.resize((max(width, 1), max(height, 1)), Image.Resampling.BOX)
        out = Image.new("L", size)
        out.paste(part, (left, top))
        return np.asarray(np.asarray(out) > 127, bool)

    def _opened(self, raw: bytes) -> Image:
        from PIL import Image, ImageOps

        try:
            with warnings.catch_warnings(action="ignore"):
                image = Image.open(BytesIO(raw), formats=FORMATS)
                self._check_size(image)
                self._check_pages(image)
                image.load()
                self._lossy = image.format in LOSSY
                return ImageOps.exif_transpose(image)
        except Image.DecompressionBombError:
            raise UsageError(
                f"{option('mask')}: {self.name} is too large a picture; 8 µm per pixel are enough"
            ) from None
        except UsageError:
            raise
        except Exception as error:  # the door: Pillow has many errors of its own
            reason = type(error).__name__  # Pillow's own text tells the whole path
            raise UsageError(
                f"{option('mask')}: {self.name} is neither GeoJSON nor a picture ({reason})"
            ) from error

    def _check_size(self, image: Image) -> None:
        width, height = image.size
        if width * height > MOST_MASK_PIXELS:
            told = over(f"{self.name} of {width} × {height} px", "MOST_MASK_PIXELS")
            raise UsageError(f"{option('mask')}: {told}; 8 µm per pixel are enough")

    def _check_pages(self, image: Image) -> None:
        """Smaller pages are a pyramid's; one as large as the first may hold the tissue as well."""
        first = image.size
        pages = getattr(image, "n_frames", 1)
        if pages > MOST_DIRECTORIES:
            raise UsageError(f"{option('mask')}: {self.name} of {over(f'{pages} pages', 'MOST_DIRECTORIES')}")
        for page in range(1, pages):
            image.seek(page)
            if image.size == first:
                raise UsageError(
                    f"{option('mask')}: {self.name} has several pages of one size; save the one it is"
                )
        image.seek(0)

    def _tissue(self, image: Image) -> Bool:
        if image.mode == "P":
            return self._palette(image)
        alpha = np.asarray(image.getchannel("A")) if "A" in image.getbands() else None
        if alpha is not None and alpha.min() < alpha.max():
            return self._seen_through(image, alpha)
        if alpha is not None and not alpha.any():
            raise UsageError(f"{option('mask')}: {self.name} is transparent throughout")
        values, coloured = _values(image, self._lossy)
        return self._by_colour(values) if coloured else self._by_grey(values)

    def _palette(self, image: Image) -> Bool:
        index = np.asarray(image)
        clear = _transparent(image)
        colours = image.getpalette("RGB") or []
        ground = clear & set(np.unique(index).tolist()) or {0}
        told = ", ".join(f"{i} (colour {' '.join(map(str, colours[3 * i : 3 * i + 3]))})" for i in sorted(ground))
        self._note(f"a picture with a palette is taken by its index: {told} is background, all others are tissue")
        return ~np.isin(index, list(ground))

    def _seen_through(self, image: Image, alpha: Values) -> Bool:
        seen = alpha >= max(int(alpha.max()) / 2, 1)
        colours, _ = _values(image, self._lossy)
        dark = colours == 0
        several = (seen & dark).any() and (seen & ~dark).any()
        self._note(
            "a picture with transparency: what can be seen is tissue" + (", but for black" if several else "")
        )
        return np.asarray(seen & ~dark if several else seen, bool)

    def _by_colour(self, packed: Values) -> Bool:
        colours = np.unique(packed)
        if 0 in colours:
            self._note("a picture in colour: black is background, every other colour is tissue")
            return np.asarray(packed != 0, bool)
        if len(colours) != 2:
            raise UsageError(
                f"{option('mask')}: {self.name} is a picture in {len(colours)} colours without black: nothing "
                "says which is background; save it with 0 (black) there"
            )
        brightness = [sum(colour >> bits & 255 for bits in RGB_BITS) for colour in colours.tolist()]
        brighter = int(colours[np.argmax(brightness)])
        self._note(f"a picture in two colours: the brighter one, {_colour(brighter)}, is tissue")
        return np.asarray(packed == brighter, bool)

    def _by_grey(self, values: Values) -> Bool:
        found, counts = _counted(values)
        if len(found) == 1:
            return np.asarray(values != 0, bool)
        if len(found) == 2:
            if found[0] != 0:
                self._note(f"a picture with the values {_shown(found)}: {found[-1]:g} is tissue")
            return np.asarray(values == found[-1], bool)
        soft = values.dtype == np.uint8 and len(found) > FEW_VALUES
        soft = soft and counts[1:-1].sum() <= SOFT_EDGES * values.size
        if self._lossy or soft:
            half = float(found[-1]) / 2
            self._note(f"a picture with soft edges: what is brighter than {half:g} is tissue")
            return np.asarray(values > half, bool)
        self._note(f"a picture with {len(found)} values, {_shown(found)}: all but 0 are tissue")
        return np.asarray(values != 0, bool)

    def _labels(self, image: Image, classes: Sequence[str]) -> Bool:
        """``--mask-class`` of a picture names values."""
        values, coloured = (np.asarray(image), False) if image.mode == "P" else _values(image, self._lossy)
        if coloured:
            raise UsageError(
                f"{option('mask_class')}: {self.name} is a picture in colour; its classes have no names"
            )
        found, _ = _counted(values)
        numbers = [int(asked) if asked.isdecimal() else None for asked in classes]
        for asked, number in zip(classes, numbers, strict=True):
            if number is None or number not in found:
                raise UsageError(f"{option('mask_class')} {asked}: {self.name} has the values {_shown(found)}")
        self._note(f"tissue are its values {', '.join(classes)}")
        return np.isin(values, [number for number in numbers if number is not None])

    def _note(self, what: str) -> None:
        self.findings = (Finding("mask-values", f"{self.name}: {what}"),)

    def _says(self) -> str:
        return self.findings[0].what.partition(": ")[2] if self.findings else "all of it is black"


def _values(image: Image, lossy: bool) -> tuple[Values, bool]:
    """One number for each pixel, and whether they are packed colours; transparency apart."""
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        return (np.nan_to_num(values) if image.mode == "F" else values), False
    if image.mode in ("LA", "La"):
        return np.asarray(image.getchannel("L")), False
    rgb = np.asarray(image.convert("RGB"))
    apart = int(np.ptp(rgb, axis=2).max())
    if apart <= (NEARLY_GREY if lossy else 0):
        return rgb.max(axis=2), False
    red, green, blue = (rgb[..., channel].astype(np.uint32) for channel in range(3))
    return red << 16 | green << 8 | blue, True


def _transparent(image: Image) -> set[int]:
    """The indices of a palette that are transparent throughout."""
    stated = image.info.get("transparency")
    if isinstance(stated, int):
        return {stated}
    return {i for i, alpha in enumerate(stated) if alpha == 0} if isinstance(stated, bytes) else set()


def _counted(values: Values) -> tuple[Values, NDArray[np.int64]]:
    """The values that occur, ascending, and how often each does."""
    if values.dtype in (np.uint8, np.uint16):  # np.unique would sort every pixel
        counts = np.bincount(values.ravel())
        found = np.flatnonzero(counts)
        return found, counts[found]
    return np.unique(values, return_counts=True)


def _shown(found: Values) -> str:
    shown = [f"{value:g}" for value in found[:6].tolist()]
    return ", ".join(shown if len(found) <= 6 else [*shown, "...", f"{found[-1]:g}"])


def _colour(packed: int) -> str:
    return " ".join(str(packed >> bits & 255) for bits in RGB_BITS)
