"""A recipe's files in a folder: where they may lie, what is checked of them, what is unpacked."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from recipe_files import manifest_of, of_cohort, sha256, tar_of, visium

from bleep_cli.cohort.cohort_file import cohort_texts
from bleep_cli.cohort.read import read_cohort
from bleep_cli.errors import OutputError, ReferenceError, UsageError
from bleep_train.recipes.folder import RECORD, Checked, check, find, record, recorded, require_all, unpack
from bleep_train.recipes.manifest import DataFile, load_manifest
from bleep_train.recipes.sections import gather, mpp_of, write_cohort_file


def test_a_file_lies_at_its_path_or_at_one_other_place(tmp_path: Path) -> None:
    file = DataFile("counts/a.tsv", also=("**/ST-cnts/a.tsv", "a.tsv.gz"))
    assert find(file, tmp_path) is None
    (tmp_path / "data/ST-cnts").mkdir(parents=True)
    (tmp_path / "data/ST-cnts/a.tsv").write_text("x")
    assert find(file, tmp_path) == tmp_path / "data/ST-cnts/a.tsv"
    (tmp_path / "a.tsv.gz").write_text("x")
    with pytest.raises(
        UsageError, match=r"counts/a.tsv may be a.tsv.gz, data/ST-cnts/a.tsv; put the right one at"
    ):
        find(file, tmp_path)
    (tmp_path / "counts").mkdir()
    (tmp_path / "counts/a.tsv").write_text("x")
    assert find(file, tmp_path) == tmp_path / "counts/a.tsv"


def test_her2st_is_found_in_the_layouts_of_its_archive_and_of_its_repository(tmp_path: Path) -> None:
    manifest = load_manifest("her2st")
    layouts = {
        "archive": ("count-matrices/C2.tsv.gz", "spot-selections/C2_selection.tsv.gz", "images/HE/C2.jpg"),
        "flat": ("C2.tsv.gz", "C2_selection.tsv.gz", "HE/C2.jpg"),
        "git": (
            "data/ST-cnts/C2.tsv.gz",
            "data/ST-spotfiles/C2_selection.tsv",
            "data/ST-imgs/C/C2/5714_HE_BT_C2.jpg",
        ),
    }
    for name, paths in layouts.items():
        for path in paths:
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_bytes(b"x")
        require_all(manifest, ["C2"], tmp_path / name)


def test_sections_that_lack_files_are_told_with_those_that_do_not(tmp_path: Path) -> None:
    files = [DataFile(f"{i}.{kind}") for i in "abc" for kind in ("h5ad", "tif")]
    sections = [{"id": i, "donor": i, "image": f"{i}.tif", "h5ad": f"{i}.h5ad"} for i in "abc"]
    manifest = manifest_of(*files, sections=sections)
    for name in ("a.h5ad", "a.tif", "b.h5ad", "c.h5ad", "c.tif"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(UsageError, match=r": b of made-up lack b.tif; take those that are whole with only a,c"):
        require_all(manifest, None, tmp_path)
    require_all(manifest, ["a", "c"], tmp_path)
    with pytest.raises(UsageError, match="made-up has no section d; it has a, b, c"):
        require_all(manifest, ["d"], tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"a, b, c of made-up lack a.h5ad, a.tif, b.h5ad and 3 more; no section"):
        require_all(manifest, None, tmp_path / "empty")
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        require_all(manifest, None, tmp_path / "nowhere")


def test_bytes_are_compared_with_size_and_hash(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    right = DataFile("a", size=3, sha256=sha256(b"abc"))
    checked = Checked()
    check(right, tmp_path / "a", tmp_path, checked)
    assert (checked.sha256, checked.notes) == ({"a": sha256(b"abc")}, [])
    wrong = replace(right, size=4, sha256=sha256(b"abd"))
    with pytest.raises(
        ReferenceError, match=r"a: 3 bytes where 4 are expected, sha256 ba7816bf8f01… where"
    ) as error:
        check(wrong, tmp_path / "a", tmp_path, Checked())
    assert error.value.options == ("accept_changed",)
    accepting = Checked(accept=True)
    check(wrong, tmp_path / "a", tmp_path, accepting)
    assert accepting.notes[0].startswith("a was accepted: 3 bytes where 4 are expected")


def test_a_hash_that_nobody_stated_is_told_and_kept_where_it_was_recorded(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    checked = Checked()
    check(DataFile("a"), tmp_path / "a", tmp_path, checked)
    assert checked.notes == [f"a: hash not known, computed: {sha256(b'abc')}"]
    assert not (tmp_path / RECORD).exists()
    record(tmp_path, {"b": sha256(b"b")})
    record(tmp_path, checked.sha256)
    assert recorded(tmp_path) == {"a": sha256(b"abc"), "b": sha256(b"b")}
    (tmp_path / "a").write_bytes(b"abd")
    with pytest.raises(ReferenceError, match="ba7816bf8f01… is expected"):
        check(DataFile("a"), tmp_path / "a", tmp_path, Checked())


def test_a_copy_that_was_gzipped_is_hashed_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.tsv.gz").write_bytes(gzip.compress(b"abc"))
    check(DataFile("a.tsv", size=3, sha256=sha256(b"abc")), tmp_path / "a.tsv.gz", tmp_path, Checked())
    packed = (tmp_path / "a.tsv.gz").read_bytes()
    check(
        DataFile("x.tsv.gz", size=len(packed), sha256=sha256(packed)), tmp_path / "a.tsv.gz", tmp_path, Checked()
    )


def test_unpacking_is_whole_or_not_at_all(tmp_path: Path) -> None:
    packed = gzip.compress(os.urandom(5000))
    (tmp_path / "a.gz").write_bytes(packed[:-100])
    (tmp_path / "b.gz").write_bytes(b"no gzip")
    (tmp_path / "c.tar").write_bytes(tar_of({"x": b"1"}))
    for archive, member in (("a.gz", ""), ("b.gz", ""), ("b.gz", "x"), ("c.tar", "y")):
        with pytest.raises(ReferenceError, match=f"{archive}: cannot be read"):
            unpack(tmp_path / archive, member, tmp_path / "out")
    assert {file.name for file in tmp_path.iterdir()} == {"a.gz", "b.gz", "c.tar"}


def test_a_section_is_read_as_from_its_own_cohort_file(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", ("st",))
    manifest = of_cohort(cohort)
    pixel_size = {**manifest.section[0], "mpp": 4.0}
    found = gather(replace(manifest, section=(pixel_size,)), cohort.parent, Checked())
    (own,) = read_cohort(cohort)
    (section,) = found.sections
    assert (section.sha256, section.mpp, section.donor, found.notes) == (own.sha256, own.mpp, "D0", ())
    write_cohort_file(manifest, found.entries, tmp_path / "other.toml", force=False)
    assert read_cohort(tmp_path / "other.toml")[0].sha256 == own.sha256
    assert cohort_texts(tmp_path / "other.toml")["licence"] == "CC0"


def test_least_counts_of_a_section_are_kept(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", ("st",))
    (whole,) = read_cohort(cohort)
    totals = np.asarray(whole.counts.sum(axis=1)).ravel()
    least = int(totals.min()) + 1
    manifest = of_cohort(cohort)
    fewer = {**manifest.section[0], "mpp": 4.0, "min_counts": least}
    found = gather(replace(manifest, section=(fewer,)), cohort.parent, Checked())
    assert len(found.sections[0].barcodes) == (totals >= least).sum() < len(totals)
    write_cohort_file(manifest, found.entries, tmp_path / "other.toml", force=False)
    (again,) = read_cohort(tmp_path / "other.toml")
    assert again.barcodes.tolist() == found.sections[0].barcodes.tolist()


def test_archives_become_a_space_ranger_folder(write_cohort: Callable[..., Path], tmp_path: Path) -> None:
    cohort = write_cohort(tmp_path / "cohort", ("spaceranger",))
    manifest, flat = visium(tmp_path), tmp_path / "flat"
    checked = Checked()
    (section,) = gather(manifest, flat, checked).sections
    (own,) = read_cohort(cohort)
    assert section.sha256 == own.sha256
    assert section.mpp == pytest.approx(own.mpp)  # told from the spots, 20 px and 80 µm apart
    assert (flat / "S0/S0.png").read_bytes() == (cohort.parent / "S0.png").read_bytes()
    assert set(checked.sha256) >= {"spatial.tar.gz", "S0.png.gz"}
    assert "S0: 4.0 µm per pixel, from spots 80 µm apart" in gather(manifest, flat, Checked()).notes
    (flat / "spatial.tar.gz").write_bytes(b"another")
    assert gather(manifest, flat, Checked()).sections[0].sha256 == own.sha256  # unpacked already
    (flat / "S0/outs/spatial/tissue_positions.csv").unlink()
    with pytest.raises(ReferenceError, match=r"spatial.tar.gz: sha256 .* is expected"):
        gather(manifest, flat, Checked())


def test_a_folder_that_cannot_be_written_is_told(
    write_cohort: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_cohort(tmp_path / "cohort", ("spaceranger",))
    manifest = visium(tmp_path)
    before = sorted((tmp_path / "flat").rglob("*"))
    monkeypatch.setattr(os, "access", lambda *_: False)  # as for anybody but root in a folder of others
    with pytest.raises(OutputError, match=r"flat is write-protected, and .* has to be unpacked") as error:
        gather(manifest, tmp_path / "flat", Checked())
    assert error.value.options == ("from",)
    assert sorted((tmp_path / "flat").rglob("*")) == before


def test_the_pixel_size_of_arrays_whose_spots_scatter() -> None:
    rng = np.random.default_rng(0)
    square = np.stack(np.meshgrid(np.arange(20), np.arange(15)), axis=-1).reshape(-1, 2) * 290.0
    shifted = square + rng.normal(0, 8, square.shape)
    assert mpp_of(shifted, 200.0) == pytest.approx(200 / 290, rel=0.005)
    hexagonal = np.array([(50 * (2 * x + y % 2), 86.6025 * y) for x in range(12) for y in range(12)])
    assert mpp_of(hexagonal * 3.288, 100.0) == pytest.approx(100 / 328.8, rel=1e-4)
    with pytest.raises(ReferenceError, match="less than two spots"):
        mpp_of(square[:1], 200.0)


@pytest.mark.slow
def test_the_pixel_size_of_real_spots(data_dir: Path) -> None:
    manifest = load_manifest("her2st")
    entries = tuple({k: v for k, v in entry.items() if k != "mpp"} for entry in manifest.chosen(["C2"]))
    section = gather(replace(manifest, section=entries), data_dir / "her2st", Checked()).sections[0]
    assert section.mpp == pytest.approx(0.69, rel=0.01)
