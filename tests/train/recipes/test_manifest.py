"""Manifests: every shipped one is whole, and one that is not is refused with the reason."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from bleep_cli.cohort.cohort_file import cohort_entries
from bleep_cli.errors import ReferenceError, UsageError
from bleep_train.recipes.manifest import NOT_MEASURED, Manifest, is_https, load_manifest, manifests
from bleep_train.recipes.sections import write_cohort_file

SHIPPED = manifests()
NAMES = {"her2st", "liver-gse240429", "dlpfc", "breast-10x", "hest-ccrcc", "mouse-olfactory-bulb"}
HEAD = "".join(
    f'{key} = "{value}"\n'
    for key, value in {
        **dict.fromkeys(("title", "species", "tissue", "technology", "licence", "citation"), "x"),
        "source": "https://example.org",
        "accuracy": NOT_MEASURED,
    }.items()
)
FILE = '[[file]]\npath = "a.h5ad"\nurl = "https://example.org/a"\n[[file]]\npath = "a.tif"\n'
SECTION = '[[section]]\nid = "a"\ndonor = "d"\nimage = "a.tif"\nh5ad = "a.h5ad"\n'


def test_the_recipes_that_are_shipped() -> None:
    assert {manifest.name for manifest in SHIPPED} == NAMES
    assert [manifest.name for manifest in SHIPPED] == sorted(NAMES)


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: manifest.name)
def test_a_shipped_manifest_says_where_from_and_under_which_terms(manifest: Manifest) -> None:
    assert len(manifest.licence) > 2
    assert len(manifest.citation) > 20
    assert is_https(manifest.source)
    assert all(is_https(file.url) for file in manifest.file if file.url)
    addresses = [file.url for file in manifest.file if file.url]
    assert len(addresses) == len(set(addresses))
    by_hand = [file.path for file in manifest.file if not (file.url or file.inside)]
    assert bool(manifest.manual.strip()) or not by_hand
    assert manifest.accuracy == NOT_MEASURED or "docs/results.md" in manifest.accuracy
    assert all("mpp" in entry for entry in manifest.section) or manifest.build.pitch_um in (100.0, 200.0)


@pytest.mark.parametrize("manifest", SHIPPED, ids=lambda manifest: manifest.name)
def test_the_sections_of_a_shipped_manifest_are_a_cohort_file(manifest: Manifest, tmp_path: Path) -> None:
    write_cohort_file(manifest, manifest.section, tmp_path / "cohort.toml", force=False)
    assert cohort_entries(tmp_path / "cohort.toml") == list(manifest.section)
    used = {file.path for entry in manifest.section for file in manifest.files_of(entry)}
    assert used | {file.inside for file in manifest.file} - {""} == {file.path for file in manifest.file}


def test_the_files_whose_hashes_are_known(data_dir: Path) -> None:
    """The shared part of her2st is what the manifest describes."""
    manifest = load_manifest("her2st")
    known = {f.path: (f.size, f.sha256) for f in manifest.file if f.sha256 and "C" in f.path}
    assert len(known) == 12
    sizes = {path: (data_dir / "her2st" / path).stat().st_size for path in known}
    assert sizes == {path: size for path, (size, _) in known.items()}


def read(folder: Path, text: str) -> Manifest:
    path = folder / "own.toml"
    path.write_text(text, encoding="utf-8")
    return load_manifest(str(path))


def test_a_manifest_of_ones_own(tmp_path: Path) -> None:
    manifest = read(tmp_path, HEAD + "[build]\nviews = 1\n" + FILE + SECTION)
    assert (manifest.name, manifest.build.views, manifest.build.pitch_um) == ("own", 1, 0.0)
    assert [file.path for file in manifest.files_of(manifest.section[0])] == ["a.h5ad", "a.tif"]
    assert {entry.name for entry in fields(manifest)} >= {"title", "licence", "citation", "accuracy"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title", "own.toml: not valid TOML"),
        (HEAD + 'licens = "x"\n' + FILE + SECTION, "unknown key licens; known are accuracy, build"),
        ('name = "x"\n' + HEAD + FILE + SECTION, "unknown key name"),
        (HEAD.replace("licence", "technolog") + FILE + SECTION, "unknown key technolog"),
        (HEAD.replace('licence = "x"\n', "") + FILE + SECTION, "licence missing"),
        (HEAD.replace('licence = "x"', "licence = 1") + FILE + SECTION, "licence = 1; a str is needed"),
        (HEAD + "spots = true\n" + FILE + SECTION, "spots = True; a int is needed"),
        (HEAD + "[build]\nviews = 2\n" + FILE + SECTION, "views = 2; choose one of 1, 8"),
        (HEAD + "[build]\nviews = true\n" + FILE + SECTION, "views = True; choose one of 1, 8"),
        (HEAD + "build = 1\n" + FILE + SECTION, "build is a table"),
        (HEAD + 'file = "a"\n' + SECTION, "file is a list"),
        (HEAD + FILE + 'md5 = "x"\n' + SECTION, "file 2: unknown key md5"),
        (HEAD + FILE + "size = -1\n" + SECTION, "size = -1; a int is needed"),
        (HEAD + FILE + 'also = [1]\n' + SECTION, "also 1 = 1; a str is needed"),
        (HEAD + FILE + 'sha256 = "ABC"\n' + SECTION, "a.tif: sha256 is 64 signs"),
        (HEAD + FILE + 'inside = "b.zip"\n' + SECTION, "a.tif is inside b.zip, which is to be listed"),
        (HEAD + FILE.replace("https", "http") + SECTION, "a.h5ad: http://example.org/a is no https address"),
        (HEAD.replace("https", "ftp") + FILE + SECTION, "source ftp://example.org is no https address"),
        (HEAD + FILE + FILE + SECTION, "a.h5ad is listed twice"),
        (HEAD + FILE.replace("a.tif", "../a.tif") + SECTION, r"\.\./a.tif leads out of the folder"),
        (HEAD + FILE + 'also = ["/*/a.tif"]\n' + SECTION, r"/\*/a.tif leads out of the folder"),
        (HEAD + FILE + SECTION.replace("a.tif", "b.tif"), "section a: b.tif is not among the files"),
        (HEAD + FILE + SECTION.replace('h5ad = "a.h5ad"', 'spaceranger = "outs"'), "section a: outs is not among"),
        (HEAD + FILE + SECTION.replace("donor", "doner"), "section a: unknown key doner"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_manifest_is_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ReferenceError, match=told):
        read(tmp_path, text)


def test_a_name_that_is_none() -> None:
    with pytest.raises(
        UsageError, match="recipe her3st: neither a shipped one nor a file; shipped are breast-10x"
    ):
        load_manifest("her3st")
