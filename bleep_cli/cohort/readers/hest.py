"""Sections of a HEST-1k folder, or of one task of HEST-Bench: where their counts, image, scale and patient stand.

Layout and keys: Jaume et al., *HEST-1k*, NeurIPS 2024, and its repository. ``st/ID.h5ad`` (``adata/ID.h5ad`` in a
task) holds raw counts and, in ``obsm["spatial"]``, spot centres in level-0 pixels of ``wsis/ID.tif``;
``metadata/ID.json`` the pixel size and the patient.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from bleep_cli.base.files.json_file import read_json
from bleep_cli.base.reasons import did_you_mean
from bleep_cli.cohort.parts.anndata_section import KEYS, section_of
from bleep_cli.cohort.parts.reader import Entry, RawSection, Reader, Source
from bleep_cli.cohort.readers.h5ad import read_anndata
from bleep_cli.errors import ReferenceError

COUNTS, IMAGES, METADATA = ("st", "adata"), "wsis", "metadata"
IMAGE_FORMS = (".tif", ".tiff")
PIXEL_SIZES = (
    "pixel_size_um_estimated",
    "pixel_size_um_embedded",
)  # as measured on the spots, then as embedded
DONORS = ("patient", "dataset_title")  # without a patient, all of a study are held out together


def hest_ids(folder: Path) -> list[str]:
    """Ids of the sections with counts in a HEST folder, sorted. Raises ``ReferenceError`` where there is none."""
    ids = sorted({path.stem for name in COUNTS for path in (folder / name).glob("*.h5ad")})
    if not ids:
        raise ReferenceError(f"{folder.name}: no HEST folder; it has neither st/ID.h5ad nor adata/ID.h5ad")
    return ids


def hest_counts(entry: Entry, base: Path) -> str:
    """The h5ad of a section, relative to ``base``. Raises ``ReferenceError`` where there is none."""
    root, where = Path(entry["hest"]), f"section {entry['id']}"
    places = [root / name / f"{entry['id']}.h5ad" for name in COUNTS]
    if not any((base / place).is_file() for place in places) and is_hest(base / root):
        there = hest_ids(base / root)
        has = did_you_mean(entry["id"], there) or f"; it has {', '.join(there[:5])}{', ...' * (len(there) > 5)}"
        raise ReferenceError(f"{where}: {root.name} has no such id{has}")
    return _first(base, places, where)


def hest_fill(entry: Entry, base: Path) -> dict[str, Any]:
    """Image, mpp and donor of a section as far as ``entry`` does not say them, paths relative to ``base``.

    Raises ``ReferenceError`` for what is neither in the entry nor in the folder, counts among it.
    """
    where = f"section {entry['id']}"
    root = Path(entry["hest"])
    hest_counts(entry, base)
    found: dict[str, Any] = {}
    if "image" not in entry:
        images = [root / IMAGES / f"{entry['id']}{form}" for form in IMAGE_FORMS]
        found["image"] = _first(base, images, where)
    if not {"mpp", "donor"} <= set(entry):
        metadata = _metadata(base / root / METADATA / f"{entry['id']}.json", where)
        found["mpp"] = entry.get("mpp") or _mpp(metadata, where)
        found["donor"] = entry.get("donor") or _donor(metadata, where)
    return found


def read_hest(source: Source) -> RawSection:
    """The counts and positions of one section of the folder."""
    return section_of(read_anndata(source.base / hest_counts(source.entry, source.base)), source.entry)


def _first(base: Path, paths: list[Path], where: str) -> str:
    there = next((path for path in paths if (base / path).is_file()), None)
    if there is None:
        raise ReferenceError(f"{where}: HEST folder without {' or '.join('/'.join(p.parts[-2:]) for p in paths)}")
    return there.as_posix()


def _metadata(path: Path, where: str) -> dict[str, Any]:
    try:
        found = read_json(path)
    except FileNotFoundError as error:
        raise ReferenceError(f"{where}: no metadata/{path.name}; give mpp and donor in the cohort file") from error
    except (OSError, ValueError) as error:
        raise ReferenceError(f"{where}: metadata/{path.name} is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ReferenceError(f"{where}: metadata/{path.name} holds no table of keys")
    return found


def _mpp(metadata: dict[str, Any], where: str) -> float:
    for key in PIXEL_SIZES:
        value = metadata.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0:
            return float(value)
    raise ReferenceError(f"{where}: its metadata hold no {' or '.join(PIXEL_SIZES)}; give mpp in the cohort file")


def _donor(metadata: dict[str, Any], where: str) -> str:
    for key in DONORS:
        value = metadata.get(key)
        if value is not None and str(value).strip() not in ("", "nan"):
            return str(value).strip()
    raise ReferenceError(f"{where}: its metadata name no patient; give donor in the cohort file")


def is_hest(path: Path) -> bool:
    """Whether a folder holds h5ad files where HEST has them."""
    return any((path / name).is_dir() for name in COUNTS) and (path / IMAGES).is_dir()


HEST = Reader(
    what="a HEST folder",
    sources=("hest",),
    claims=is_hest,
    read=read_hest,
    keys=KEYS,
    fills=("image", "mpp", "donor"),
    fill=hest_fill,
)
