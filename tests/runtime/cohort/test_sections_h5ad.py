"""Sections from h5ad, the cohort file itself, and the real sections."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from bleep_cli.cohort.cohort_file import cohort_entries
from bleep_cli.cohort.read import read_cohort, read_section
from bleep_cli.errors import ReferenceError, UsageError
from bleep_cli.types import Section

RAW = np.array([[1, 0, 2], [0, 3, 0], [4, 0, 0]], np.float32)
H5AD = {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0, "h5ad": "a.h5ad"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30)).save(tmp_path / "i.png")
    return tmp_path


def table(x: Any = RAW, **layers: Any) -> anndata.AnnData:
    var = pd.DataFrame({"gene_ids": [f"ENSG0000000000{i}.2" for i in range(3)]}, index=["A", "B", "C"])
    adata = anndata.AnnData(x, obs=pd.DataFrame(index=["s1", "s2", "s3"]), var=var, layers=layers)
    adata.obsm["spatial"] = np.array([[10, 20], [30, 21], [50, 22]])
    return adata


def read(adata: anndata.AnnData, folder: Path, **entry: Any) -> Section:
    adata.write_h5ad(folder / "a.h5ad")
    return read_section(H5AD | entry, folder)


def test_h5ad(folder: Path) -> None:
    found = read(table(), folder)
    assert found.counts.toarray().tolist() == RAW.tolist()
    assert found.symbols.tolist() == ["A", "B", "C"]
    assert found.gene_ids.tolist() == [f"ENSG0000000000{i}" for i in range(3)]
    assert found.barcodes.tolist() == ["s1", "s2", "s3"]
    assert found.xy_l0.tolist() == [[10, 20], [30, 21], [50, 22]]
    assert read(table(sparse.csr_matrix(RAW)), folder).sha256 == found.sha256
    assert read(table(sparse.csc_matrix(RAW)), folder).sha256 == found.sha256


def test_identity_does_not_depend_on_how_a_matrix_is_stored(folder: Path) -> None:
    stored = sparse.csr_matrix(([2, 0, 1, 3, 4], [2, 1, 0, 1, 0], [0, 3, 4, 5]), shape=(3, 3), dtype=np.float32)
    assert stored.toarray().tolist() == RAW.tolist() and not stored.has_sorted_indices
    assert read(table(stored), folder).sha256 == read(table(), folder).sha256


def test_h5ad_takes_the_named_layer_else_counts_else_x(folder: Path) -> None:
    logged = np.log1p(RAW)
    assert read(table(logged, raw=RAW), folder, layer="raw").counts.toarray().tolist() == RAW.tolist()
    assert read(table(logged, counts=RAW), folder).counts.toarray().tolist() == RAW.tolist()
    both = read(table(logged, counts=RAW, raw=2 * RAW), folder, layer="raw")
    assert both.counts.toarray().tolist() == (2 * RAW).tolist()


def test_h5ad_of_transformed_values_is_refused_and_told_the_way_out(folder: Path) -> None:
    with pytest.raises(ReferenceError, match=r'no raw counts .*layer = "counts"'):
        read(table(np.log1p(RAW)), folder)


def test_h5ad_leaves_out_what_is_not_in_tissue(folder: Path) -> None:
    for values in ([1, 0, 1], [True, False, True], pd.Categorical([1, 0, 1])):
        adata = table()
        adata.obs["in_tissue"] = values
        found = read(adata, folder)
        assert found.barcodes.tolist() == ["s1", "s3"]
        assert found.xy_l0.tolist() == [[10, 20], [50, 22]]
        assert tuple(f.what for f in found.findings) == ("1 spots outside tissue were left out",)


def test_h5ad_without_ids_goes_by_symbols(folder: Path) -> None:
    adata = table()
    del adata.var["gene_ids"]
    assert read(adata, folder).gene_ids.tolist() == ["A", "B", "C"]


def change(adata: anndata.AnnData, what: str) -> anndata.AnnData:
    if what == "no positions":
        del adata.obsm["spatial"]
    elif what == "no x":
        adata.X = None
    elif what == "same spot":
        adata.obs_names = ["s1", "s1", "s2"]
    elif what == "lost spot":
        adata.obsm["spatial"] = np.array([[10, 20], [np.nan, 21], [50, 22]])
    elif what == "one axis":
        adata.obsm["spatial"] = np.array([[10], [20], [30]])
    return adata


@pytest.mark.filterwarnings("ignore:Observation names are not unique:UserWarning")
@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("no positions", r'no obsm\["spatial"\]'),
        ("no x", "it holds no counts"),
        ("same spot", "spot s1 occurs 2 times"),
        ("lost spot", "spot coordinates must be two numbers"),
        ("one axis", "spot coordinates must be two numbers"),
    ],
)
def test_h5ad_that_cannot_be_a_section(folder: Path, what: str, reason: str) -> None:
    with pytest.raises(ReferenceError, match=f"^section s: .*{reason}"):
        read(change(table(), what), folder)


def test_h5ad_files_that_are_none(folder: Path) -> None:
    with pytest.raises(ReferenceError, match=r"section s: .*a\.h5ad") as gone:
        read_section(H5AD, folder)
    (folder / "a.h5ad").write_bytes(b"no HDF5")
    with pytest.raises(ReferenceError, match="section s: cannot be read") as broken:
        read_section(H5AD, folder)
    assert str(folder) not in f"{gone.value} {broken.value}"
    with pytest.raises(ReferenceError, match=r"section s: .*smoothed"):
        read(table(), folder, layer="smoothed")


# --- the cohort file


def cohort(folder: Path, text: str) -> Path:
    path = folder / "cohort.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_cohort_keeps_its_order_and_reads_only_what_is_asked(small_cohort: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    found = read_cohort(small_cohort, progress=lambda *call: calls.append(call))
    assert [s.id for s in found] == ["S0", "S1", "S2"]
    assert [s.donor for s in found] == ["DS0", "DS1", "DS2"]
    assert [s.mpp for s in found] == [4.0, None, 4.0]
    assert calls == [("sections", i, 3) for i in range(4)]
    assert [s.id for s in read_cohort(small_cohort, only=["S2"])] == ["S2"]
    with pytest.raises(UsageError, match=r"cohort\.toml has no section S7; it has S0, S1, S2"):
        read_cohort(small_cohort, only=["S1", "S7"])


ENTRY = '[[section]]\nid = "a"\ndonor = "d"\nimage = "i.png"\n'
BROKEN = {
    "not TOML": ("[[section", "not valid TOML"),
    "nothing in it": ('species = "x"', r"no \[\[section\]\] in it"),
    "a single table": ('[section]\nid = "a"', r"no \[\[section\]\] in it"),
    "a mere list": ('section = ["a"]', r"no \[\[section\]\] in it"),
    "no donor": ('[[section]]\nid = "a"\nimage = "i.png"\nh5ad = "x"', "section a: donor missing"),
    "no id": ('[[section]]\ndonor = "a"\nimage = "i.png"\nh5ad = "x"', "section 1: id missing"),
    "a typing slip": (ENTRY + 'h5da = "x"', "section a: unknown key h5da; did you mean h5ad"),
    "no source": (ENTRY, "section a: give exactly one of spaceranger, h5ad, "),
    "two sources": (ENTRY + 'h5ad = "x"\nspaceranger = "y"', "section a: give exactly one of"),
    "no positions": (ENTRY + 'counts = "x"', "section a: counts need positions"),
    "a bare number": (ENTRY.replace('"d"', "7") + 'h5ad = "x"', "section a: donor must be in quotes"),
    "mpp of zero": (ENTRY + 'h5ad = "x"\nmpp = 0', "section a: mpp must be a positive number"),
    "mpp in quotes": (ENTRY + 'h5ad = "x"\nmpp = "0.5"', "section a: mpp must be a positive number"),
    "same id": ((ENTRY + 'h5ad = "x"\n') * 2, "two sections have the same id"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_cohort_files_name_the_file_and_the_section(tmp_path: Path, case: str) -> None:
    text, reason = BROKEN[case]
    with pytest.raises(ReferenceError, match=reason) as caught:
        cohort_entries(cohort(tmp_path, text))
    assert str(caught.value).startswith("cohort.toml")


def test_cohort_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^gone\.toml: no such cohort file$"):
        cohort_entries(tmp_path / "gone.toml")
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ReferenceError, match="not valid TOML"):
        cohort_entries(tmp_path / "c.toml")


# --- real sections


@pytest.mark.slow
def test_real_her2st(data_dir: Path) -> None:
    base = data_dir / "her2st"
    entry = {"id": "C5", "donor": "C", "image": "images/C5.jpg", "mpp": 0.69}
    entry |= {"counts": "counts/C5.tsv.gz", "positions": "spots/C5_selection.tsv"}
    found = read_section(entry | {"min_counts": 0}, base)
    assert found.counts.shape == (181, 15721)
    assert tuple(f.what for f in found.findings) == ("2 spots in tissue have no counts",)
    usable = read_section(entry, base)  # two spots have two molecules and three
    assert (len(usable.barcodes), usable.sha256) == (179, found.sha256)
    assert usable.findings[1].what.startswith("2 of 181 spots with fewer than 100 counts were left out")
    assert np.median(np.asarray(found.counts.sum(axis=1))) == pytest.approx(10015, abs=60)
    assert len(set(found.symbols.tolist())) == 15721 and "FO538757.1" in found.symbols
    raw = pd.read_csv(base / "counts/C5.tsv.gz", sep="\t", index_col=0, usecols=[0, 500, 9000])
    for gene in raw.columns:
        column = found.symbols.tolist().index(gene)
        values = found.counts[:, [column]].toarray()[:, 0]
        assert values.tolist() == raw.loc[found.barcodes, gene].tolist()


def test_real_mob_2k(data_dir: Path) -> None:
    base = data_dir / "mob-2k"
    entry = {"id": "MOB1", "donor": "1", "image": "MOB1.jpg", "mpp": 3.0, "counts": "MOB1.tsv.gz"}
    found = read_section(entry | {"positions": "alignment_table_MOB1.tsv", "genes": "mouse_genes.tsv.gz"}, base)
    assert found.counts.shape == (379, 1000)
    assert all(gene.startswith("ENSMUSG") and "." not in gene for gene in found.gene_ids)
    assert np.mean([s.startswith("ENSMUSG") for s in found.symbols]) < 0.05
    assert (found.xy_l0.min() > 0) and (found.xy_l0.max() < 1905)


def test_real_space_ranger_3(data_dir: Path) -> None:
    entry = {"id": "V", "donor": "m", "image": "spatial/tissue_lowres_image.png", "spaceranger": "."}
    assert len(read_section(entry, data_dir / "visium-sr3").barcodes) == 2898 - 26
    found = read_section(entry | {"min_counts": 0}, data_dir / "visium-sr3")
    assert found.counts.shape == (2898, 19465) and found.counts.nnz == 1_069_459
    assert found.mpp is None and all(b.endswith("-1") for b in found.barcodes)
    assert all(g.startswith("ENSMUSG") for g in found.gene_ids[:50])
