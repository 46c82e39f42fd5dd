"""``bleep reference`` and the options that leave sections out, as a person types them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import open_bundle
from bleep_cli.cli import app
from bleep_cli.errors import BleepError


@pytest.fixture
def folder(
    tmp_path: Path,
    write_cohort: Callable[..., Path],
    make_encoders: Callable[..., Encoders],
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """Two cohorts of different sections, and ``base.zarr`` of the first, in the current folder."""
    write_cohort(tmp_path / "first", ("st", "tiff"))
    write_cohort(tmp_path / "second", ("tiff",), first_seed=5)
    make_encoders(k=20).save(tmp_path / "encoders")
    monkeypatch.chdir(tmp_path)
    bleep("build-reference", "first/cohort.toml", "--encoders", "encoders", "-o", "base.zarr", "--device", "cpu")
    return tmp_path


def bleep(*words: str) -> Result:
    """A command that has to go well."""
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def refused(*words: str) -> BleepError:
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, BleepError), result.output
    return result.exception


def sections(path: str) -> list[str]:
    return [record.id for record in open_bundle(path).info.sections]


def test_add_remove_merge_and_subset(folder: Path) -> None:
    bleep("reference", "add", "base.zarr", "second/cohort.toml", "-o", "grown.zarr", "--licence", "CC0")
    assert sections("grown.zarr") == ["S0", "S1", "S5"]
    assert open_bundle("grown.zarr").info.licence == "CC0"
    bleep("build-reference", "second/cohort.toml", "--base", "base.zarr", "-o", "same.zarr", "--licence", "CC0")
    assert open_bundle("same.zarr").content_sha256 == open_bundle("grown.zarr").content_sha256
    told = json.loads(
        bleep("--json", "reference", "remove", "grown.zarr", "--donor", "DS0", "-o", "less.zarr").stdout
    )
    assert (told["sections"], told["content_sha256"]) == (["S1", "S5"], open_bundle("less.zarr").content_sha256)
    bleep("reference", "remove", "grown.zarr", "--section", "S1,S5", "-o", "one.zarr")
    assert sections("one.zarr") == ["S0"]
    bleep("reference", "merge", "one.zarr", "less.zarr", "-o", "merged.zarr.zip")
    assert sections("merged.zarr.zip") == ["S0", "S1", "S5"]
    Path("list.txt").write_text("GENE3\nGENE1\n")
    bleep("reference", "subset", "grown.zarr", "--donors", "DS5,DS0", "--genes", "list.txt", "-o", "some.zarr")
    assert sections("some.zarr") == ["S0", "S5"]
    assert all(
        line in bleep("inspect", "some.zarr", "--verify").stdout for line in ("donor DS5", "ok     content")
    )


def test_what_cannot_be_is_said_with_the_option_that_mends_it(folder: Path) -> None:
    assert refused("reference", "remove", "base.zarr", "-o", "x.zarr").options == ("donor", "section")
    assert refused("reference", "subset", "base.zarr", "-o", "x.zarr").options == ("genes", "donors")
    again = refused("reference", "add", "base.zarr", "first/cohort.toml", "-o", "x.zarr")
    assert (again.exit_code, str(again)) == (4, "section S0 is already in base.zarr (as S0)")
    assert refused("reference", "remove", "base.zarr", "--donor", "DS1", "-o", "base.zarr").exit_code == 6
    rule = refused("build-reference", "first/cohort.toml", "-o", "x.zarr", "--genes", "base")
    assert rule.options == ("genes", "base")
    lone = refused("reference", "remove", "base.zarr", "--donor", "DS1", "-o", "x.zarr", "--strict")
    assert "all spots are of one donor (DS0)" in str(lone)
    assert not Path("x.zarr").exists()


def test_predict_leaves_out_what_is_named_and_a_slides_own(folder: Path, query_slide: Path) -> None:
    common = ("--ref", "base.zarr", "--format", "h5ad", "--device", "cpu", "-k", "7")
    bleep("predict", str(query_slide), *common, "-o", "a", "--exclude-donor", "DS0")
    donors = open_bundle("base.zarr").spots("donor")
    found = anndata.read_h5ad("a/query.h5ad")
    assert set(donors[found.obsm["neighbours"]].ravel()) == {"DS1"}
    assert found.uns["bleep"]["reference"]["left_out"].tolist() == ["S0"]
    own = bleep("predict", "first/S1.tif", *common, "--mpp", "4", "-o", "b")
    assert "left out of the search: the slide is the image of section S1; --include-own keeps them" in own.output
    kept = bleep("predict", "first/S1.tif", *common, "--mpp", "4", "-o", "c", "--include-own")
    assert "has a part in the prediction, as was asked" in kept.output
    index = [anndata.read_h5ad(f"{name}/S1.h5ad").obsm["neighbours"] for name in "bc"]
    assert set(donors[index[0]].ravel()) == {"DS0"} and np.isin("DS1", donors[index[1]])
    bleep("predict", "first/S1.tif", *common, "--mpp", "4", "-o", "c", "--include-own", "--resume")


def test_a_table_of_slides_excludes_by_slide(folder: Path, query_slide: Path) -> None:
    table = f"slide,name,exclude_donor,exclude_section\n{query_slide},one,DS0,\n{query_slide},two,,S1\n"
    Path("slides.csv").write_text(table)
    bleep("predict", "--slides", "slides.csv", "--ref", "base.zarr", "--format", "h5ad", "-o", "out")
    donors = open_bundle("base.zarr").spots("donor")
    of = {
        name: set(donors[anndata.read_h5ad(f"out/{name}.h5ad").obsm["neighbours"]].ravel())
        for name in ("one", "two")
    }
    assert of == {"one": {"DS1"}, "two": {"DS0"}}
    Path("slides.csv").write_text(table.replace("DS0", "DX"))
    wrong = refused("predict", "--slides", "slides.csv", "--ref", "base.zarr", "--format", "h5ad", "-o", "new")
    assert "slides.csv, row 2: exclude_donor: DX not in base.zarr" in str(wrong)
