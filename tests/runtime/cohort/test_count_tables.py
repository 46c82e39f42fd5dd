"""Tables of counts as text: whichever side the spots are on, the same section; else what the table looks like."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bleep_cli.cohort.read import read_section
from bleep_cli.errors import ReferenceError
from bleep_cli.types import Section

SPOTS, GENES = ["1x1", "2x1", "3x1"], ["A", "B"]
COUNTS = [[1, 0], [0, 3], [5, 7]]
PLACES = ["x\ty\tpixel_x\tpixel_y", "1\t1\t10\t20", "2\t1\t30\t20", "3\t1\t50\t20"]
ENTRY = {
    "id": "s",
    "donor": "d",
    "image": "i.png",
    "mpp": 1.0,
    "min_counts": 0,
    "counts": "c.tsv",
    "positions": "p.tsv",
}


def down(spots: list[str] = SPOTS, corner: str = "") -> list[list[str]]:
    """Spots in rows."""
    rows = [[spot, *map(str, row)] for spot, row in zip(spots, COUNTS, strict=True)]
    return [[corner, *GENES], *rows]


def across(spots: list[str] = SPOTS, corner: str = "") -> list[list[str]]:
    """Spots in columns."""
    rows = [[gene, *map(str, column)] for gene, column in zip(GENES, zip(*COUNTS, strict=True), strict=True)]
    return [[corner, *spots], *rows]


def read(
    folder: Path,
    table: list[list[str]],
    separator: str = "\t",
    places: list[str] = PLACES,
    name: str = "c.tsv",
    encoding: str = "utf-8",
) -> Section:
    Image.new("RGB", (60, 40)).save(folder / "i.png")
    data = "\n".join(separator.join(row) for row in table).encode(encoding)
    (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    (folder / "p.tsv").write_text("\n".join(places) + "\n", encoding="utf-8")
    return read_section(ENTRY | {"counts": name}, folder)


def assert_right(found: Section, *codes: str) -> None:
    assert found.barcodes.tolist() == SPOTS
    assert found.counts.toarray().tolist() == COUNTS
    assert found.symbols.tolist() == found.gene_ids.tolist() == GENES
    assert found.xy_l0.tolist() == [[10, 20], [30, 20], [50, 20]]
    assert tuple(finding.code for finding in found.findings) == codes


@pytest.mark.parametrize("separator", ["\t", ",", ";", " "])
@pytest.mark.parametrize("name", ["c.tsv", "c.csv", "c.txt", "c.csv.gz", "c.txt.gz"])
def test_any_separator_whatever_the_name(tmp_path: Path, separator: str, name: str) -> None:
    corner = "spot" if separator == " " else ""
    assert_right(read(tmp_path, down(corner=corner), separator, name=name))
    assert_right(read(tmp_path, across(corner=corner), separator, name=name), "counts-transposed")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_byte_order_marks_and_quotes(tmp_path: Path, encoding: str) -> None:
    quoted = [[f'"{field}"' for field in row] for row in down()]
    assert_right(read(tmp_path, quoted, ",", encoding=encoding))


def test_r_leaves_the_corner_out_on_both_sides(tmp_path: Path) -> None:
    for separator in ("\t", " "):
        table = down()
        assert_right(read(tmp_path, [table[0][1:], *table[1:]], separator))
        table = across([f"X{spot}" for spot in SPOTS])  # and writes an X before a digit
        found = read(tmp_path, [table[0][1:], *table[1:]], separator)
        assert_right(found, "counts-transposed", "spots-named-otherwise")


def test_comments_above_the_header(tmp_path: Path) -> None:
    assert_right(read(tmp_path, [["# made by a pipeline"], ["# twice"], *down()]))


def test_decimal_commas_and_whole_floats(tmp_path: Path) -> None:
    for zero in (",0", ".0"):
        table = [down()[0], *([spot, *(value + zero for value in values)] for spot, *values in down()[1:])]
        assert_right(read(tmp_path, table, ";"))


# --- other columns


def test_ids_and_symbols_before_the_spots(tmp_path: Path) -> None:
    ids = ["ENSG00000000001.4", "ENSG00000000002.1"]
    for names in (["gene_id", "gene_name"], ["gene_name", "gene_id"]):
        columns = {"gene_id": ["gene_id", *ids], "gene_name": ["gene_name", *GENES]}
        table = [[columns[n][i] for n in names] + row[1:] for i, row in enumerate(across())]
        found = read(tmp_path, table)
        assert found.gene_ids.tolist() == ["ENSG00000000001", "ENSG00000000002"]
        assert (found.symbols.tolist(), found.counts.toarray().tolist()) == (GENES, COUNTS)
        assert [finding.code for finding in found.findings] == ["counts-transposed"]


def test_annotation_of_genes_that_is_neither_id_nor_symbol(tmp_path: Path) -> None:
    """featureCounts: Geneid, Chr, Start, End, Strand, Length and a spot a column."""
    head = ["Geneid", "Chr", "Start", "End", "Strand", "Length"]
    notes = [head, [*GENES[:1], "1;1", "5;9", "7;11", "+;+", "6"], [*GENES[1:], "2;2", "5;9", "7;11", "-;-", "6"]]
    found = read(
        tmp_path, [["# Program:featureCounts"], *(n + row[1:] for n, row in zip(notes, across(), strict=True))]
    )
    assert_right(found, "counts-transposed", "counts-without-position")


def test_numbers_of_rows_before_the_names(tmp_path: Path) -> None:
    for table in (down(corner="spot"), across(corner="gene")):
        numbered = [["", *table[0]], *([str(i), *row] for i, row in enumerate(table[1:]))]
        found = read(tmp_path, numbered, ",")
        assert (found.symbols.tolist(), found.counts.toarray().tolist()) == (GENES, COUNTS)


def test_columns_beside_genes_are_no_genes(tmp_path: Path) -> None:
    more = [["in_tissue", "nCount_Spatial", "label"], ["1", "1", "a"], ["1", "3", "b"], ["1", "12", "a"]]
    found = read(tmp_path, [row + extra for row, extra in zip(down(), more, strict=True)])
    assert_right(found, "features-no-genes")
    assert found.findings[0].what == "columns that are no genes were left out: label, in_tissue, nCount_Spatial"


def test_a_gene_of_one_name_twice_and_one_called_na(tmp_path: Path) -> None:
    found = read(tmp_path, [["", "A", "NA", "A"], ["1x1", "1", "2", "3"], ["2x1", "4", "5", "6"]])
    assert (found.symbols.tolist(), found.counts.toarray().tolist()) == (["A", "NA"], [[4, 2], [10, 5]])


# --- names of spots

BARCODES = ["AAACCCGGGTTTAAAC", "AAACCCGGGTTTAAAG", "AAACCCGGGTTTAAAT"]


@pytest.mark.parametrize(
    ("counts", "positions", "told"),
    [
        ("{}", "{}-1", "without their endings, such as -1"),
        ("{}-1", "{}", "without their endings, such as -1"),
        ("{}.1", "{}-1", "without their endings, such as -1"),  # R's names of columns
        ("s1_{}-1", "{}-1", "by their bases alone"),
        ("{}-1", "{}-1_2", "by their bases alone"),
    ],
)
@pytest.mark.parametrize("side", [down, across])
def test_barcodes_with_and_without_their_ending(
    tmp_path: Path, side, counts: str, positions: str, told: str
) -> None:  # type: ignore[no-untyped-def]
    places = ["barcode\tx\ty", *(positions.format(b) + f"\t{10 + i}\t20" for i, b in enumerate(BARCODES))]
    found = read(tmp_path, side([counts.format(b) for b in BARCODES]), places=places)
    assert found.barcodes.tolist() == [positions.format(b) for b in BARCODES]
    assert found.counts.toarray().tolist() == COUNTS
    what = [finding.what for finding in found.findings if finding.code == "spots-named-otherwise"]
    assert len(what) == 1 and told in what[0]
    assert counts.format(BARCODES[0]) in what[0] and positions.format(BARCODES[0]) in what[0]


@pytest.mark.parametrize("form", ["{}_1", "X{}x1", "{}.02x0.98", "{}x1_1"])
def test_places_in_the_array_written_otherwise(tmp_path: Path, form: str) -> None:
    found = read(tmp_path, down([form.format(i) for i in (1, 2, 3)]))
    assert_right(found, "spots-named-otherwise")


def test_names_that_would_meet_are_not_joined(tmp_path: Path) -> None:
    places = ["barcode\tx\ty", *(f"{b}\t{10 + i}\t20" for i, b in enumerate(BARCODES))]
    two_samples = [f"{BARCODES[0]}-1", f"{BARCODES[0]}-2", f"{BARCODES[1]}-1"]
    with pytest.raises(ReferenceError, match="no spot has both counts and a position"):
        read(tmp_path, down(two_samples), places=places)


# --- refused, with what the table looks like


def test_a_table_of_other_spots_says_what_it_looks_like(tmp_path: Path) -> None:
    with pytest.raises(ReferenceError) as caught:
        read(tmp_path, across([f"{b}-1" for b in BARCODES]))
    assert str(caught.value) == (
        "section s: c.tsv: no spot has both counts and a position: the table has 2 rows (A, B), which do not look "
        "like spots and 3 columns of counts (AAACCCGGGTTTAAAC-1, AAACCCGGGTTTAAAG-1, AAACCCGGGTTTAAAT-1), which "
        "look like spots; the positions call 3 spots 1x1, 2x1, 3x1"
    )


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ([["spot", "label"], ["1x1", "a"]], "c.tsv: it has no column of numbers; its columns are spot, label"),
        ([["1x1", "4", "5"], ["2x1", "6", "7"]], "c.tsv: its first line names nothing: 1x1, 4, 5"),
        ([["", "A", "B"]], "c.tsv: it has a header and no rows"),
        ([["", "A"], ["1x1", "2"], ["2x1", "3", "4"]], "c.tsv: row 2 has 3 fields, row 1 has 2"),
        ([["", "A", "B"], ["1x1", "2", "3"], ["2x1", "3", "many"]], "could not convert string to float: 'many'"),
        ([["<html>"]], "c.tsv: its lines are of one column"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path: Path, table: list[list[str]], told: str) -> None:
    with pytest.raises(ReferenceError) as caught:
        read(tmp_path, table)
    assert told in str(caught.value)
    assert str(caught.value).startswith("section s: ") and str(tmp_path) not in str(caught.value)


def test_an_h5ad_under_counts_is_told_from_a_table(tmp_path: Path) -> None:
    import anndata

    read(tmp_path, down())
    anndata.AnnData(np.ones((2, 2), np.float32)).write_h5ad(tmp_path / "c.h5ad")
    with pytest.raises(ReferenceError, match=r"section s: c\.h5ad is an AnnData file: h5ad names it"):
        read_section(ENTRY | {"counts": "c.h5ad"}, tmp_path)


# --- text in no particular locale

PROGRAM = """
import sys
from pathlib import Path
from bleep_cli.cohort.read import read_cohort
from bleep_cli.tiles.positions import read_positions
folder = Path(sys.argv[1])
assert sys.flags.utf8_mode == 0 and sys.getfilesystemencoding() != "utf-8"
for found in read_cohort(folder / "cohort.toml"):
    print(ascii([found.barcodes.tolist(), found.symbols.tolist(), found.counts.toarray().tolist()]))
[table] = folder.glob("*.parquet")
print(ascii(read_positions(table).barcode.tolist()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the names of files are Unicode in every locale")
def test_umlauts_where_the_locale_knows_none(tmp_path: Path) -> None:
    folder = tmp_path / "Präparate"
    folder.mkdir()
    Image.new("RGB", (60, 40), "pink").save(folder / "Färbung.png")
    (folder / "Zählung.csv").write_text("\n".join([",µ,B", "Höhle,1,2", "Wand,3,4"]), encoding="utf-8")
    (folder / "Plätze.txt").write_text("\n".join(["id;x;y", "Höhle;10;20", "Wand;30;20"]), encoding="utf-8-sig")
    mtx = {
        "Mäuse_matrix.mtx": "%%MatrixMarket matrix coordinate integer general\n2 2 3\n1 1 1\n2 1 2\n2 2 4\n",
        "Mäuse_genes.tsv": "E1\tµ\nE2\tB\n",
        "Mäuse_barcodes.tsv": "Höhle\nWand\n",
    }
    for name, text in mtx.items():
        (folder / name).write_text(text, encoding="utf-8")
    table = pd.DataFrame({"x": [1.0], "y": [2.0]}, index=pd.Index(["Höhle"], name="id"))
    table.to_parquet(folder / "Plätze.parquet")
    lines = ['donor = "d"', 'image = "Färbung.png"', "mpp = 1.0", "min_counts = 0", 'positions = "Plätze.txt"']
    text = ""
    for i, counts in enumerate(("Zählung.csv", "Mäuse_matrix.mtx")):
        text += "\n".join(["[[section]]", f'id = "{i}"', f'counts = "{counts}"', *lines, ""])
    (folder / "cohort.toml").write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-c", PROGRAM, str(folder)],
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, encoding="utf-8", check=False,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        ascii([["Höhle", "Wand"], ["µ", "B"], [[1.0, 2.0], [3.0, 4.0]]]),
        ascii([["Höhle", "Wand"], ["µ", "B"], [[1.0, 2.0], [0.0, 4.0]]]),
        ascii(["Höhle"]),
    ]


# --- real tables, written another way


def test_a_real_table_in_every_dress(tmp_path: Path, data_dir: Path) -> None:
    base = data_dir / "her2st"
    entry = {"id": "C5", "donor": "C", "image": str(base / "images/C5.jpg"), "mpp": 0.69}
    positions = str(base / "spots/C5_selection.tsv")
    plain = read_section(entry | {"counts": str(base / "counts/C5.tsv.gz"), "positions": positions}, tmp_path)
    table = pd.read_csv(base / "counts/C5.tsv.gz", sep="\t", index_col=0).iloc[:, :400]
    table.T.to_csv(tmp_path / "a.csv")
    table.set_axis([f"X{name}" for name in table.index]).T.to_csv(tmp_path / "b.txt.gz", sep=" ")
    table.set_axis([name.replace("x", "_") for name in table.index]).to_csv(tmp_path / "c.csv", sep=";")
    for name in ("a.csv", "b.txt.gz", "c.csv"):
        found = read_section(entry | {"counts": name, "positions": positions, "min_counts": 0}, tmp_path)
        rows = [plain.barcodes.tolist().index(b) for b in found.barcodes]
        columns = [plain.symbols.tolist().index(s) for s in found.symbols]
        assert found.counts.shape == (len(plain.barcodes), 400)
        assert (found.counts != plain.counts[rows][:, columns]).nnz == 0, name
