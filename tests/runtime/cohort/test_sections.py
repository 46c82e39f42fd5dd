"""The cohort file and its readers: what is kept, added up, dropped, noted or refused."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from bleep_cli.cohort.cohort_file import cohort_texts
from bleep_cli.cohort.read import read_cohort, read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import Section

COUNTS = ["\tA\tB\tC", "1x1\t1\t0\t2", "2x1\t0\t3\t0"]
SPOTS = ["x\ty\tpixel_x\tpixel_y", "1\t1\t10\t20", "2\t1\t30\t20"]
ST = {"id": "s", "donor": "d", "image": "i.png", "mpp": 1.0, "counts": "c.tsv", "positions": "p.tsv"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30)).save(tmp_path / "i.png")
    return tmp_path


def write(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def st(folder: Path, counts: list[str] = COUNTS, spots: list[str] = SPOTS, **entry: Any) -> Section:
    write(folder / "c.tsv", counts)
    write(folder / "p.tsv", spots)
    return read_section(ST | entry, folder)


def dense(section: Section) -> list[list[float]]:
    return section.counts.toarray().tolist()


# --- ST tables


def test_st_tables(folder: Path) -> None:
    found = st(folder)
    assert (found.id, found.donor, found.mpp, found.findings) == ("s", "d", 1.0, ())
    assert dense(found) == [[1, 0, 2], [0, 3, 0]] and found.counts.dtype == np.float32
    assert found.symbols.tolist() == found.gene_ids.tolist() == ["A", "B", "C"]
    assert found.barcodes.tolist() == ["1x1", "2x1"]
    assert found.xy_l0.tolist() == [[10, 20], [30, 20]]
    assert Path(found.image) == folder / "i.png"


def test_st_rows_are_joined_by_name_not_by_place(folder: Path) -> None:
    found = st(folder, [COUNTS[0], *COUNTS[:0:-1]])
    assert (found.barcodes.tolist(), dense(found)) == (["1x1", "2x1"], [[1, 0, 2], [0, 3, 0]])


def test_st_header_as_r_writes_it(folder: Path) -> None:
    assert st(folder, ["A\tB\tC", *COUNTS[1:]]).sha256 == st(folder).sha256


def test_st_gene_twice_is_added_up_under_its_own_name(folder: Path) -> None:
    found = st(folder, ["\tA\tB\tA", *COUNTS[1:]])
    assert found.symbols.tolist() == ["A", "B"]
    assert dense(found) == [[3, 0], [0, 3]]
    assert tuple(f.what for f in found.findings) == ("1 duplicate genes were added up",)


def test_ensembl_versions_go_and_their_duplicates_are_added_up(folder: Path) -> None:
    ids = "\tENSG00000000001.2\tNA\tENSG00000000001.3"
    found = st(folder, [ids, *COUNTS[1:]])
    assert found.gene_ids.tolist() == found.symbols.tolist() == ["ENSG00000000001", "NA"]
    assert dense(found) == [[3, 0], [0, 3]]


def test_what_has_no_partner_is_dropped_and_noted(folder: Path) -> None:
    counts = [*COUNTS, "9x9\t1\t1\t1", "3x1\t0\t0\t0"]
    spots = [*SPOTS, "3\t1\t50\t20", "4\t1\t70\t20", "5\t1\t90\t20"]
    found = st(folder, counts, spots)
    assert found.barcodes.tolist() == ["1x1", "2x1"]
    assert tuple(f.what for f in found.findings) == (
        "2 spots in tissue have no counts",
        "1 rows of counts have no position in tissue",
        "1 spots without a single molecule were dropped",
    )


def test_spots_outside_tissue_are_left_out(folder: Path) -> None:
    spots = [line + "\t" + end for line, end in zip(SPOTS, ["selected", "1", "0"], strict=True)]
    found = st(folder, spots=spots)
    assert found.barcodes.tolist() == ["1x1"]
    assert tuple(f.what for f in found.findings) == ("1 rows of counts have no position in tissue",)


REFUSED = {
    "fractions": (
        [*COUNTS[:2], "2x1\t0\t0.5\t0"],
        SPOTS,
        "these are no raw counts .negative or fractional.$",
    ),
    "negative": ([*COUNTS[:2], "2x1\t0\t-3\t0"], SPOTS, "no raw counts"),
    "a gap": ([*COUNTS[:2], "2x1\t0\t\t0"], SPOTS, "counts hold NaN or infinity"),
    "text": ([*COUNTS[:2], "2x1\t0\tmany\t0"], SPOTS, "cannot be read .*many"),
    "a spot twice": ([*COUNTS, COUNTS[1]], SPOTS, "spot 1x1 occurs 2 times in the counts"),
    "names missing": (["\tA\tB", "1x1\t1\t2\t3\t4"], SPOTS, "3 names for 4 columns"),
    "no overlap": (["\tA", "8x8\t1"], SPOTS, "no spot has both counts and a position"),
    "only zeros": (["\tA", "1x1\t0"], SPOTS, "no spot has both counts and a position"),
    "no positions": (COUNTS, ["a\tb", "1\t2"], "p.tsv: not a table of positions"),
    "empty counts": ([""], SPOTS, "cannot be read"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_broken_st_tables_are_reference_errors_that_name_the_section(folder: Path, case: str) -> None:
    counts, spots, reason = REFUSED[case]
    with pytest.raises(ReferenceError, match=reason) as caught:
        st(folder, counts, spots, id="C7")
    assert str(caught.value).startswith("section C7: ")
    assert str(folder) not in str(caught.value)


@pytest.mark.parametrize("gone", ["c.tsv", "p.tsv", "i.png"])
def test_files_that_are_not_there_are_named_without_their_folders(folder: Path, gone: str) -> None:
    st(folder)
    (folder / gone).unlink()
    with pytest.raises(ReferenceError, match=f"section s: .*{gone}") as caught:
        read_section(ST, folder)
    assert str(folder) not in str(caught.value)


def test_genes_table_gives_symbols_to_ids(folder: Path) -> None:
    table = ["gene_id\tgene_type\tgene_name", "ENSG00000000001.9\tx\tTP53", "ENSG00000000002.1\tx\t"]
    write(folder / "genes.tsv", table)
    counts = ["\tENSG00000000001.2\tENSG00000000002.2\tENSG00000000003.1", *COUNTS[1:]]
    found = st(folder, counts, genes="genes.tsv")
    assert found.symbols.tolist() == ["TP53", "ENSG00000000002", "ENSG00000000003"]
    assert found.gene_ids.tolist() == [f"ENSG0000000000{i}" for i in (1, 2, 3)]
    write(folder / "genes.tsv", ["a\tb", "1\t2"])
    with pytest.raises(ReferenceError, match=r"genes\.tsv is no table of gene_id, gene_name"):
        st(folder, genes="genes.tsv")


# --- identity


def test_identity_is_the_data_not_its_names(folder: Path) -> None:
    first = st(folder).sha256
    for name in ("c.tsv", "p.tsv", "i.png"):
        shutil.move(folder / name, folder / f"other-{name}")
    other = {"counts": "other-c.tsv", "positions": "other-p.tsv", "image": "other-i.png"}
    assert read_section(ST | other | {"id": "t", "donor": "e", "mpp": 2.0}, folder).sha256 == first
    changed = [
        st_of(folder, [*COUNTS[:2], "2x1\t0\t4\t0"], SPOTS),
        st_of(folder, ["\tA\tB\tD", *COUNTS[1:]], SPOTS),
        st_of(folder, COUNTS, [*SPOTS[:2], "2\t1\t31\t20"]),
        st_of(folder, [*COUNTS[:2], "3x1\t0\t3\t0"], [*SPOTS[:2], "3\t1\t30\t20"]),
    ]
    assert len({first, *changed}) == 5


def st_of(folder: Path, counts: list[str], spots: list[str]) -> str:
    Image.new("RGB", (40, 30)).save(folder / "i.png")
    return st(folder, counts, spots).sha256


# --- Space Ranger


def to_h5(matrix: Path, path: Path, kind: Any) -> None:
    """The .mtx folder as Space Ranger's .h5, with one feature more that is no gene."""
    features = pd.read_csv(matrix / "features.tsv.gz", sep="\t", header=None)
    barcodes = pd.read_csv(matrix / "barcodes.tsv.gz", header=None)[0]
    from scipy.io import mmread

    counts = sparse.hstack(
        [mmread(matrix / "matrix.mtx.gz", spmatrix=True).T, np.ones((len(barcodes), 1))]
    ).tocsr()
    columns = {"id": [*features[0], "CD3"], "name": [*features[1], "CD3"]}
    columns["feature_type"] = [*features[2], "Antibody Capture"]
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        for key in ("data", "indices", "indptr"):
            group[key] = getattr(counts, key).astype(np.int64)
        group["shape"] = counts.shape[::-1]
        for key, values in {"barcodes": barcodes, **columns}.items():
            name = key if key == "barcodes" else f"features/{key}"
            group.create_dataset(name, data=np.array(list(values), dtype=kind), dtype=kind)


@pytest.mark.parametrize("strings", ["S32", h5py.string_dtype()])
def test_space_ranger_h5_is_the_same_section_as_mtx(make_sections: Callable[..., Path], strings: Any) -> None:
    path = make_sections(["spaceranger"])
    [from_mtx] = read_cohort(path)
    outs = path.parent / "S0-outs"
    to_h5(outs / "filtered_feature_bc_matrix", outs / "filtered_feature_bc_matrix.h5", strings)
    shutil.rmtree(outs / "filtered_feature_bc_matrix")
    [from_h5] = read_cohort(path)
    assert from_h5.sha256 == from_mtx.sha256
    assert from_h5.symbols.tolist() == [f"GENE{i}" for i in range(12)]
    assert from_h5.gene_ids[3] == "ENSG00000000003"


def test_space_ranger_features_that_are_no_genes_are_left_out(make_sections: Callable[..., Path]) -> None:
    path = make_sections(["spaceranger"])
    [whole] = read_cohort(path)
    file = path.parent / "S0-outs/filtered_feature_bc_matrix/features.tsv.gz"
    lines = gzip.decompress(file.read_bytes()).decode().splitlines()
    lines[4] = lines[4].replace("Gene Expression", "Antibody Capture")
    file.write_bytes(gzip.compress("\n".join(lines).encode()))
    [found] = read_cohort(path)
    assert found.symbols.tolist() == [s for s in whole.symbols if s != "GENE4"]
    assert (found.counts != whole.counts[:, np.delete(np.arange(12), 4)]).nnz == 0


def test_space_ranger_positions_are_x_y_and_in_tissue(make_sections: Callable[..., Path]) -> None:
    path = make_sections(["st", "spaceranger"])
    table = pd.read_csv(path.parent / "S1-outs/spatial/tissue_positions.csv").query("in_tissue == 1")
    found = read_cohort(path)[1]
    assert found.barcodes.tolist() == table["barcode"].tolist()
    assert found.xy_l0.tolist() == table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy().tolist()
    assert "GLASS-1" not in found.barcodes


def test_space_ranger_matrix_that_does_not_fit_its_names(make_sections: Callable[..., Path]) -> None:
    path = make_sections(["spaceranger"])
    file = path.parent / "S0-outs/filtered_feature_bc_matrix/barcodes.tsv.gz"
    file.write_bytes(gzip.compress(b"ONE-1\n"))
    with pytest.raises(ReferenceError, match="12 features, 1 barcodes"):
        read_cohort(path)


def test_space_ranger_h5_that_is_none(make_sections: Callable[..., Path]) -> None:
    path = make_sections(["spaceranger"])
    outs = path.parent / "S0-outs"
    shutil.rmtree(outs / "filtered_feature_bc_matrix")
    with pytest.raises(ReferenceError, match=r"section S0: .*filtered_feature_bc_matrix\.h5") as caught:
        read_cohort(path)
    assert str(outs) not in str(caught.value)
    (outs / "filtered_feature_bc_matrix.h5").write_bytes(b"no HDF5")
    with pytest.raises(ReferenceError, match="section S0: cannot be read"):
        read_cohort(path)


def test_texts_at_the_top_of_a_cohort_file(make_sections: Callable[..., Path]) -> None:
    path = make_sections(("st",))
    assert cohort_texts(path) == {}
    path.write_text('species = "Mus musculus"\nlicence = "CC0"\n' + path.read_text())
    assert cohort_texts(path) == {"species": "Mus musculus", "licence": "CC0"}
    assert [section.id for section in read_cohort(path)] == ["S0"]


@pytest.mark.parametrize(
    ("line", "told"), [('specis = "x"', "unknown key specis"), ("licence = 4", "licence must be in quotes")]
)
def test_other_keys_at_the_top_of_a_cohort_file_are_refused(
    make_sections: Callable[..., Path], line: str, told: str
) -> None:
    path = make_sections(("st",))
    path.write_text(f"{line}\n{path.read_text()}")
    with pytest.raises(ReferenceError, match=told):
        read_cohort(path)
