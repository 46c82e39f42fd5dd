"""A written result and its slide, opened for looking at."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bleep_cli.base.hidden import Hidden
from bleep_cli.bundle.open import Bundle, bundle_of
from bleep_cli.errors import SlideError, UsageError, option
from bleep_cli.outputs.anonymous import anonymised, names_of
from bleep_cli.outputs.read import open_result
from bleep_cli.receipts.receipt import check_same
from bleep_cli.slide.open import open_slide
from bleep_cli.types import Prediction, Slide
from bleep_cli.viewer.server import Server
from bleep_cli.viewer.shown import Shown
from bleep_cli.viewer.spot_pictures import SpotPictures


@contextmanager
def view(
    result: Path | str,
    slide: Path | str,
    ref: Bundle | Path | str | None = None,
    *,
    cohort: Path | str | None = None,
    port: int = 0,
    anonymise: bool = False,
) -> Iterator[Server]:
    """A server of the page that shows a result over its slide; it answers while its ``serve`` runs.

    ``ref`` is the bundle that the result came from: with it a tile shows the spots behind it. ``cohort`` is the
    cohort file of that bundle: with it these have pictures. With ``anonymise`` the page calls the slide by its
    hash, and names no file. Raises ``UsageError``, ``OutputError``, ``SlideError`` (for another slide, too) and
    ``ReferenceError`` as ``open_result``, ``open_slide`` and ``open_bundle`` do.
    """
    if cohort is not None and ref is None:
        raise UsageError(f"{option('cohort')} shows pictures of a reference's spots; name it by {option('ref')}")
    prediction = open_result(result)
    names: dict[str, str] = {}
    if anonymise:
        prediction = anonymised(prediction)
        names |= dict.fromkeys(names_of(Path(slide)), prediction.slide_id)
        names |= dict.fromkeys(names_of(Path(cohort)) if cohort else (), "the cohort file")
    bundle = None
    if ref is not None:
        bundle = bundle_of(ref)
        check_same(prediction, bundle)
    said = prediction.provenance["slide"]
    opened = open_slide(slide, prediction.grid.mpp, scene=said.get("scene"))
    names |= dict.fromkeys(names_of(Path(opened.name)), prediction.slide_id) if anonymise else {}
    try:
        _check_slide(prediction, opened)
        pictures = None if bundle is None or cohort is None else SpotPictures(bundle, Path(cohort))
        server = Server(Shown(prediction, opened, bundle, pictures), port, Hidden(names))
        try:
            yield server
        finally:
            server.close()
            if pictures is not None:
                pictures.close()
    finally:
        opened.close()


def _check_slide(prediction: Prediction, slide: Slide) -> None:
    said = prediction.provenance["slide"]
    if slide.sha256 != said["sha256"]:
        raise SlideError(
            f"{option('slide')} {slide.name} ({slide.sha256[:12]}) is not the slide of this result: "
            f"{said['name']} ({said['sha256'][:12]})"
        )
