"""Pictures of measured spots, from the images of the sections that a cohort file names."""

from __future__ import annotations

from collections import OrderedDict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Lock

from bleep_cli.bundle.open import Bundle
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import BleepError, ReferenceError
from bleep_cli.tiles.section import section_slide
from bleep_cli.types import F64, Slide
from bleep_cli.viewer.kept import Kept
from bleep_cli.viewer.pyramid import as_jpeg

EDGE_PX = 112
KEPT_BYTES = 16 << 20
OPEN = 2  # sections' images at a time: a flat picture is held decoded


@dataclass(frozen=True)
class _Seen:
    """A section that can be looked at."""

    slide: Slide
    xy_l0: dict[str, F64]
    """(x, y) of its spots by barcode, in this copy of its image."""
    closing: ExitStack


class SpotPictures:
    """The tissue around spots of a reference. Any thread may ask; one is served at a time."""

    def __init__(self, bundle: Bundle, cohort: Path) -> None:
        self._cohort, self._um = cohort, bundle.info.tile.um[0]
        self._section, self._barcode = bundle.spots("section"), bundle.spots("barcode")
        self._sha256 = {record.id: record.sha256 for record in bundle.info.sections}
        self._lock, self._kept = Lock(), Kept(KEPT_BYTES)
        self._open: OrderedDict[str, _Seen] = OrderedDict()
        self._why_not: dict[str, str] = {}

    def jpeg(self, row: int) -> tuple[bytes, str]:
        """(JPEG, "") of the tile around a spot of the reference, or (nothing, why there is none).

        ``LookupError`` where the reference has no such spot.
        """
        if not 0 <= row < len(self._section):
            raise LookupError(f"no spot {row}")
        section = str(self._section[row])
        with self._lock:
            if section not in self._why_not:
                try:
                    return self._kept.get(row, lambda: self._tile(section, str(self._barcode[row]))), ""
                except BleepError as error:
                    self._why_not[section] = str(error)
            return b"", self._why_not[section]

    def _tile(self, section: str, barcode: str) -> bytes:
        seen = self._seen(section)
        edge = self._um / seen.slide.mpp
        left, top = (float(centre) - edge / 2 for centre in seen.xy_l0[barcode])
        return as_jpeg(seen.slide.read((left, top), (edge, edge), (EDGE_PX, EDGE_PX)))

    def _seen(self, section: str) -> _Seen:
        if section in self._open:
            self._open.move_to_end(section)
            return self._open[section]
        (found,) = read_cohort(self._cohort, only=[section])
        if found.sha256 != self._sha256[section]:
            raise ReferenceError(f"section {section} of {self._cohort.name} is another than the reference's")
        while len(self._open) >= OPEN:
            self._open.popitem(last=False)[1].closing.close()
        closing = ExitStack()
        slide = closing.enter_context(section_slide(found))
        self._open[section] = _Seen(slide, dict(zip(map(str, found.barcodes), found.xy_l0, strict=True)), closing)
        return self._open[section]

    def close(self) -> None:
        """Closes what is open."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].closing.close()
