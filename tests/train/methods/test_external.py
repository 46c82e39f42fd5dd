"""Files of other programs, in the shapes these write, matched to spots and genes; what does not fit is told."""

from __future__ import annotations

import struct
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from bleep_cli.errors import UsageError
from bleep_cli.types import Section
from bleep_train.methods.external import External, split_external

RNG = np.random.default_rng(0)
SYMBOLS = np.array(["HAL", "CYP3A4", "VWF", "SOX9"])
IDS = np.array([f"ENSG0000000000{i}" for i in range(4)])
SIDE, PITCH = 6, 200.0


def section(name: str, offset: int) -> Section:
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2) * PITCH + 1000
    barcodes = np.array([f"AAC{i + offset:03d}-1" for i in range(SIDE**2)])
    counts = sparse.csr_matrix(RNG.poisson(3, (SIDE**2, 4)).astype(np.float32))
    return Section(name, name, name, counts, SYMBOLS, IDS, barcodes, grid, "x.tif", 0.5, ())


A, B, TWIN = section("A", 0), section("B", 100), section("T", 0)  # T has the barcodes of A, as Visium areas do
LOG1P = RNG.random((SIDE**2, 4)).astype(np.float32) * 5


def fold(*held_out: Section, others: tuple[Section, ...] = ()) -> Any:
    sections = [*held_out, *others]
    config = SimpleNamespace(data=SimpleNamespace(target_sum=1e4))
    study = SimpleNamespace(sections=sections, config=config)
    genes = [2, 0, 3]
    return SimpleNamespace(held_out=list(held_out), study=study, symbols=SYMBOLS[genes], keys=IDS[genes])


WANTED = LOG1P[:, [2, 0, 3]]


def adata(values: Any = LOG1P, names: Any = A.barcodes, **more: Any) -> anndata.AnnData:
    data = anndata.AnnData(
        values.copy(), pd.DataFrame(index=names), pd.DataFrame(index=SYMBOLS[: values.shape[1]])
    )
    for key, value in more.items():
        data.obs[key] = value
    return data


def predicted(path: Path, *held_out: Section, others: tuple[Section, ...] = (), values: Any = "found") -> Any:
    return External("external:x", path, values).predict(fold(*held_out, others=others))


def wkb(box: tuple[float, float, float, float]) -> bytes:
    x1, y1, x2, y2 = box
    points = [x1, y1, x2, y1, x2, y2, x1, y2, x1, y1]
    return struct.pack("<BIII10d", 1, 3, 1, 5, *points)


def test_barcodes_in_any_order_and_genes_by_symbol_or_id(tmp_path: Path) -> None:
    order = RNG.permutation(SIDE**2)
    data = adata()[order].copy()
    data.write_h5ad(tmp_path / "one.h5ad")
    found, told = predicted(tmp_path / "one.h5ad", A)
    np.testing.assert_array_equal(found, WANTED)
    assert told == [
        f"A: values are log1p per 10,000 (found: largest {LOG1P.max():.2f}, fractions)", "A: matched by barcode"
    ]  # fmt: skip
    data.var_names = [f"{i}.7" for i in IDS]
    data.write_h5ad(tmp_path / "ids.h5ad")
    np.testing.assert_array_equal(predicted(tmp_path / "ids.h5ad", A)[0], WANTED)


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize("column", ["section", "sampleID", "library_id"])
def test_a_column_tells_sections_of_the_same_barcodes_apart(tmp_path: Path, column: str) -> None:
    other = LOG1P[::-1].copy()
    both = anndata.concat([adata(**{column: "A"}), adata(other, **{column: "T"})])
    both.obs_names = [f"{name}-{i}" for i, name in enumerate(both.obs_names)]
    both.obs["barcode"] = np.r_[A.barcodes, TWIN.barcodes]
    both.write_h5ad(tmp_path / "both.h5ad")
    np.testing.assert_array_equal(predicted(tmp_path / "both.h5ad", TWIN, others=(A,))[0], other[:, [2, 0, 3]])
    found, told = predicted(tmp_path / "both.h5ad", A, TWIN)
    np.testing.assert_array_equal(found, np.concatenate([WANTED, other[:, [2, 0, 3]]]))
    assert told[-1] == "T: matched by barcode"


def test_without_a_column_only_barcodes_that_name_one_section_will_do(tmp_path: Path) -> None:
    adata().write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(predicted(tmp_path / "a.h5ad", A, others=(B,))[0], WANTED)
    with pytest.raises(UsageError, match="does not say of which section its rows are; give it a column"):
        predicted(tmp_path / "a.h5ad", A, others=(TWIN,))
    for name in "AT":
        adata().write_h5ad(tmp_path / f"{name}.h5ad")
    (tmp_path / "folder").mkdir()
    for name in "AT":
        adata().write_h5ad(tmp_path / "folder" / f"{name}.h5ad")
    np.testing.assert_array_equal(predicted(tmp_path / "folder", A, TWIN)[0], np.concatenate([WANTED, WANTED]))
    with pytest.raises(UsageError, match="folder holds no file for B"):
        predicted(tmp_path / "folder", B)


def tiles(step: float, start: float) -> np.ndarray:
    """Centres of a fine grid of tiles over the section, with the row of LOG1P that lies under each."""
    axis = np.arange(start, 1000 + SIDE * PITCH, step)
    return np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)


@pytest.mark.filterwarnings("ignore:Writing zarr v2")
def test_omicverse_tiles_by_the_nearest_centre(tmp_path: Path) -> None:
    """AnnData Zarr, rows named by number, centres of tiles in ``obsm["spatial"]``."""
    centres = tiles(70, 900)
    distance = np.linalg.norm(A.xy_l0[:, None] - centres[None], axis=2)
    values = RNG.random((len(centres), 4)).astype(np.float32)
    data = anndata.AnnData(values, pd.DataFrame(index=[str(i) for i in range(len(centres))]))
    data.var_names, data.obsm["spatial"] = SYMBOLS, centres
    (tmp_path / "slides").mkdir()
    data.write_zarr(tmp_path / "slides" / "A.zarr")
    found, told = predicted(tmp_path / "slides", A, others=(TWIN,), values="log1p")
    np.testing.assert_array_equal(found, values[distance.argmin(axis=1)][:, [2, 0, 3]])
    assert told[1].startswith("A: matched by place: nearest centre within 100 px (median ")


@pytest.mark.parametrize("form", ["A.parquet", "A.csv"])
def test_lazyslide_tables_of_tiles(tmp_path: Path, form: str) -> None:
    boxes = [(x - 50, y - 50, x + 50, y + 50) for x, y in A.xy_l0]
    frame = pd.DataFrame(LOG1P, columns=SYMBOLS)
    frame.insert(0, "tile_id", range(len(frame)))
    frame.insert(1, "tissue_id", 0)
    if form.endswith("parquet"):
        frame.insert(2, "geometry", [wkb(box) for box in boxes])
        frame.to_parquet(tmp_path / form)
    else:
        ring = "POLYGON (({2} {1}, {2} {3}, {0} {3}, {0} {1}, {2} {1}))"
        frame.insert(2, "geometry", [ring.format(*box) for box in boxes])
        frame.to_csv(tmp_path / form, index=False)
    found, told = predicted(tmp_path, A)
    np.testing.assert_allclose(found, WANTED, rtol=1e-6)
    assert "matched by place" in told[1]


def test_tiatoolbox_boxes_and_shifted_corners(tmp_path: Path) -> None:
    frame = pd.DataFrame(LOG1P, columns=SYMBOLS)
    for i, name in enumerate(("x1", "y1", "x2", "y2")):
        frame[name] = A.xy_l0[:, i % 2] + (56 if i > 1 else -56)
    frame.to_csv(tmp_path / "A.csv")
    np.testing.assert_allclose(predicted(tmp_path, A)[0], WANTED, rtol=1e-6)
    frame.rename(columns={"x1": "x", "y1": "y"}).drop(columns=["x2", "y2"]).to_csv(tmp_path / "A.csv")
    with pytest.raises(UsageError, match=r"all rows lie -56, -56 px from their spots: corners, no centres\?"):
        predicted(tmp_path, A)


def test_deepspot_m_writes_a_layer_of_log1p_per_million(tmp_path: Path) -> None:
    counts = RNG.random((SIDE**2, 4)) * 100
    data = adata(np.zeros((SIDE**2, 4), np.float32))
    data.layers["deepspotm"] = np.log1p(counts * 100).astype(np.float32)
    data.uns["deepspotm"] = {"version": "1.0.0"}
    data.write_h5ad(tmp_path / "m.h5ad")
    found, told = predicted(tmp_path / "m.h5ad", A)
    np.testing.assert_allclose(found, np.log1p(counts)[:, [2, 0, 3]], rtol=1e-4)
    assert told[0] == "A: values are log1p per million (found: DeepSpot-M), brought to 10,000"


def test_counts_are_normalised_over_the_files_own_genes(tmp_path: Path) -> None:
    counts = RNG.poisson(4, (SIDE**2, 4)).astype(np.float32) + 1
    adata(sparse.csr_matrix(counts)).write_h5ad(tmp_path / "c.h5ad")
    wanted = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))[:, [2, 0, 3]]
    found, told = predicted(tmp_path / "c.h5ad", A)
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    assert told[0] == "A: values are counts (found: whole numbers), normalised over 4 genes"
    as_said, told = predicted(tmp_path / "c.h5ad", A, values="log1p")
    np.testing.assert_array_equal(as_said, counts[:, [2, 0, 3]])
    assert told[0] == "A: values are log1p per 10,000 (as said)"
    adata(counts - 3).write_h5ad(tmp_path / "minus.h5ad")
    with pytest.raises(UsageError, match="negative values are no counts"):
        predicted(tmp_path / "minus.h5ad", A, values="counts")
    assert "largest 12.50" in predicted_note(tmp_path, 12.5)
    assert "values are counts (found: largest 40)" in predicted_note(tmp_path, 40.5)


def predicted_note(folder: Path, largest: float) -> str:
    values = LOG1P.copy()
    values[0, 0] = largest
    adata(values).write_h5ad(folder / "n.h5ad")
    return str(predicted(folder / "n.h5ad", A)[1][0])


def test_missing_spots_are_filled_if_few_and_missing_genes_have_no_value(tmp_path: Path) -> None:
    adata(LOG1P[1:, :3], A.barcodes[1:]).write_h5ad(tmp_path / "f.h5ad")
    found, told = predicted(tmp_path / "f.h5ad", A)
    np.testing.assert_array_equal(found[1:, :2], WANTED[1:, :2])
    np.testing.assert_allclose(found[0, :2], WANTED[1:, :2].mean(axis=0), rtol=1e-6)
    assert np.isnan(found[:, 2]).all()
    assert told[2:] == [
        "A: 1 of 3 genes are not predicted and count as r = 0",
        "A: 1 of 36 spots are not predicted and took the mean of the others",
    ]
    adata(LOG1P[3:], A.barcodes[3:]).write_h5ad(tmp_path / "f.h5ad")
    with pytest.raises(UsageError, match="3 of 36 spots are not predicted; at most 1 in 20"):
        predicted(tmp_path / "f.h5ad", A)


def broken(path: Path, what: str) -> None:
    data = adata()
    if what == "genes":
        data.var_names = list("abcd")
    if what == "names":
        data.obs_names = [str(i) for i in range(SIDE**2)]
    if what == "nan":
        data.X[3, 0] = np.nan
    if what == "twice":
        data = anndata.concat([data, data])
        data.obs["section"] = "A"
    if what == "section":
        data.obs["section"] = "C"
    data.write_h5ad(path)


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("genes", r"section A: none of the 3 genes is predicted \(a, VWF\)"),
        ("names", r"no row is named like a spot \(0, AAC000-1\), none has a place"),
        ("nan", "predictions hold NaN or infinity"),
        ("twice", "36 rows repeat a barcode"),
        ("section", "no row of the file is of it; its sections are C"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path: Path, what: str, told: str) -> None:
    (tmp_path / "d").mkdir()
    path = tmp_path / "d" / "A.h5ad" if what == "names" else tmp_path / "A.h5ad"
    broken(path, what)
    with pytest.raises(UsageError, match=told):
        predicted(path.parent if what == "names" else path, A)


def test_files_that_are_none_of_these(tmp_path: Path) -> None:
    (tmp_path / "x.h5ad").write_bytes(b"no")
    with pytest.raises(UsageError, match=r"external: x\.h5ad cannot be read"):
        predicted(tmp_path / "x.h5ad", A)
    (tmp_path / "x.pkl").write_bytes(b"no")
    with pytest.raises(UsageError, match=r"x\.pkl: known are \.h5ad"):
        predicted(tmp_path / "x.pkl", A)
    with pytest.raises(UsageError, match=r"external:x: no file y\.h5ad"):
        External("external:x", tmp_path / "y.h5ad", "found").digest()


def test_names_of_files_on_the_command_line() -> None:
    given = ["bleep", "external:p/deepspot.h5ad", "external-cpm:m=p/a=b.parquet", "ridge"]
    listed, files = split_external(given)
    assert listed == ("bleep", "external:deepspot", "external:m", "ridge")
    assert files == (
        External("external:deepspot", Path("p/deepspot.h5ad"), "found"),
        External("external:m", Path("p/a=b.parquet"), "cpm"),
    )
    with pytest.raises(UsageError, match="external:a: twice; name them"):
        split_external(["external:x/a.csv", "external-counts:y/a.csv"])
    with pytest.raises(UsageError, match="external-log1p:: write external-log1p:FILE or"):
        split_external(["external-log1p:"])
