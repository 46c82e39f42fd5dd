"""The plane that a section's positions count in, as scale factors and the array of spots tell it.

Space Ranger (and, by its example, ``uns["spatial"]`` of an h5ad) states positions in pixels of the full-
resolution picture, and ``tissue_hires_scalef``, ``tissue_lowres_scalef`` for the smaller pictures beside it.
Visium's spots lie 100 µm apart on a hexagonal array; HD states ``microns_per_pixel``. ``spot_diameter_fullres``
is by 10x's documents the diameter of "a theoretical 65 µm spot", of 55 µm by other writers, and of 70 µm in a
folder of Space Ranger 3: it only says whether spots that state no rows and columns lie as far apart as Visium's.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bleep_cli.base.files.json_file import read_json
from bleep_cli.base.files.unpacked import read_unpacked
from bleep_cli.base.reasons import reason
from bleep_cli.cohort.pitch import neighbour_distance
from bleep_cli.errors import ReferenceError
from bleep_cli.types import F64, I64, Bool, SpotPlane

VISIUM_UM = 100.0
VISIUM_STEPS_UM = (50.0, 50.0 * math.sqrt(3))  # of a column and a row of Visium's array
ROW_PER_COLUMN = VISIUM_STEPS_UM[1] / VISIUM_STEPS_UM[0]
OF_VISIUM = 0.05  # how far rows and columns, and their angle, may be off those of Visium
LEAST_SPOTS = 12  # to tell an array by
DIAMETER_OF_PITCH = (0.53, 0.75)  # spot_diameter_fullres over the pitch; arrays before Visium have 0.5


class Factors(NamedTuple):
    """Scale factors, and the pictures that they are of."""

    values: Mapping[str, Any]
    """By the names that Space Ranger gives them."""
    sizes: Mapping[str, tuple[int, int]]
    """(width, height) in pixels of each picture that is at hand, by its name ("hires", "lowres")."""


NO_FACTORS = Factors({}, {})


def factors_beside(positions: Path) -> Factors:
    """Scale factors beside a table of positions, with names that begin alike: GEO puts the sample's number there.

    Raises ``ReferenceError`` for factors that are no JSON table.
    """
    prefix, named, _ = positions.name.partition("tissue_positions")
    return factors_in(positions.parent, prefix if named else "")


def factors_in(folder: Path, prefix: str = "") -> Factors:
    """Scale factors in a folder, of files whose names begin with ``prefix``; none where there is none.

    Raises ``ReferenceError`` for factors that are no JSON table.
    """
    file = _there(folder, f"{prefix}scalefactors_json.json")
    if file is None:
        return NO_FACTORS
    try:
        values = read_json(file)
    except (OSError, ValueError) as error:
        raise ReferenceError(f"{file.name} is not JSON ({reason(error)})") from error
    if not isinstance(values, dict):
        raise ReferenceError(f"{file.name} holds no table of factors")
    pictures = {name: _there(folder, f"{prefix}tissue_{name}_image.png") for name in scales_of(values)}
    sizes = {name: _size_of(picture) for name, picture in pictures.items() if picture is not None}
    return Factors(values, {name: size for name, size in sizes.items() if size is not None})


def _there(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _bytes(file: Path) -> bytes:
    return read_unpacked(file, "MOST_MASK_BYTES")


def _size_of(picture: Path) -> tuple[int, int] | None:
    from PIL import Image

    try:
        with Image.open(BytesIO(_bytes(picture))) as image:
            return image.size
    except (OSError, ValueError, EOFError, zlib.error, Image.DecompressionBombError):
        return None


def scales_of(factors: Mapping[str, Any]) -> dict[str, float]:
    """Of each picture that there are factors for, its pixels per pixel of the positions, by its name."""
    named = {
        key.removeprefix("tissue_").removesuffix("_scalef"): factors[key]
        for key in factors
        if key.startswith("tissue_") and key.endswith("_scalef")
    }
    return {name: scale for name, value in named.items() if (scale := _positive(value)) is not None}


def spot_plane(
    xy: F64,
    factors: Factors,
    array: tuple[I64, I64] | None = None,
    usual_um: tuple[float, float] | None = None,
) -> SpotPlane:
    """The plane of all positions f64[n, 2] (x, y) of an array, in tissue or not.

    ``array`` are their rows and columns i64[n], ``usual_um`` the least and the most between spots of such arrays.
    """
    um, source = _um_per_px(xy, factors.values, array)
    spans = np.stack([xy.min(axis=0), xy.max(axis=0)]) if len(xy) else np.zeros((2, 2))
    return SpotPlane(scales_of(factors.values), dict(factors.sizes), um, source, spans, usual_um)


def anndata_plane(adata: Any, rows: Bool, xy: F64, library: str | None = None) -> SpotPlane | None:
    """The plane of positions f64[n, 2] of ``rows`` of an ``AnnData``; None where they are no pairs of numbers.

    By ``uns["spatial"]`` of a library, or of the only one, and the array's rows and columns.
    """
    if xy.ndim != 2 or xy.shape[1] != 2 or not np.isfinite(xy).all():
        return None
    spatial = adata.uns.get("spatial")
    found = (
        {str(k): v for k, v in spatial.items() if isinstance(v, Mapping)} if isinstance(spatial, Mapping) else {}
    )
    named = found.get(library or "", next(iter(found.values())) if len(found) == 1 else {})
    values, pictures = (of if isinstance(of, Mapping) else {} for of in map(named.get, ("scalefactors", "images")))
    shapes = {name: np.shape(pictures.get(name, ())) for name in scales_of(values)}
    sizes = {name: (int(shape[1]), int(shape[0])) for name, shape in shapes.items() if len(shape) in (2, 3)}
    return spot_plane(xy, Factors(values, sizes), _array_of(adata, rows))


def _array_of(adata: Any, rows: Bool) -> tuple[I64, I64] | None:
    """Rows and columns i64[n] of the spots, where they are whole numbers."""
    try:
        row, column = (np.asarray(adata.obs[name], np.float64)[rows] for name in ("array_row", "array_col"))
    except (KeyError, TypeError, ValueError):
        return None
    if not (np.isfinite(row).all() and np.isfinite(column).all()):
        return None
    return row.astype(np.int64), column.astype(np.int64)


def _um_per_px(xy: F64, factors: Mapping[str, Any], array: tuple[I64, I64] | None) -> tuple[float | None, str]:
    stated = _positive(factors.get("microns_per_pixel"))
    if stated is not None:
        return stated, "microns_per_pixel of its scale factors"
    source = "its array, whose spots lie 100 µm apart"
    if array is not None:
        um = _visium_um(xy, *array)
        if um is not None:
            return um, source
    diameter = _positive(factors.get("spot_diameter_fullres"))
    if diameter is not None and len(xy) >= LEAST_SPOTS:
        pitch = neighbour_distance(xy)
        if pitch > 0 and DIAMETER_OF_PITCH[0] <= diameter / pitch <= DIAMETER_OF_PITCH[1]:
            return VISIUM_UM / pitch, source
    return None, ""


def _visium_um(xy: F64, row: I64, column: I64) -> float | None:
    """µm per pixel of positions whose rows and columns are those of Visium's array; None where they are not."""
    parity = (row + column) % 2
    if len(xy) < LEAST_SPOTS or (parity != parity[0]).any():
        return None  # every second place of Visium's rows is empty
    steps = np.stack([column, row, np.ones(len(row))], axis=1).astype(np.float64)
    if np.linalg.matrix_rank(steps) < 3:
        return None
    fitted = np.linalg.lstsq(steps, xy, rcond=None)[0]
    across, down = fitted[:2]
    wide, high = float(np.linalg.norm(across)), float(np.linalg.norm(down))
    if not (wide > 0 and abs(high / wide / ROW_PER_COLUMN - 1) < OF_VISIUM):
        return None
    if abs(float(across @ down)) > OF_VISIUM * wide * high:
        return None
    return math.sqrt(VISIUM_STEPS_UM[0] * VISIUM_STEPS_UM[1] / (wide * high))


def _positive(value: Any) -> float | None:
    if isinstance(value, bool | str) or value is None:
        return None
    try:
        number = float(np.asarray(value).reshape(()))
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
