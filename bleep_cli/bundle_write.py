"""Writing a reference bundle, whole or not at all; see ``docs/bundle-format.md``."""

from __future__ import annotations

import hashlib
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli import __version__
from bleep_cli.atomic import TEMP_SUFFIX, atomic_path
from bleep_cli.bundle import (
    ENCODING_TYPE,
    ENCODING_VERSION,
    BundleArrays,
    BundleInfo,
    content_sha256,
    sha256_of,
)
from bleep_cli.errors import ReferenceError, UsageError

ROW_CHUNK = 1024


def write_bundle(path: Path, info: BundleInfo, arrays: BundleArrays, *, force: bool = False) -> str:
    """Writes a bundle, a directory or one ``.zarr.zip`` by the ending of ``path``, whole or not at all.

    Returns its ``content_sha256``. Raises ``UsageError`` for another ending, ``OutputError`` where it cannot
    be written, ``ReferenceError`` for arrays that do not fit together.
    """
    if not path.name.endswith((".zarr", ".zarr.zip")):
        raise UsageError(f"{path.name}: a bundle is named *.zarr (a directory) or *.zarr.zip")
    _check_arrays(arrays)
    with atomic_path(path, force=force) as temporary:
        if not path.name.endswith(".zip"):
            return _write_folder(temporary, info, arrays)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".bleep-", suffix=TEMP_SUFFIX) as folder:
            content = _write_folder(Path(folder), info, arrays)
            _zip(Path(folder), temporary)
            return content


def _write_folder(folder: Path, info: BundleInfo, arrays: BundleArrays) -> str:
    import zarr

    root = zarr.create_group(zarr.storage.LocalStore(folder), zarr_format=3, overwrite=True)
    _write_arrays(root, info, arrays)
    attrs = _attrs(info, arrays)
    attrs["content_sha256"] = content_sha256(root, attrs)
    root.attrs.update(attrs)
    return str(attrs["content_sha256"])


def _zip(folder: Path, target: Path) -> None:
    """The folder as a zip: stored, in the order of names and without times, so equal bundles are equal bytes."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.writestr(zipfile.ZipInfo(file.relative_to(folder).as_posix()), file.read_bytes())


def _check_arrays(a: BundleArrays) -> None:
    n, g = a.expression.shape
    rows = {len(x) for x in (a.image_embeddings, a.expression_embeddings, a.section, a.barcode, a.donor, a.xy_l0)}
    if rows != {n} or len(a.symbols) != g or len(a.gene_ids) != g or not n:
        raise ReferenceError("the arrays of the bundle do not have the same number of spots or genes")
    if len(set(a.symbols.tolist())) != g:
        raise ReferenceError("gene symbols of a bundle must be unique")


def _write_arrays(root: Any, info: BundleInfo, a: BundleArrays) -> None:
    _put(root, "embeddings/image", a.image_embeddings.astype("<f4"))
    _put(root, "embeddings/expression", a.expression_embeddings.astype("<f4"))
    _put_expression(root, a.expression)
    strings = {"genes/symbol": a.symbols, "genes/id": a.gene_ids}
    strings |= {"spots/section": a.section, "spots/barcode": a.barcode, "spots/donor": a.donor}
    for name, values in strings.items():
        _put(root, name, values.astype(str))
    _put(root, "genes/panel", np.asarray(a.panel, "<i8"))
    for name, column in a.gene_columns.items():
        _put(root, f"genes/{name}", column.astype("<f4"))
    _put(root, "spots/x", a.xy_l0[:, 0].astype("<f8"))
    _put(root, "spots/y", a.xy_l0[:, 1].astype("<f8"))
    for name, tower in (("image", a.image_tower), ("expression", a.expression_tower)):
        array = _put(root, f"encoders/{name}", np.frombuffer(tower, np.uint8))
        array.attrs["sha256"] = hashlib.sha256(tower).hexdigest()
    if a.hnsw is not None:
        keyed = a.expression_embeddings if info.key == "expression" else a.image_embeddings
        array = _put(root, "index/hnsw", a.hnsw)
        array.attrs.update({"library": "hnswlib", "key": info.key, "embeddings_sha256": sha256_of(keyed)})


def _chunks(shape: tuple[int, ...]) -> tuple[int, ...]:
    first = ROW_CHUNK if len(shape) > 1 else 1 << 22
    return (max(1, min(first, shape[0])), *(max(1, size) for size in shape[1:]))


def _codecs(level: int = 3) -> list[Any]:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    return [ZstdCodec(level=level), Crc32cCodec()]


def _put(root: Any, name: str, values: Any) -> Any:
    dtype = str if values.dtype.kind == "U" else values.dtype
    array = root.create_array(
        name, shape=values.shape, dtype=dtype, chunks=_chunks(values.shape), compressors=_codecs()
    )
    array[...] = values.astype(object) if values.dtype.kind == "U" else values
    return array


def _put_expression(root: Any, expression: Any) -> None:
    """Dense f32 chunks of rows, made dense a chunk at a time."""
    from scipy import sparse

    n, g = expression.shape
    array = root.create_array(
        "expression", shape=(n, g), dtype="<f4", chunks=_chunks((n, g)), compressors=_codecs()
    )
    for start in range(0, n, ROW_CHUNK):
        block = expression[start : start + ROW_CHUNK]
        array[start : start + ROW_CHUNK] = block.toarray() if sparse.issparse(block) else block


def _attrs(info: BundleInfo, a: BundleArrays) -> dict[str, Any]:
    return {
        "encoding-type": ENCODING_TYPE,
        "encoding-version": ENCODING_VERSION,
        "created_with": f"bleep-cli {__version__}",
        "parent_sha256": info.parent_sha256,
        "tile": {
            "px": info.tile.px,
            "um": list(info.tile.um),
            "mpp": [info.tile.mpp(i) for i in range(len(info.tile.um))],
        },
        "expression": {
            "space": "log1p",
            "target_sum": info.target_sum,
            "batch_corrected": False,
            "tower_input": info.tower_input,
        },
        "metric": "cosine",
        "k": info.k,
        "key": info.key,
        "views": info.views,
        "recommended_views": info.recommended_views,
        "sections": [vars(section) for section in info.sections],
        "species": info.species,
        "licence": info.licence,
        "citation": info.citation,
        "intended_use": info.intended_use,
        "training": json.loads(json.dumps(info.training)),
    }
