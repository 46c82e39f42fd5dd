"""10x's matrices in every form they are handed on in, and what they count beside genes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from scipy import sparse
from tables_of_counts import GENE, image, write_h5, write_mtx, write_positions

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import Section

COUNTS = [[1, 0, 500, 2], [0, 3, 700, 4]]
NAMES = ["A", "B", "CD3", "C"]
TYPES = [GENE, GENE, "Antibody Capture", GENE]
BARCODES = ["AAA-1", "CCC-1"]
XY = [(10, 20), (30, 25)]
RIGHT = [[1, 0, 2], [0, 3, 4]]


@pytest.fixture
def entry(tmp_path: Path) -> dict[str, Any]:
    write_positions(tmp_path / "p.csv", BARCODES, XY)
    return image(tmp_path) | {"positions": "p.csv"}


def right(found: Section) -> bool:
    assert (found.symbols.tolist(), found.counts.toarray().tolist()) == (["A", "B", "C"], RIGHT)
    assert (found.barcodes.tolist(), found.xy_l0.tolist()) == (BARCODES, [list(xy) for xy in XY])
    assert found.findings[0].code == "features-no-genes"
    assert found.findings[0].where == "s"
    return True


def features(columns: int = 3) -> str:
    rows = zip(NAMES, NAMES, TYPES, strict=True)
    return "".join("\t".join(row[:columns]) + "\n" for row in rows)


def test_an_h5_file_with_its_positions(tmp_path: Path, entry: dict[str, Any]) -> None:
    write_h5(tmp_path / "GSM1_filtered_feature_bc_matrix.h5", COUNTS, NAMES, BARCODES, feature_type=TYPES)
    assert right(read_section(entry | {"counts": "GSM1_filtered_feature_bc_matrix.h5"}, tmp_path))


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize("prefix", ["", "GSM1_"])
def test_the_three_files_packed_or_not_under_any_beginning(
    tmp_path: Path, entry: dict[str, Any], prefix: str, end: str
) -> None:
    write_mtx(tmp_path / "m", COUNTS, features(), BARCODES, prefix=prefix, end=end)
    assert right(read_section(entry | {"counts": "m"}, tmp_path))
    assert right(read_section(entry | {"counts": f"m/{prefix}matrix.mtx{end}"}, tmp_path))


def test_genes_tsv_of_cell_ranger_2_has_two_columns(tmp_path: Path, entry: dict[str, Any]) -> None:
    text = "ENSG00000000001\tA\nENSG00000000002\tNA\nENSG00000000003\t\nENSG00000000004\tBLANK_1\n"
    write_mtx(tmp_path / "m", COUNTS, text, BARCODES, end="", table="genes")
    found = read_section(entry | {"counts": "m"}, tmp_path)
    assert found.symbols.tolist() == ["A", "ENSG00000000002", "ENSG00000000003"]
    assert found.counts.toarray().tolist() == [[1, 0, 500], [0, 3, 700]]


def test_features_with_a_header_and_a_byte_order_mark(tmp_path: Path, entry: dict[str, Any]) -> None:
    text = "\ufeffgene_id\tgene_name\tfeature_type\n" + features()
    write_mtx(tmp_path / "m", COUNTS, text, BARCODES)
    assert right(read_section(entry | {"counts": "m"}, tmp_path))


def cell_ranger_2(path: Path, genomes: dict[str, list[str]]) -> None:
    with h5py.File(path, "w") as file:
        for genome, names in genomes.items():
            group = file.create_group(genome)
            matrix = sparse.csr_matrix(np.array(COUNTS)[:, : len(names)])
            for key in ("data", "indices", "indptr"):
                group[key] = getattr(matrix, key)
            group["shape"] = matrix.shape[::-1]
            group["barcodes"] = np.array(BARCODES, dtype="S")
            group["genes"] = np.array([f"{genome}_ID{name}" for name in names], dtype="S")
            group["gene_names"] = np.array(names, dtype="S")


def test_an_h5_of_cell_ranger_2_has_a_group_a_genome(tmp_path: Path, entry: dict[str, Any]) -> None:
    cell_ranger_2(tmp_path / "c.h5", {"GRCh38": ["A", "B", "BLANK_1", "C"]})
    found = read_section(entry | {"counts": "c.h5"}, tmp_path)
    assert (found.symbols.tolist(), found.counts.toarray().tolist()) == (["A", "B", "C"], RIGHT)
    assert found.gene_ids.tolist() == ["IDA", "IDB", "IDC"]
    cell_ranger_2(tmp_path / "c.h5", {"hg19": ["A", "B"], "mm10": ["a", "b"]})
    with pytest.raises(
        ReferenceError, match=r'section s: its genes are of 2 genomes, hg19, mm10; .*genome = "hg19"'
    ):
        read_section(entry | {"counts": "c.h5"}, tmp_path)
    mouse = read_section(entry | {"counts": "c.h5", "genome": "mm10"}, tmp_path)
    assert (mouse.symbols.tolist(), mouse.counts.toarray().tolist()) == (["a", "b"], [[1, 0], [0, 3]])


def test_a_table_of_text_drops_the_same_features(tmp_path: Path, entry: dict[str, Any]) -> None:
    (tmp_path / "t.tsv").write_text("\tA\tB\tBLANK_7\tC\nAAA-1\t1\t0\t500\t2\nCCC-1\t0\t3\t700\t4\n")
    assert right(read_section(entry | {"counts": "t.tsv"}, tmp_path))


@pytest.mark.parametrize("positions", [["AAA-1", "CCC-1"], ["AAA-2", "CCC-2"]])
def test_a_matrix_of_several_captures_is_asked_which(
    tmp_path: Path, entry: dict[str, Any], positions: list[str]
) -> None:
    both = [f"{b[:-2]}-{well}" for well in (1, 2) for b in BARCODES]
    write_h5(tmp_path / "aggr.h5", [*COUNTS, *(2 * np.array(COUNTS)).tolist()], NAMES, both, feature_type=TYPES)
    write_positions(tmp_path / "p.csv", positions, XY)
    with pytest.raises(ReferenceError, match=r'section s: its barcodes end in -1, -2: 2 sections .*library = "1"'):
        read_section(entry | {"counts": "aggr.h5"}, tmp_path)
    assert len(read_section(entry | {"counts": "aggr.h5", "library": "*"}, tmp_path).barcodes) == 2
    found = read_section(entry | {"counts": "aggr.h5", "library": "2"}, tmp_path)
    assert found.counts.toarray().tolist() == (2 * np.array(RIGHT)).tolist()
    assert found.barcodes.tolist() == positions
    with pytest.raises(ReferenceError, match=r"no barcode ends in -3, .*; it has 1, 2"):
        read_section(entry | {"counts": "aggr.h5", "library": "3"}, tmp_path)


def test_what_a_folder_lacks_is_named(tmp_path: Path, entry: dict[str, Any]) -> None:
    write_mtx(tmp_path / "m", COUNTS, features(), BARCODES)
    (tmp_path / "m" / "features.tsv.gz").unlink()
    with pytest.raises(ReferenceError, match=r"matrix\.mtx\.gz: beside it there is no features\.tsv"):
        read_section(entry | {"counts": "m"}, tmp_path)
    write_mtx(tmp_path / "m", COUNTS, features(), BARCODES, prefix="GSM2_")
    with pytest.raises(
        ReferenceError, match=r"m: a folder with 2 matrices, GSM2_matrix\.mtx\.gz, matrix\.mtx\.gz; name"
    ):
        read_section(entry | {"counts": "m"}, tmp_path)


def test_a_folder_as_geo_makes_it_of_space_rangers(tmp_path: Path) -> None:
    section = image(tmp_path) | {"spaceranger": "g"}
    write_h5(tmp_path / "g/GSM1_filtered_feature_bc_matrix.h5", COUNTS, NAMES, BARCODES, feature_type=TYPES)
    write_positions(tmp_path / "g/GSM1_tissue_positions.csv", BARCODES, XY)
    assert right(read_section(section, tmp_path))
    write_h5(tmp_path / "g/GSM2_filtered_feature_bc_matrix.h5", COUNTS, NAMES, BARCODES)
    with pytest.raises(ReferenceError, match=r"g has GSM1_.*, GSM2_.*, of several sections; name one by counts"):
        read_section(section, tmp_path)


def test_a_folder_named_by_another_key_is_told(tmp_path: Path, entry: dict[str, Any]) -> None:
    write_positions(tmp_path / "outs/spatial/tissue_positions.csv", BARCODES, XY)
    with pytest.raises(ReferenceError, match="outs is a Space Ranger folder: spaceranger names it"):
        read_section(entry | {"counts": "outs"}, tmp_path)
    with pytest.raises(ReferenceError, match=r"outs has no filtered_feature_bc_matrix\.h5 and no folder"):
        read_section(image(tmp_path) | {"spaceranger": "outs"}, tmp_path)
