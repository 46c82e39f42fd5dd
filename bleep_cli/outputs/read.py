"""A written result as the ``Prediction`` that it was made from, its expression left on disk."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.base.files.stored_arrays import UnsoundError
from bleep_cli.base.files.unpacked import regular
from bleep_cli.base.reasons import first_line
from bleep_cli.errors import BleepError, OutputError, UsageError
from bleep_cli.findings import finding_of
from bleep_cli.outputs.elements import FIXED_OBS, FIXED_OBSM, plain
from bleep_cli.outputs.stored import opened
from bleep_cli.types import F32, Blocks, Bool, Neighbours, Prediction, TileGrid, TileSpec

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    import zarr

BLOCK_BYTES = 32 << 20  # of expression that is read at a time
ZARR_ENTRIES = ("zarr.json", ".zgroup")  # AnnData 0.12 writes the second version of Zarr
OUR_LAYERS = re.compile(r"lower|upper|sample_[1-9][0-9]*")
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def open_result(path: Path | str) -> Prediction:
    """What ``bleep predict`` wrote: an h5ad, or an AnnData Zarr folder. All but the expression is in memory.

    Its blocks come from the file, which has to stay where it is, at most ``BLOCK_BYTES`` (of Zarr, a chunk) at a
    time. Findings and provenance are those it was written with. ``X`` may have been made sparse (CSR), tiles and
    genes may have been left out since, and columns added.

    Raises
    ------
    UsageError
        There is no such file, or it is no result of bleep.
    OutputError
        It is damaged, lacks something that every result has, or holds several slides.
    """
    path = Path(path)
    kind = _kind(path)
    with _reading(path.name, "the file"), opened(path, kind) as root:
        return _prediction(root, path, kind)


def _kind(path: Path) -> str:
    """The format of a result, by its content; ``UsageError`` for what is none."""
    if not path.exists():
        raise UsageError(f"{path.name}: no such file")
    if path.is_dir():
        if any((path / entry).is_file() for entry in ZARR_ENTRIES):
            return "zarr"
    else:
        with _reading(path.name, "the file"), regular(path).open("rb") as file:
            if file.read(len(HDF5_MAGIC)) == HDF5_MAGIC:
                return "h5ad"
    raise _no_result(path.name)


def _no_result(name: str) -> UsageError:
    return UsageError(f"{name} is no result of bleep: give an h5ad or a zarr that bleep predict wrote")


@contextmanager
def _reading(name: str, what: str) -> Iterator[None]:
    """Turns whatever h5py, Zarr, AnnData and pandas raise for a damaged file into an ``OutputError``.

    Their texts may hold whole paths, so only that of a missing key is told.
    """
    try:
        yield
    except (BleepError, MemoryError):
        raise
    except UnsoundError as error:
        raise OutputError(f"{name} is damaged: {error}") from error
    except KeyError as error:
        raise OutputError(f"{name} is damaged: {what} lacks {first_line(error)}") from error
    except Exception as error:
        raise OutputError(f"{name} is damaged: {what} cannot be read ({type(error).__name__})") from error


def _prediction(root: h5py.File | zarr.Group, path: Path, kind: str) -> Prediction:
    name = path.name
    if root.attrs.get("encoding-type") == "bleep-reference":
        raise UsageError(f"{name} is a reference bundle, no result; bleep inspect shows what it holds")
    if "uns/bleep" not in root:
        raise _no_result(name)
    said: Mapping[str, Any] = plain(_element(root, name, "uns/bleep"))
    slide, picture = _picture(_element(root, name, "uns/spatial"), name)
    obs, var = _element(root, name, "obs"), _element(root, name, "var")
    with _reading(name, "uns/spatial"):
        scales, facts = picture["scalefactors"], picture["metadata"]
        hires = np.asarray(picture["images"]["hires"])
        scalef, mpp, pitch_um = (
            float(scales["tissue_hires_scalef"]),
            float(facts["mpp"]),
            float(facts["pitch_um"]),
        )
        spec = TileSpec(int(facts["tile_px"]), tuple(float(um) for um in facts["tile_um"]))
    with _reading(name, "obs"):
        names, pieces = (obs[column].astype(str).to_numpy(str) for column in ("tile_id", "tissue_piece"))
        row, column = (obs[axis].to_numpy(np.int64) for axis in ("array_row", "array_col"))
        in_tissue = obs["in_tissue"].to_numpy(bool)
    with _reading(name, "var"):
        symbols, gene_ids = var.index.to_numpy(str), var["gene_ids"].to_numpy(str)
    obsm = _element(root, name, "obsm")
    with _reading(name, "obsm"):
        centre, index, similarity = (np.asarray(obsm[key]) for key in FIXED_OBSM)
        further = {key: values for key, values in obsm.items() if key not in FIXED_OBSM and _is_f32(values)}
    with _reading(name, "X"):
        shape = _x(root).shape
    with _reading(name, "layers"):
        layers = sorted(filter(OUR_LAYERS.fullmatch, _element_names(root, "layers")), key=_numbered)
        shapes = {_x(root, f"layers/{layer}").shape for layer in layers}
    sound = (
        {shape, *shapes} == {(len(obs), len(var))}
        and centre.shape == (len(obs), 2)
        and np.isfinite(centre).all()
        and index.shape == similarity.shape
        and all(values.ndim == 2 and len(values) == len(obs) for values in (index, *further.values()))
        and hires.dtype == np.uint8
        and hires.ndim == 3
        and hires.shape[2] == 3
        and min(scalef, mpp, pitch_um, *spec.um) > 0
    )
    if not sound:
        raise OutputError(f"{name} is damaged: its elements do not belong together")
    if not len(obs) or not len(var):
        raise OutputError(f"{name} holds no tiles or no genes any more")
    return Prediction(
        slide_id=slide,
        grid=TileGrid(centre.astype(np.float64), row, column, names, pieces, spec, mpp, pitch_um),
        in_tissue=in_tissue,
        symbols=symbols,
        gene_ids=gene_ids,
        neighbours=Neighbours(index.astype(np.int64), similarity.astype(np.float32)),
        obs=dict(_further(obs)),
        blocks=lambda: _blocks(path, kind, "X"),
        layers={layer: partial(_blocks, path, kind, f"layers/{layer}") for layer in layers},
        hires=hires,
        hires_scalef=scalef,
        provenance=said,
        findings=_findings(said, name),
        obsm=further,
        var={str(key): values for key, column in var.items() if _is_said(values := column.to_numpy())},
    )


def _element(root: h5py.File | zarr.Group, name: str, key: str) -> Any:
    from anndata.io import read_elem

    with _reading(name, key):
        if key not in root:
            raise OutputError(f"{name} is damaged: it holds no {key}")
        return read_elem(root[key])


def _picture(spatial: Mapping[str, Any], name: str) -> tuple[str, Mapping[str, Any]]:
    """The slide's name and its entry of ``uns["spatial"]``."""
    if len(spatial) != 1:
        raise OutputError(f"{name} holds {len(spatial)} slides, not one: {', '.join(sorted(spatial))}")
    ((slide, entry),) = spatial.items()
    return str(slide), entry


def _further(obs: pd.DataFrame) -> Iterator[tuple[str, F32 | Bool]]:
    """``Prediction.obs``: every other column of numbers or truth values."""
    for name, column in obs.items():
        values = column.to_numpy()
        if name not in FIXED_OBS and values.dtype.kind in "fiub":
            yield str(name), values if values.dtype == np.bool_ else values.astype(np.float32)


def _is_f32(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype == np.float32


def _is_said(values: Any) -> bool:
    return _is_f32(values) or (isinstance(values, np.ndarray) and values.dtype == np.bool_)


def _findings(said: Mapping[str, Any], name: str) -> Any:
    with _reading(name, "uns/bleep"):
        return tuple(map(finding_of, said.get("findings", ())))


# --- expression


def _element_names(root: Any, place: str) -> Iterable[str]:
    return root[place].keys() if place in root else ()


def _numbered(layer: str) -> tuple[int, str]:
    """Draws in their own order: 2 before 10."""
    return len(layer), layer


def _x(root: h5py.File | zarr.Group, place: str = "X") -> Any:
    """``X`` or a layer [n, g], sliced by rows, read as it is asked for."""
    from anndata.io import sparse_dataset

    stored = root[place]
    if stored.attrs.get("encoding-type") == "csr_matrix":
        return sparse_dataset(stored)
    if not hasattr(stored, "shape"):
        raise TypeError("neither dense nor CSR")
    return stored


def _blocks(path: Path, kind: str, place: str) -> Blocks:
    with _reading(path.name, place), opened(path, kind) as root:
        x = _x(root, place)
        _check_chunks(x, path.name, place)
        for first in range(0, x.shape[0], _rows(x)):
            block = x[first : first + _rows(x)]
            yield first, np.asarray(block.toarray() if hasattr(block, "toarray") else block, np.float32)


def _rows(x: Any) -> int:
    """How many rows are read at a time: whole chunks, since a part of one costs as much."""
    chunk = int((getattr(x, "chunks", None) or (1,))[0])
    return max(1, BLOCK_BYTES // (4 * int(x.shape[1])) // chunk) * chunk


def _check_chunks(x: Any, name: str, place: str) -> None:
    """A chunk of ours that has gone would be read as zeros: Zarr leaves out those that are nothing else."""
    ours = hasattr(x, "nchunks_initialized") and x.chunks[1] == x.shape[1]
    if ours and x.nchunks_initialized < x.nchunks:
        raise OutputError(f"{name} is damaged: {x.nchunks - x.nchunks_initialized} chunks of {place} are missing")
