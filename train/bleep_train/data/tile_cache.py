"""Arrays that are made once and kept on disk; the decoded tiles of sections among them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.files.atomic import replacing
from bleep_cli.base.files.on_disk import reserve
from bleep_cli.base.hashing import file_sha256
from bleep_cli.tiles.read import stream_tiles
from bleep_cli.tiles.section import section_grid, section_slide
from bleep_cli.types import U8, Progress, Section, TileSpec, no_progress

BATCH_TILES = 32

Kept = TypeVar("Kept", bound=NDArray[Any])


def kept_array(file: Path, make: Callable[[], Kept]) -> Kept:
    """The array in ``file``, memory-mapped; where there is no file, what ``make`` gives is written first."""
    if not file.exists():
        made = make()
        with replacing(file) as temp, temp.open("wb") as handle:
            np.save(handle, made)
    return np.load(file, mmap_mode="r")  # type: ignore[no-any-return]


def cached_tiles(
    sections: Sequence[Section], spec: TileSpec, cache: Path, progress: Progress = no_progress
) -> list[U8]:
    """Memory-mapped ``u8[n, px, px, 3 * fields]`` per section, decoded once and kept under ``cache``."""
    cache.mkdir(parents=True, exist_ok=True)
    out = []
    for i, section in enumerate(sections):
        progress("sections decoded", i, len(sections))
        file = cache / f"tiles-{cache_tag(section, spec)}.npy"
        if not file.exists():
            _decode(section, spec, file)
        out.append(np.load(file, mmap_mode="r"))
    progress("sections decoded", len(sections), len(sections))
    return out


def _decode(section: Section, spec: TileSpec, file: Path) -> None:
    shape = (len(section.barcodes), spec.px, spec.px, 3 * len(spec.um))
    with replacing(file) as temp:
        target = np.lib.format.open_memmap(temp, mode="w+", dtype=np.uint8, shape=shape)
        with temp.open("rb+") as handle:
            reserve(handle, temp.stat().st_size)
        with section_slide(section) as slide:
            for start, tiles in stream_tiles(slide, section_grid(section, slide.mpp, spec), BATCH_TILES):
                target[start : start + len(tiles)] = tiles
        target.flush()


def cache_tag(section: Section, spec: TileSpec) -> str:
    """Name of what is cached of a section: its spots and where they lie, its image's bytes, scale and tile."""
    digest = hashlib.sha256(f"{section.sha256} {len(section.barcodes)} {section.mpp} {spec.px} {spec.um}".encode())
    digest.update(np.ascontiguousarray(section.xy_l0, "<f8").tobytes())  # its own hash is of positions as given
    digest.update(bytes.fromhex(file_sha256(Path(section.image))))
    return f"{section.id}-{digest.hexdigest()[:16]}"
