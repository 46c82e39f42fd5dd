"""Predictions as AnnData files that need no glue: one h5ad file, or one Zarr v3 store.

Both hold the same elements (n tiles, g genes, k neighbours):

- ``X`` f32[n, g], log1p of normalised counts; ``var_names`` gene symbols, ``var["gene_ids"]``;
- ``obs_names`` = ``obs["tile_id"]``; ``obs["in_tissue"]`` 0 or 1, ``array_row``, ``array_col``;
  ``obs["region"]``, the slide's name in every row (spatialdata's region column: the element that the rows
  annotate); ``obs["tissue_piece"]``, the piece of tissue a tile lies on; then ``Prediction.obs``;
- ``obsm["spatial"]`` f64[n, 2], (x, y) tile centres in level-0 px, origin top left;
  ``obsm["neighbours"]`` i32[n, k] rows of the reference and ``obsm["neighbour_similarity"]`` f32[n, k];
- ``uns["spatial"][slide]`` as squidpy and scanpy read it, ``uns["spatialdata_attrs"]``, and
  ``uns["bleep"]``, the provenance.

``X`` is written block by block: memory does not grow with the slide.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bleep_cli.atomic import atomic_path
from bleep_cli.errors import OutputError, UsageError
from bleep_cli.types import F32, Prediction, Progress, no_progress

if TYPE_CHECKING:
    import pandas as pd

CHUNK_ROWS = 1024
"""Rows of ``X`` in a chunk of the Zarr store; a chunk holds every gene."""

_X_ATTRS: dict[str, Any] = {"encoding-type": "array", "encoding-version": "0.2.0"}


class Writer(Protocol):
    """Writes one prediction to ``path``, whole or not at all; ``OutputError`` if that fails."""

    def __call__(
        self, prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
    ) -> None: ...


@dataclass(frozen=True)
class Format:
    """One value of ``--format``: the ``suffix`` of its files, and what writes them."""

    suffix: str
    write: Writer


def output_path(folder: Path, slide_id: str, format_name: str) -> Path:
    """Where a slide's prediction goes: ``folder/<slide_id><suffix>``.

    ``UsageError`` for a format that :data:`FORMATS` does not hold, ``OutputError`` for a slide name that
    cannot name a file.
    """
    if format_name not in FORMATS:
        raise UsageError(f"--format {format_name} is not known; there are {', '.join(FORMATS)}")
    if slide_id in ("", ".", "..") or any(sign in slide_id for sign in "/\\\0"):
        raise OutputError(f"the slide's name {slide_id!r} cannot name a file; rename the slide")
    return folder / f"{slide_id}{FORMATS[format_name].suffix}"


def write_h5ad(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes ``path`` as h5ad, ``X`` contiguous and uncompressed.

    The same prediction gives the same bytes. ``OutputError`` if ``path`` exists and not ``force``, or if it
    cannot be written.
    """
    shape = (len(prediction.grid), len(prediction.symbols))
    with atomic_path(path, force) as temp, _hdf5(temp) as (file, raw):
        _write_all_but_x(file, prediction)
        array = file.create_dataset("X", shape=shape, dtype="f4")
        array.attrs.update(_X_ATTRS)
        for first, block in _blocks(prediction):
            array[first : first + len(block)] = block
            raw.check()
            progress("write", first + len(block), shape[0])


def write_zarr(
    prediction: Prediction, path: Path, *, force: bool = False, progress: Progress = no_progress
) -> None:
    """Writes ``path`` as an AnnData Zarr v3 folder, ``X`` in zstd chunks of ``CHUNK_ROWS`` × g.

    ``OutputError`` if ``path`` exists and not ``force``, or if it cannot be written.
    """
    import zarr
    from zarr.codecs import ZstdCodec
    from zarr.storage import LocalStore

    rows, genes = len(prediction.grid), len(prediction.symbols)
    with atomic_path(path, force) as temp:
        group = zarr.open_group(LocalStore(temp), mode="w-", zarr_format=3)
        _write_all_but_x(group, prediction)
        array = group.create_array(
            "X",
            shape=(rows, genes),
            dtype="float32",
            chunks=(min(CHUNK_ROWS, rows), genes),
            compressors=[ZstdCodec(level=1, checksum=True)],
            attributes=_X_ATTRS,
        )
        for first, block in _aligned(_blocks(prediction), CHUNK_ROWS, genes):
            array[first : first + len(block)] = block
            progress("write", first + len(block), rows)


FORMATS: Mapping[str, Format] = MappingProxyType(
    {"h5ad": Format(".h5ad", write_h5ad), "zarr": Format(".zarr", write_zarr)}
)
"""The values of ``--format``."""


def _blocks(prediction: Prediction) -> Iterator[tuple[int, F32]]:
    """The prediction's own blocks; a gap, an overlap or a wrong width is a bug of who made it."""
    expected, genes = 0, len(prediction.symbols)
    for first, block in prediction.blocks():
        assert first == expected, f"block starts at row {first} instead of {expected}"
        assert block.ndim == 2 and block.shape[1] == genes, f"block of shape {block.shape} for {genes} genes"
        yield first, block
        expected += len(block)
    assert expected == len(prediction.grid), f"blocks hold {expected} of {len(prediction.grid)} tiles"


def _aligned(blocks: Iterator[tuple[int, F32]], rows: int, genes: int) -> Iterator[tuple[int, F32]]:
    """The same rows in blocks of exactly ``rows`` (the last may be shorter), so no chunk is written twice.

    Every block is the same buffer: use it before asking for the next.
    """
    buffer = np.empty((rows, genes), np.float32)
    start = filled = 0
    for _, block in blocks:
        taken = 0
        while taken < len(block):
            part = block[taken : taken + rows - filled]
            buffer[filled : filled + len(part)] = part
            filled, taken = filled + len(part), taken + len(part)
            if filled == rows:
                yield start, buffer
                start, filled = start + rows, 0
    if filled:
        yield start, buffer[:filled]


def _write_all_but_x(root: Any, prediction: Prediction) -> None:
    """Writes every element but the expression, all small, to an HDF5 file or a Zarr group.

    One by one, since ``write_elem`` of a whole AnnData also writes a ``raw`` that backed mode trips over.
    """
    from anndata.io import write_elem

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "zarr v3 autosharding")  # anndata 0.12 announces its successor
        for name, element in _elements(prediction).items():
            write_elem(root, name, element)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})


def _elements(prediction: Prediction) -> dict[str, Any]:
    import pandas as pd

    slide, symbols = prediction.slide_id, prediction.symbols.astype(object)
    assert len(set(symbols)) == len(symbols), "gene symbols repeat"
    return {
        "obs": _obs(prediction),
        "var": pd.DataFrame({"gene_ids": prediction.gene_ids.astype(object)}, index=symbols),
        "obsm": {
            "spatial": prediction.grid.centre_l0.astype(np.float64),
            "neighbours": prediction.neighbours.index.astype(np.int32),
            "neighbour_similarity": prediction.neighbours.similarity.astype(np.float32),
        },
        "uns": {
            "spatial": {slide: _spatial(prediction)},
            "spatialdata_attrs": {"region": slide, "region_key": "region", "instance_key": "tile_id"},
            "bleep": storable(prediction.provenance),
        },
        **{empty: {} for empty in ("varm", "obsp", "varp", "layers")},
    }


def _obs(prediction: Prediction) -> pd.DataFrame:
    import pandas as pd

    grid = prediction.grid
    tile_id = grid.tile_id.astype(object)
    columns: dict[str, Any] = {
        "in_tissue": prediction.in_tissue.astype(np.int64),
        "array_row": grid.array_row,
        "array_col": grid.array_col,
        "tile_id": tile_id,
        "region": pd.Categorical([prediction.slide_id] * len(grid)),
        "tissue_piece": pd.Categorical(grid.region.astype(object)),
    }
    assert not columns.keys() & prediction.obs.keys(), "a further column has the name of a fixed one"
    return pd.DataFrame({**columns, **prediction.obs}, index=tile_id)


def _spatial(prediction: Prediction) -> dict[str, Any]:
    """One slide's entry of ``uns["spatial"]``, in the layout of 10x Visium. Lengths in level-0 px or µm."""
    grid = prediction.grid
    return {
        "images": {"hires": prediction.hires},
        "scalefactors": {
            "tissue_hires_scalef": float(prediction.hires_scalef),
            "spot_diameter_fullres": float(grid.pitch_um / grid.mpp),
        },
        "metadata": {
            "mpp": float(grid.mpp),
            "pitch_um": float(grid.pitch_um),
            "tile_um": np.asarray(grid.spec.um, np.float64),
            "tile_px": int(grid.spec.px),
        },
    }


def storable(value: Any) -> Any:
    """A JSON-able value as one that AnnData can write to both formats and read back equal.

    Lists of strings, of numbers and of truth values become arrays; other lists become mappings with the keys
    ``"0"``, ``"1"``, ...; a ``None`` in a mapping or such a list is left out; ``/`` in a key becomes ``_``.
    ``TypeError`` for what JSON does not know.
    """
    if isinstance(value, Mapping):
        return {str(key).replace("/", "_"): storable(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        if all(isinstance(item, str) for item in value):
            return np.array(value, dtype=object)
        if all(isinstance(item, bool) for item in value) or all(_is_number(item) for item in value):
            return np.array(value)
        return storable({str(place): item for place, item in enumerate(value)})
    if isinstance(value, str | bool) or _is_number(value):
        return value
    raise TypeError(f"provenance cannot hold a {type(value).__name__}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


class _RawFile(io.FileIO):
    """A file that HDF5 believes to be always writable; the first failure waits in ``failed``.

    Told of a full disk, HDF5 can no longer close its file, and says so on stderr with the file's whole path. What
    it writes after the failure is held in memory and read back from there, since HDF5 crashes on a file that
    forgets; :meth:`check` after each block keeps that small.
    """

    failed: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._held: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:
        """Writes all of ``data``, to memory once a write has failed."""
        start, whole = self.tell(), memoryview(data).cast("B")
        rest = whole
        while rest and self.failed is None:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self.failed = error
        if self.failed is not None:
            self._held.append((start, bytes(whole)))
            self.seek(start + len(whole))
        return len(whole)

    def readinto(self, buffer: Any) -> int:
        """Fills the whole buffer: from the file, then from what is held; zeros where neither has anything."""
        view, start = memoryview(buffer).cast("B"), self.tell()
        got = super().readinto(view) or 0
        view[got:] = bytes(len(view) - got)
        for at, data in self._held:
            low, high = max(start, at), min(start + len(view), at + len(data))
            if low < high:
                view[low - start : high - start] = data[low - at : high - at]
        self.seek(start + len(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Sets the size, unless a write or this has failed."""
        try:
            return super().truncate(size) if self.failed is None else self.tell()
        except OSError as error:
            self.failed = error
            return self.tell()

    def check(self) -> None:
        """Raises the first failure."""
        if self.failed is not None:
            raise self.failed


@contextmanager
def _hdf5(path: Path) -> Iterator[tuple[Any, _RawFile]]:
    """A new HDF5 file, and the file under it to ask whether the disk took what was written."""
    import h5py

    with _RawFile(path, "x+") as raw:
        try:
            with h5py.File(raw, "w") as file:
                yield file, raw
        finally:
            raw.check()
