"""``--resume`` keeps a slide whose files are, byte for byte, what its manifest says was written, and no other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anndata
import pytest

from bleep_cli.base.hashing import fingerprint
from bleep_cli.batch.manifest import manifest_path, read_manifest
from bleep_cli.batch.prepare import Batch, prepare_batch
from bleep_cli.batch.run import finished, predict_batch, predict_slide, predictor_maker
from bleep_cli.commands.console import Console
from bleep_cli.errors import OutputError
from bleep_cli.findings import Finding
from bleep_cli.outputs.stored import provenance
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.provenance import identity_of

KINDS = ("h5ad", "zarr", "png", "html", "parquet", "csv", "geojson")
CPU = PredictOptions(device="cpu")


@pytest.fixture(scope="module")
def made(small_bundle: Path, query_slide: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a slide ``a.tif`` and its results of every kind."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copy(query_slide, folder / "a.tif")
    batch = prepare_batch([folder / "a.tif"], small_bundle, folder, formats=KINDS, options=CPU)
    assert predict_batch(batch, Console(quiet=True)) == 0
    return folder


@pytest.fixture
def resumed(made: Path, small_bundle: Path, tmp_path: Path) -> Callable[..., Batch]:
    """The same on a copy of the folder, asked for with ``--resume``."""
    folder = tmp_path / "copy"
    shutil.copytree(made, folder)

    def prepare(*kinds: str, **options: Any) -> Batch:
        chosen: dict[str, Any] = {"formats": kinds or KINDS, "options": CPU, "resume": True, **options}
        return prepare_batch([folder / "a.tif"], small_bundle, folder, **chosen)

    return prepare


def why(batch: Batch) -> str:
    """Why a slide is predicted again; "kept" where it is not."""
    found = finished(batch.jobs[0], batch)
    return found if isinstance(found, str) else found["status"].replace("complete already", "kept")


def test_it_says_what_lies_there(made: Path) -> None:
    said = json.loads((made / "a.bleep.json").read_text())
    assert (said["kind"], said["version"]) == ("bleep-manifest", 1)
    files = {path.name for path in made.iterdir()} - {"a.tif", "a.bleep.json"}
    assert said["files"] == {name: fingerprint(made / name) for name in files} and len(files) == len(KINDS)
    paths = {"h5ad": made / "a.h5ad"}
    known = read_manifest(paths)
    assert known is not None and known.identity == identity_of(provenance(paths["h5ad"], "h5ad"))
    assert (
        known.size == anndata.read_h5ad(paths["h5ad"]).shape and known.gene in made.joinpath("a.html").read_text()
    )


def test_it_has_one_name_whatever_is_written(made: Path) -> None:
    names = {"h5ad": "a.h5ad", "png": "a.bleep.png", "spatialdata": "a.spatialdata.zarr", "csv": "a.bleep.csv"}
    paths = [{kind: made / name} for kind, name in names.items()]
    assert {manifest_path(each) for each in paths} == {made / "a.bleep.json"}


def test_what_is_as_it_was_written_is_kept(resumed: Callable[..., Batch]) -> None:
    batch = resumed()
    assert why(batch) == "kept"
    table = resumed("h5ad")
    record = finished(table.jobs[0], table)
    assert isinstance(record, dict) and (record["gene"], len(record["files"])) == (None, 1)


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_bit_counts(resumed: Callable[..., Batch], kind: str) -> None:
    batch = resumed()
    path = batch.jobs[0].paths[kind]
    _flip(
        max((f for f in path.rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
        if kind == "zarr"
        else path
    )
    assert why(batch) == f"{path.name} is not what a.bleep.json says was written"


def test_what_is_missing_counts(resumed: Callable[..., Batch]) -> None:
    batch = resumed()
    paths = batch.jobs[0].paths
    shutil.rmtree(paths["zarr"] / "X" / "c")
    paths["csv"].write_bytes(b"")
    assert why(batch) == "a.zarr, a.bleep.csv is not what a.bleep.json says was written"
    paths["csv"].unlink()
    assert why(batch) == "a.bleep.csv is missing"


@pytest.mark.parametrize("said", [None, "", "{", "[" * 10_000, "[]", '{"kind": "bleep-manifest", "version": 2}'])
def test_without_a_manifest_nothing_is_kept(resumed: Callable[..., Batch], said: str | None) -> None:
    """Results of earlier versions have none; one that cannot be read, or is of a later one, is none."""
    batch = resumed("h5ad")
    place = manifest_path(batch.jobs[0].paths)
    place.unlink() if said is None else place.write_text(said)
    assert why(batch) == "no a.bleep.json says what was written"
    if said is not None:
        with pytest.raises(
            OutputError, match=r"^a\.bleep\.json exists already and does not say what was written; force"
        ):
            resumed("h5ad")
    assert resumed("h5ad", force=True)


def test_it_does_not_speak_for_what_it_does_not_name(resumed: Callable[..., Batch]) -> None:
    """A file beside those of the last run may be of an earlier one, from other options."""
    place = manifest_path(resumed().jobs[0].paths)
    said = json.loads(place.read_text())
    del said["files"]["a.bleep.png"]
    place.write_text(json.dumps(said))
    assert why(resumed("h5ad")) == "kept"
    assert why(resumed("h5ad", "png")) == "a.bleep.png is not what a.bleep.json says was written"


def test_a_result_of_something_else_in_its_place_is_refused(
    resumed: Callable[..., Batch], small_bundle: Path, query_slide: Path, tmp_path: Path
) -> None:
    batch = resumed("h5ad")
    other = prepare_batch([query_slide], small_bundle, tmp_path, formats=["h5ad"], options=replace(CPU, k=7))
    assert predict_batch(other, Console(quiet=True)) == 0
    shutil.copy(other.jobs[0].paths["h5ad"], batch.jobs[0].paths["h5ad"])
    with pytest.raises(
        OutputError, match=r"^a\.h5ad exists already, from other options \(k\); force replaces it$"
    ):
        why(batch)
    assert why(resumed("h5ad", force=True)).startswith("a.h5ad exists already, from other options (k)")


def test_what_it_says_it_is_from_decides_before_a_slide_is_read(resumed: Callable[..., Batch]) -> None:
    with pytest.raises(OutputError, match=r"from other options \(k\); force replaces it"):
        resumed(options=replace(CPU, k=7))


def test_predicting_again_is_told_and_mends(resumed: Callable[..., Batch], made: Path) -> None:
    batch = resumed()
    _flip(batch.jobs[0].paths["h5ad"])
    told: list[Finding] = []
    record = predict_slide(batch.jobs[0], batch, predictor_maker(batch.bundle, batch.options), told.append)
    assert record["status"] == "written"
    what = "a.h5ad is not what a.bleep.json says was written"
    assert (told[0].code, told[0].what) == ("results-replaced", what)
    assert why(resumed()) == "kept"


def test_it_holds_no_names_where_results_do_not(small_bundle: Path, query_slide: Path, tmp_path: Path) -> None:
    from bleep_cli.batch.anonymous import without_names
    from bleep_cli.batch.entries import Entry

    slide = Path(shutil.copy(query_slide, tmp_path / "Mustermann-Erika.tif"))
    mask = tmp_path / "erikas-outline.geojson"
    mask.write_text('{"type": "Polygon", "coordinates": [[[0, 0], [900, 0], [900, 900], [0, 900]]]}')
    entries, _ = without_names([Entry(slide, options={"mask": mask})], {})
    for resume in (False, True):
        batch = prepare_batch(
            entries, small_bundle, tmp_path / "out", formats=["h5ad"], options=CPU, anonymise=True, resume=resume
        )
        if resume:
            assert why(batch) == "kept"
        else:
            assert predict_batch(batch, Console(quiet=True)) == 0
    (place,) = (tmp_path / "out").glob("*.bleep.json")
    assert "erika" not in f"{place.name}{place.read_text()}".lower()
