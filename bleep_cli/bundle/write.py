"""Writing a reference bundle, whole or not at all; see ``docs/bundle-format.md``."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bleep_cli.base.files.atomic import TEMP_SUFFIX, atomic_path
from bleep_cli.base.rows import PickedColumns, Rows, SpooledRows
from bleep_cli.base.version import __version__
from bleep_cli.bundle.contents import ENCODING_TYPE, ENCODING_VERSION, BundleArrays, BundleInfo
from bleep_cli.bundle.index.choose import EXACT_UP_TO
from bleep_cli.bundle.index.graph import GRAPH, make_graph
from bleep_cli.bundle.index.lists import CENTRES, LISTS, make_listed
from bleep_cli.bundle.index.lists import DTYPES as LIST_DTYPES
from bleep_cli.bundle.index.measured import why_too_few
from bleep_cli.bundle.learned.calibration import SCORES
from bleep_cli.bundle.learned.components import LOADINGS, fit_scores
from bleep_cli.bundle.learned.components import SLOPE as COMPONENTS_SLOPE
from bleep_cli.bundle.learned.looks import TILES as LOOKS_TILES
from bleep_cli.bundle.learned.signature import TILES
from bleep_cli.bundle.learned.slope import RIDGE, SHARE, expression_slope
from bleep_cli.bundle.storage.content_hash import content_sha256
from bleep_cli.bundle.storage.store import open_group
from bleep_cli.bundle.stored import DTYPES, SLOPE
from bleep_cli.choices import PLACED
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.search.hnsw import hnsw_available
from bleep_cli.search.hnsw_build import GraphOptions, options_for
from bleep_cli.towers.precision import TOWERS
from bleep_cli.types import Progress, no_progress

if TYPE_CHECKING:
    import zarr
    from zarr.types import AnyArray

ROW_CHUNK = 1024
EXPRESSION_CHUNK = (2048, 256)  # spots × genes: a MB of f16, and few genes beside the asked ones
BYTES_CHUNK = 1 << 22


def write_bundle(
    path: Path,
    info: BundleInfo,
    arrays: BundleArrays,
    *,
    force: bool = False,
    exact_up_to: int = EXACT_UP_TO,
    graph: GraphOptions | None = None,
    progress: Progress = no_progress,
) -> str:
    """Writes a bundle, a directory or one ``.zarr.zip`` by the ending of ``path``, whole or not at all.

    A reference of more than ``exact_up_to`` spots gets lists that it is searched by. Where these do not find
    enough, or ``graph`` is given, it gets an HNSW graph, too, if hnswlib is installed. The graph's checkpoints lie
    beside ``path`` in :func:`graph_folder` until the bundle is written; writing the same reference again after an
    interruption goes on from the last.

    Returns its ``content_sha256``. Raises ``UsageError`` for another ending, ``OutputError`` where it cannot
    be written, ``ReferenceError`` for arrays that do not fit together.
    """
    if not path.name.endswith((".zarr", ".zarr.zip")):
        raise UsageError(f"{path.name}: a bundle is named *.zarr (a directory) or *.zarr.zip")
    _check_arrays(arrays)
    n = len(arrays.section)
    with atomic_path(path, force=force) as temporary:

        def fill(folder: Path) -> str:
            root = _write_folder(folder, info, arrays)
            if n > exact_up_to:
                enough = _write_lists(root, info, arrays)
                if (graph is not None or not enough) and hnsw_available():
                    _write_graph(root, info, arrays, graph or options_for(n), graph_folder(path), progress)
            return _seal(root, folder, info)

        if not path.name.endswith(".zip"):
            content = fill(temporary)
        else:
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".bleep-", suffix=TEMP_SUFFIX) as folder:
                content = fill(Path(folder))
                _zip(Path(folder), temporary)
    shutil.rmtree(graph_folder(path), ignore_errors=True)
    return content


def graph_folder(path: Path) -> Path:
    """Where the checkpoints of a bundle's graph lie while it is built; safe to delete."""
    return path.with_name(f".{path.name[:40]}.graph{TEMP_SUFFIX}")


def _write_folder(folder: Path, info: BundleInfo, arrays: BundleArrays) -> zarr.Group:
    import zarr

    root = zarr.create_group(zarr.storage.LocalStore(folder), zarr_format=3, overwrite=True)
    _write_arrays(root, info, arrays)
    return root


def _seal(root: zarr.Group, folder: Path, info: BundleInfo) -> str:
    """States the hash of what is read back."""
    attrs = _attrs(info)
    attrs["content_sha256"] = content_sha256(open_group(folder)[0], attrs)
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


def _write_arrays(root: zarr.Group, info: BundleInfo, a: BundleArrays) -> None:
    for name, rows in (("image", a.image_embeddings), ("expression", a.expression_embeddings)):
        _put_rows(root, f"embeddings/{name}", rows, "<f4", (ROW_CHUNK, rows.shape[1]))
    _put_rows(root, "expression", a.expression, DTYPES[info.expression_precision], EXPRESSION_CHUNK)
    strings = {"genes/symbol": a.symbols, "genes/id": a.gene_ids}
    strings |= {"spots/section": a.section, "spots/barcode": a.barcode, "spots/donor": a.donor}
    for name, values in strings.items():
        _put(root, name, values.astype(str))
    _put(root, "genes/panel", np.asarray(a.panel, "<i8"))
    for name, column in a.gene_columns.items():
        _put(root, f"genes/{name}", column.astype("<f4"))
    _put_slopes(root, info, a)
    _put(root, "spots/x", a.xy_l0[:, 0].astype("<f8"))
    _put(root, "spots/y", a.xy_l0[:, 1].astype("<f8"))
    for name, tower in (("image", a.image_tower), ("expression", a.expression_tower)):
        _put_tower(root, name, tower)
    for chosen, other in a.other_towers.items():
        _put_tower(root, TOWERS[chosen], other.model, other.cost.attrs())
    if a.signature is not None:
        for path, values in a.signature.arrays().items():
            _put_rows(root, path, values, values.dtype.str, values.shape)
        root[TILES].attrs.update(a.signature.attrs())
    if a.calibration is not None:
        for path, values in a.calibration.arrays().items():
            _put_rows(root, path, values, values.dtype.str, (ROW_CHUNK, *values.shape[1:]))
        root[SCORES].attrs.update(a.calibration.attrs())
    if a.looks is not None:
        for path, values in a.looks.arrays().items():
            _put_rows(root, path, values, values.dtype.str, (ROW_CHUNK, *values.shape[1:]))
        root[LOOKS_TILES].attrs.update(a.looks.attrs())


def _put_slopes(root: zarr.Group, info: BundleInfo, a: BundleArrays) -> None:
    """What predictions that look at a tile's own place take, as the aggregation needs it."""
    if info.aggregation not in PLACED:
        return
    slope = expression_slope(a.image_embeddings, a.expression)
    array = _put_rows(root, SLOPE, slope, "<f4", (slope.shape[0], EXPRESSION_CHUNK[1]))
    array.attrs.update({"ridge": RIDGE, "share": SHARE})
    if info.aggregation != "projected":
        return
    scores = fit_scores(SpooledRows(PickedColumns(a.expression, a.panel)))
    for path, values in scores.tell(a.image_embeddings, a.expression).arrays().items():
        chunks = (values.shape[0], EXPRESSION_CHUNK[1]) if path == LOADINGS else (ROW_CHUNK, *values.shape[1:])
        _put_rows(root, path, values, values.dtype.str, chunks)
    root[LOADINGS].attrs.update({"penalty": scores.penalty})
    root[COMPONENTS_SLOPE].attrs.update({"ridge": RIDGE, "share": SHARE})


def _put_tower(root: zarr.Group, name: str, tower: bytes, cost: Mapping[str, Any] | None = None) -> None:
    """Stores a tower with its hash and, at another precision, its cost."""
    array = _put(root, f"encoders/{name}", np.frombuffer(tower, np.uint8))
    array.attrs.update({"sha256": hashlib.sha256(tower).hexdigest(), **(cost or {})})


def _keyed(info: BundleInfo, a: BundleArrays) -> tuple[Rows, Rows]:
    """The embeddings that are searched, and those on the other side."""
    both = a.expression_embeddings, a.image_embeddings
    return (both[1], both[0]) if info.key == "image" else both


def _write_lists(root: zarr.Group, info: BundleInfo, a: BundleArrays) -> bool:
    """Whether a search by them finds enough."""
    lists, attrs = make_listed(*_keyed(info, a))
    for name, dtype in LIST_DTYPES.items():
        values = np.asarray(getattr(lists, name), dtype)
        _put_rows(root, f"{LISTS}/{name}", values, dtype, (BYTES_CHUNK, *values.shape[1:]))
    root[CENTRES].attrs.update(attrs | {"key": info.key})
    return not why_too_few(attrs, LISTS)


def _write_graph(
    root: zarr.Group, info: BundleInfo, a: BundleArrays, options: GraphOptions, work: Path, progress: Progress
) -> None:
    file, attrs = make_graph(*_keyed(info, a), options, work, progress)
    array = _put_rows(root, GRAPH, np.memmap(file, np.uint8, mode="r"), "u1", (BYTES_CHUNK,))
    array.attrs.update(attrs | {"key": info.key})


def _create(
    root: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any] | type[str] | str,
    chunks: tuple[int, ...],
) -> AnyArray:
    from zarr.codecs import Crc32cCodec, ZstdCodec

    fitting = tuple(max(1, min(size, chunk)) for size, chunk in zip(shape, chunks, strict=True))
    codecs = [ZstdCodec(level=3), Crc32cCodec()]
    return root.create_array(
        name,
        shape=shape,
        dtype=dtype,
        chunks=fitting,
        compressors=codecs,
        config={"write_empty_chunks": True},  # so that a chunk that is missing is damage, and no zeros
    )


def _put(root: zarr.Group, name: str, values: NDArray[Any]) -> AnyArray:
    text = values.dtype.kind == "U"
    array = _create(root, name, values.shape, str if text else values.dtype, (BYTES_CHUNK,))
    array[...] = values.astype(object) if text else values
    return array


def _put_rows(root: zarr.Group, name: str, rows: Rows, dtype: str, chunks: tuple[int, ...]) -> AnyArray:
    """Writes a table a chunk's rows at a time, so that it is never in memory whole nor dense."""
    array = _create(root, name, rows.shape, dtype, chunks)
    step = array.chunks[0]
    for start in range(0, rows.shape[0], step):
        block = rows[start : start + step]
        array[start : start + step] = (block.toarray() if hasattr(block, "toarray") else block).astype(dtype)
    return array


def _attrs(info: BundleInfo) -> dict[str, Any]:
    return {
        "encoding-type": ENCODING_TYPE,
        "encoding-version": ENCODING_VERSION,
        "created_with": f"bleep-cli {__version__}",
        "parent_sha256": info.parent_sha256,
        **({"merged_sha256": list(info.merged_sha256)} if info.merged_sha256 else {}),
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
        "aggregation": info.aggregation,
        "views": info.views,
        "recommended_views": info.recommended_views,
        "sections": [vars(section) for section in info.sections],
        "species": info.species,
        "licence": info.licence,
        "citation": info.citation,
        "intended_use": info.intended_use,
        **({"reliability": json.loads(json.dumps(info.reliability))} if info.reliability else {}),
        "training": json.loads(json.dumps(info.training)),
        **({"findings": [finding.plain() for finding in info.findings]} if info.findings else {}),
    }
