"""``bleep-train recipe``: the list, one recipe, and the bundle that it makes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bleep_cli.api import build_reference
from bleep_cli.bundle.open import open_bundle
from bleep_cli.cohort.cohort_file import cohort_entries
from bleep_cli.errors import OutputError, UsageError
from bleep_train.recipes.manifest import load_manifest

SECTION = "A-S1"
OUTS = f"{SECTION}/outs"
PATHS = [f"{OUTS}/filtered_feature_bc_matrix/{part}.gz" for part in ("matrix.mtx", "features.tsv", "barcodes.tsv")]
PATHS += [f"{OUTS}/spatial/tissue_positions.csv", f"{SECTION}/{SECTION}.tif"]
MANIFEST = f"""
title = "a phantom"
species = "none: synthetic"
tissue = "liver phantom"
technology = "computed"
licence = "Apache-2.0"
citation = "Nobody 2020"
source = "https://example.org"
accuracy = "not measured"
spots = 45
manual = "Make it by bleep-train phantom."
[build]
views = 1
[[section]]
id = "{SECTION}"
donor = "A"
image = "{SECTION}/{SECTION}.tif"
spaceranger = "{OUTS}"
"""


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest of a section of the phantoms."""
    path = tmp_path_factory.mktemp("manifest") / "phantom.toml"
    files = "".join(f'[[file]]\npath = "{name}"\n' for name in PATHS)
    path.write_text(MANIFEST + files, encoding="utf-8")
    return path


def test_without_a_name_all_are_listed(bleep_train: Callable[..., str]) -> None:
    lines = bleep_train("recipe").splitlines()
    assert lines[0].startswith("| recipe | tissue | species | sections | spots | licence |")
    (her2st,) = [line for line in lines if line.startswith("| her2st |")]
    assert "| 36 | 13,620 | CC BY 4.0" in her2st
    assert load_manifest("her2st").accuracy in her2st


def test_a_recipe_is_shown_with_terms_addresses_and_commands(bleep_train: Callable[..., str]) -> None:
    shown = bleep_train("recipe", "her2st")
    assert "licence   CC BY 4.0" in shown
    assert "passwords stand in the README of https://github.com/almaan/her2st" in shown
    assert "counts/C2.tsv.gz, 821,408 bytes, sha256 c1c59ea6cffa…, https://raw.githubusercontent.com/" in shown
    assert "images/A1.jpg, hash not known, by hand" in shown
    assert "bleep-train recipe her2st --to FOLDER -o her2st.zarr    (30 files only by hand)" in shown
    assert "nothing of it can be downloaded" in bleep_train("recipe", "hest-ccrcc")
    liver = bleep_train("recipe", "liver-gse240429")
    assert "C73_A1/C73_A1.tiff, from raw/GSM7697868_GEX_C73_A1_Merged.tiff.gz" in liver
    assert "(9,269 spots, 1 donor)" in liver


def test_what_a_folder_holds(bleep_train: Callable[..., str], own: Path, phantoms: Path, tmp_path: Path) -> None:
    assert "holds 1 of 1 sections: A-S1" in bleep_train("recipe", own, "--from", phantoms.parent)
    shown = bleep_train("recipe", own, "--from", tmp_path, "--only", SECTION)
    assert f"holds 0 of 1 sections: none\n  A-S1 lacks {PATHS[0]}" in shown


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["-o", "new.zarr"], "say where the files are with from, or where to download them with to"),
        (
            ["-o", "new.zarr", "--from", ".", "--to", "."],
            "give from, where nothing is downloaded, or to, not both",
        ),
        (["-o", "new.zarr", "--from", "nowhere"], "nowhere: no such folder"),
        (["-o", "new.zarr", "--from", ".", "--only", "B"], "phantom has no section B; it has A-S1"),
        (["--to", "."], "cannot be downloaded; bleep-train recipe phantom says how to get them by hand"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_made(
    bleep_train: Callable[..., str],
    own: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    told: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=told):
        bleep_train("recipe", own, *options)
    assert not any(tmp_path.iterdir())


def test_nothing_is_replaced_without_force(bleep_train: Callable[..., str], own: Path, tmp_path: Path) -> None:
    (tmp_path / "cohort.toml").write_text("mine")
    with pytest.raises(OutputError, match=r"cohort.toml exists already"):
        bleep_train("recipe", own, "--from", tmp_path, "--cohort", tmp_path / "cohort.toml")


@pytest.mark.slow
def test_the_bundle_is_that_of_build_reference_with_its_terms(
    bleep_train: Callable[..., str], own: Path, phantoms: Path, tmp_path: Path
) -> None:
    out, cohort = tmp_path / "phantom.zarr", tmp_path / "cohort.toml"
    printed = bleep_train("recipe", own, "--from", phantoms.parent, "-o", out, "--cohort", cohort)
    assert "cohort.toml: 1 section" in printed
    assert printed.endswith("from 1 section; Apache-2.0\n")
    bundle = open_bundle(out)
    info = bundle.info
    assert (info.species, info.licence, info.citation) == ("none: synthetic", "Apache-2.0", "Nobody 2020")
    assert (info.views, info.training["recipe"]) == (1, "closed-form")
    assert set(info.training["data"]["sha256"]) == set(PATHS)
    assert cohort_entries(cohort)[0]["spaceranger"] == str(phantoms.parent / OUTS)
    built = build_reference(cohort, views=1, device="cpu")
    for side in ("image", "expression"):
        assert np.array_equal(bundle.embeddings(side), getattr(built.arrays, f"{side}_embeddings"))


@pytest.mark.slow
def test_two_real_sections_of_her2st(bleep_train: Callable[..., str], data_dir: Path, tmp_path: Path) -> None:
    folder, out = data_dir / "her2st", tmp_path / "her2st.zarr"
    with pytest.raises(UsageError, match=r"of her2st lack counts/A1.tsv.gz.*with only C2,C3,C4,C5"):
        bleep_train("recipe", "her2st", "--from", folder, "-o", out)
    before = sorted(folder.rglob("*"))
    printed = bleep_train(
        *("recipe", "her2st", "--from", folder, "--only", "C2,C3", "--views", "1", "--device", "cpu"),
        *("-o", out),
    )
    assert "364 spots ×" in printed
    assert sorted(folder.rglob("*")) == before
    bundle = open_bundle(out)
    files = {f.path: f.sha256 for f in load_manifest("her2st").file}
    hashes = bundle.info.training["data"]["sha256"]
    assert len(hashes) == 6
    assert all(files[path] == sha256 for path, sha256 in hashes.items())
    assert bundle.info.licence.startswith("CC BY 4.0")
    assert [section.id for section in bundle.info.sections] == ["C2", "C3"]
