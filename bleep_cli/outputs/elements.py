"""The elements of an AnnData file that a prediction becomes, all but ``X``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from bleep_cli.types import Blocks, Prediction, Str

if TYPE_CHECKING:
    import h5py
    import pandas as pd
    import zarr

X_ATTRS: dict[str, Any] = {"encoding-type": "array", "encoding-version": "0.2.0"}
FIXED_OBS = ("in_tissue", "array_row", "array_col", "tile_id", "region", "tissue_piece")
"""The columns of ``obs`` that every result has; what follows them is ``Prediction.obs``."""
FIXED_OBSM = ("spatial", "neighbours", "neighbour_similarity")
"""The same of ``obsm`` and ``Prediction.obsm``."""


def matrices(prediction: Prediction) -> dict[str, Callable[[], Blocks]]:
    """What :func:`elements` leaves out, by its place in an AnnData: ``X``, and a layer each."""
    return {"X": prediction.blocks, **{f"layers/{name}": blocks for name, blocks in prediction.layers.items()}}


def write_elements(root: h5py.File | zarr.Group, content: Mapping[str, Any]) -> None:
    """Writes the elements of an AnnData by name.

    One by one, since ``write_elem`` of a whole AnnData also writes a ``raw`` that backed mode trips over.
    """
    from anndata.io import write_elem

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "zarr v3 autosharding")  # anndata 0.12 announces its successor
        for name, element in content.items():
            write_elem(root, name, element)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})


def elements(prediction: Prediction) -> dict[str, Any]:
    """Every element but ``X`` by name, as AnnData knows them (:mod:`bleep_cli.outputs.formats` describes each)."""
    slide, symbols = prediction.slide_id, prediction.symbols
    assert len(set(symbols)) == len(symbols), "gene symbols repeat"
    return {
        "obs": _obs(prediction),
        "var": table(symbols, {"gene_ids": prediction.gene_ids, **prediction.var}),
        "obsm": _obsm(prediction),
        "uns": {
            "spatial": {slide: _spatial(prediction)},
            "spatialdata_attrs": {"region": slide, "region_key": "region", "instance_key": "tile_id"},
            "log1p": {},  # as scanpy marks it, so that a second log1p is warned of
            "bleep": storable(prediction.provenance),
        },
        **{empty: {} for empty in ("varm", "obsp", "varp", "layers")},
    }


def _obs(prediction: Prediction) -> pd.DataFrame:
    grid = prediction.grid
    fixed: tuple[Any, ...] = (
        prediction.in_tissue.astype(np.int64),
        grid.array_row,
        grid.array_col,
        grid.tile_id,
        categorical(np.full(len(grid), prediction.slide_id)),
        categorical(grid.region),
    )
    columns: dict[str, Any] = dict(zip(FIXED_OBS, fixed, strict=True))
    assert not columns.keys() & prediction.obs.keys(), "a further column has the name of a fixed one"
    return table(grid.tile_id, {**columns, **prediction.obs})


def _obsm(prediction: Prediction) -> dict[str, Any]:
    fixed: tuple[Any, ...] = (
        prediction.grid.centre_l0.astype(np.float64),
        prediction.neighbours.index.astype(np.int32),
        prediction.neighbours.similarity.astype(np.float32),
    )
    return dict(zip(FIXED_OBSM, fixed, strict=True)) | dict(prediction.obsm)


def table(names: Str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """A table indexed by ``names`` str[n], all its strings as Python objects.

    Left to itself, pandas 3 makes them its own string type, which AnnData 0.13 stores as "nullable-string-array";
    AnnData 0.10 and readers made for it know only "string-array", which objects become in every version.
    """
    import pandas as pd

    index = pd.Index(names.astype(object), dtype=object)

    def column(values: Any) -> Any:
        text = isinstance(values, np.ndarray) and values.dtype.kind == "U"
        return pd.Series(values.astype(object), index, dtype=object) if text else values

    return pd.DataFrame({name: column(values) for name, values in columns.items()}, index)


def categorical(values: Str) -> pd.Categorical:
    """str[n] as a categorical whose categories, sorted, are Python objects, for the same reason."""
    import pandas as pd

    categories, codes = np.unique(values, return_inverse=True)
    return pd.Categorical.from_codes(codes, pd.Index(categories.astype(object), dtype=object))


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


def plain(value: Any) -> Any:
    """What :func:`storable` made of a value, as it is read back, JSON-able again.

    Arrays are lists; so are mappings with just the keys ``"0"``, ``"1"``, ...; a ``None`` that was left out stays
    out.
    """
    if isinstance(value, Mapping):
        items = {str(key): plain(item) for key, item in value.items()}
        places = [str(place) for place in range(len(items))]
        return [items[place] for place in places] if items and items.keys() == set(places) else items
    if isinstance(value, np.ndarray):
        return [plain(item) for item in value.tolist()]
    return value.item() if isinstance(value, np.generic) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
