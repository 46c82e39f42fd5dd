"""A bundle as people pass it on: zipped with its folder, or in a folder around it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import pytest

from bleep_cli.bundle.open import open_bundle
from bleep_cli.bundle.verify import verify
from bleep_cli.errors import ReferenceError


def zipped_with_its_folder(bundle: Path, out: Path, *, finder: bool, entries: bool) -> Path:
    """As Explorer does it (with or without entries for folders), or Finder, which adds files of its own."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(bundle.rglob("*")):
            name = f"{bundle.name}/{file.relative_to(bundle).as_posix()}"
            if file.is_file():
                archive.write(file, name)
                if finder and file.name == "zarr.json":
                    archive.writestr(f"__MACOSX/{name.replace('zarr.json', '._zarr.json')}", b"\0\5\26\7")
            elif entries:
                archive.writestr(f"{name}/", b"")
        if finder:
            archive.writestr(f"{bundle.name}/.DS_Store", b"\0\0\0\1Bud1")
            archive.writestr("__MACOSX/zarr.json", b"{}")
    return out


@pytest.mark.parametrize(("finder", "entries"), [(False, True), (False, False), (True, True)])
def test_a_zip_with_the_bundles_folder_is_the_bundle(
    small_bundle: Path, tmp_path: Path, finder: bool, entries: bool
) -> None:
    plain = open_bundle(small_bundle)
    out = zipped_with_its_folder(small_bundle, tmp_path / "mine.zip", finder=finder, entries=entries)
    bundle = open_bundle(out)
    assert bundle.content_sha256 == plain.content_sha256
    assert [check.name for check in verify(bundle) if not check.ok] == []
    assert bundle.symbols.tolist() == plain.symbols.tolist()


def test_a_folder_around_one_bundle_is_the_bundle(small_bundle: Path, tmp_path: Path) -> None:
    outer = tmp_path / "outer"
    shutil.copytree(small_bundle, outer / "ref.zarr")
    (outer / "README.txt").write_text("from a colleague")
    assert open_bundle(outer).content_sha256 == open_bundle(small_bundle).content_sha256
    shutil.rmtree(outer / "ref.zarr")
    zipped_with_its_folder(small_bundle, outer / "ref.zarr.zip", finder=False, entries=True)
    assert open_bundle(outer).content_sha256 == open_bundle(small_bundle).content_sha256


def test_of_several_one_is_to_be_named(small_bundle: Path, tmp_path: Path) -> None:
    for name in ("a.zarr", "b.zarr"):
        shutil.copytree(small_bundle, tmp_path / "outer" / name)
    with pytest.raises(ReferenceError, match=r"^outer: holds several bundles \(a\.zarr, b\.zarr\); name one"):
        open_bundle(tmp_path / "outer")
    shutil.make_archive(str(tmp_path / "both"), "zip", tmp_path / "outer")
    with pytest.raises(ReferenceError, match=r"^both\.zip: holds several bundles \(a\.zarr, b\.zarr\); name one"):
        open_bundle(tmp_path / "both.zip")
