"""What lies on disk is what AnnData 0.10 knows, whichever AnnData and pandas wrote it.

pandas 3 makes strings its own type, which AnnData 0.13 would store as "nullable-string-array". An older pandas is
told to do the same (``future.infer_string``), so that these tests can fail beside it, too.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from made_prediction import SLIDE, SYMBOLS, make_prediction

from bleep_cli.outputs.exports.cellxgene import write_cellxgene
from bleep_cli.outputs.exports.spatial_data import write_spatialdata
from bleep_cli.outputs.h5ad import write_h5ad
from bleep_cli.outputs.zarr_store import write_zarr

# The encodings of AnnData 0.10 that a dense table needs. Its Zarr is version 2, but the elements are these.
KNOWN = {
    ("anndata", "0.1.0"),
    ("array", "0.2.0"),
    ("categorical", "0.2.0"),
    ("dataframe", "0.2.0"),
    ("dict", "0.1.0"),
    ("numeric-scalar", "0.2.0"),
    ("string", "0.2.0"),
    ("string-array", "0.2.0"),
}
TEXTS = {
    "obs/_index",
    "obs/tile_id",
    "obs/region/categories",
    "obs/tissue_piece/categories",
    "var/_index",
    "var/gene_ids",
    "uns/bleep/providers",
}


@pytest.fixture(scope="module", params=[write_h5ad, write_zarr])
def root(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The root of a written file or store, opened without AnnData."""
    old = int(pd.__version__.split(".", maxsplit=1)[0]) < 3
    path = tmp_path_factory.mktemp("encodings") / "a"
    with pd.option_context("future.infer_string", True) if old else contextlib.nullcontext():
        request.param(make_prediction()[0], path)
    if path.is_dir():
        yield importlib.import_module("zarr").open_group(path, mode="r")
    else:
        with h5py.File(path) as file:
            yield file


def elements(group: Any, prefix: str = "") -> dict[str, Any]:
    """Every group and array below ``group`` by its path; not the group itself."""
    found = {}
    for name in group:
        item = group[name]
        found[prefix + name] = item
        if hasattr(item, "keys"):
            found |= elements(item, f"{prefix}{name}/")
    return found


def encoding(element: Any) -> tuple[Any, Any]:
    return element.attrs.get("encoding-type"), element.attrs.get("encoding-version")


def test_every_element_states_an_encoding_of_anndata_0_10(root: Any) -> None:
    assert encoding(root) == ("anndata", "0.1.0")
    stated = {path: encoding(element) for path, element in elements(root).items()}
    assert {"X", "obs", "var", "obsm", "uns", *TEXTS} <= stated.keys()
    assert {path: what for path, what in stated.items() if what not in KNOWN} == {}


def test_all_strings_are_plain_arrays(root: Any) -> None:
    found = elements(root)
    assert {path: encoding(found[path])[0] for path in TEXTS} == dict.fromkeys(TEXTS, "string-array")
    if isinstance(root, h5py.File):
        kinds = {path: h5py.check_string_dtype(found[path].dtype) for path in TEXTS}
        assert {(kind.encoding, kind.length) for kind in kinds.values()} == {("utf-8", None)}  # of variable length
    else:
        types = {path: found[path].metadata.to_dict()["data_type"] for path in TEXTS}
        assert types == dict.fromkeys(TEXTS, "string")


def test_tables_and_categoricals_are_laid_out_as_specified(root: Any) -> None:
    for table, rows in (("obs", 60), ("var", len(SYMBOLS))):
        group = root[table]
        assert group.attrs["_index"] == "_index"
        assert {"_index", *group.attrs["column-order"]} == set(group)
        arrays = [item["codes"] if hasattr(item, "keys") else item for item in map(group.__getitem__, group)]
        assert {array.shape for array in arrays} == {(rows,)}
    for column, categories in (("region", [SLIDE]), ("tissue_piece", ["1", "2"])):
        group = root["obs"][column]
        assert set(group) == {"codes", "categories"}
        assert not group.attrs["ordered"]
        assert group["codes"].dtype == np.int8
        values = group["categories"][:]
        assert [v.decode() if isinstance(v, bytes) else str(v) for v in values] == categories


@pytest.mark.parametrize(("write", "place"), [(write_spatialdata, "tables/table"), (write_cellxgene, "")])
def test_tables_for_other_programs_are_encoded_alike(tmp_path: Path, write: Any, place: str) -> None:
    prediction = replace(make_prediction()[0], gene_ids=np.array([f"ENSG{i:011d}" for i in range(len(SYMBOLS))]))
    old = int(pd.__version__.split(".", maxsplit=1)[0]) < 3
    with pd.option_context("future.infer_string", True) if old else contextlib.nullcontext():
        write(prediction, tmp_path / "a")
    with contextlib.ExitStack() as stack:
        if place:
            table = importlib.import_module("zarr").open_group(tmp_path / "a", mode="r")[place]
        else:
            table = stack.enter_context(h5py.File(tmp_path / "a"))
        stated = {path: encoding(element) for path, element in elements(table).items()}
    assert {path: what for path, what in stated.items() if what not in KNOWN} == {}
    assert {path for path, what in stated.items() if what[0] == "string-array"} > {"obs/_index", "var/_index"}
    assert ("uns/log1p" in stated) == bool(place)  # the CELLxGENE schema refuses what is empty


def test_a_single_string_is_a_scalar(root: Any) -> None:
    element = root["uns/bleep/slide/name"]
    assert encoding(element) == ("string", "0.2.0")
    assert element.shape == ()
