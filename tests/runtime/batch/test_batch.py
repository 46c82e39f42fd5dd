"""Several slides in one call: what is checked first, what is told as each ends, what is of one slide only."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
from PIL import Image

from bleep_cli.batch.entries import Entry
from bleep_cli.batch.prepare import prepare_batch
from bleep_cli.batch.run import predict_batch
from bleep_cli.batch.tell import Record
from bleep_cli.bundle.open import open_bundle
from bleep_cli.cli import app
from bleep_cli.errors import BleepError, OutputError, ReferenceError, SlideError, UsageError
from bleep_cli.findings import Finding
from bleep_cli.outputs.picture import picture_gene
from bleep_cli.prediction.options import PredictOptions

CPU = PredictOptions(device="cpu")
MPP = 4.0  # µm per pixel of the made-up slide
Told = tuple[int, list[dict[str, Any]], str]
Bleep = Callable[..., Told]


@pytest.fixture
def bleep(capsys: pytest.CaptureFixture[str], small_bundle: Path, tmp_path: Path) -> Bleep:
    """``bleep --json predict ... -o out``, h5ad unless told otherwise: exit code, records, stderr."""

    def call(*words: str | Path) -> Told:
        command = ("--json", "predict", "--ref", small_bundle, "--device", "cpu", "-o", tmp_path / "out")
        code = app([*map(str, (*command, "--format", "h5ad", *words))], standalone_mode=False)
        told = capsys.readouterr()
        return int(code or 0), [json.loads(line) for line in told.out.splitlines()], told.err

    return call


def pictures(slide: Path, folder: Path, *names: str) -> list[Path]:
    """The slide as pictures, which state no pixel size."""
    folder.mkdir(exist_ok=True)
    for name in names:
        with Image.open(slide) as image:
            image.convert("RGB").save(folder / name)
    return [folder / name for name in names]


def copies(slide: Path, folder: Path, *names: str) -> list[Path]:
    folder.mkdir(exist_ok=True)
    return [Path(shutil.copy(slide, folder / name)) for name in names]


# --- a table


@pytest.mark.slow
def test_a_table_names_results_and_sets_what_is_of_one_slide(
    bleep: Bleep, query_slide: Path, tmp_path: Path
) -> None:
    """Two slides of one name, one without a pixel size, one with an outline: each as its row says."""
    copies(query_slide, tmp_path / "A", "scan.tif")
    pictures(query_slide, tmp_path / "B", "scan.png")
    half = np.zeros((40, 60), np.uint8)
    half[:20] = 255
    Image.fromarray(half).save(tmp_path / "A" / "outline.png")
    table = tmp_path / "slides.csv"
    table.write_text("slide;name;mpp;mask\nA/scan.tif;one;;A/outline.png\nB/scan.png;two;4,0;\n")
    code, records, _ = bleep("--slides", table)
    assert code == 0
    assert [(r["slide"], r["name"], r["status"]) for r in records] == [
        ("scan.tif", "one", "written"),
        ("scan.png", "two", "written"),
    ]
    one, two = (anndata.read_h5ad(tmp_path / "out" / f"{name}.h5ad") for name in ("one", "two"))
    assert one.obsm["spatial"][:, 1].max() < 110 < two.obsm["spatial"][:, 1].max()  # of 200 px
    assert set(one.obs["region"]) == {"one"} and one.obs_names[0].startswith("one_")
    assert (one.uns["bleep"]["options"]["mask"]["name"], two.uns["bleep"]["options"]["mpp"]) == ("outline.png", 4)
    assert two.uns["bleep"]["command"] == "bleep predict scan.png --ref small.zarr --device cpu --mpp 4.0"
    assert one.uns["bleep"]["command"].endswith("scan.tif --ref small.zarr --device cpu --mask outline.png")
    code, records, _ = bleep("--slides", table, "--resume")
    assert (code, [r["status"] for r in records]) == (0, ["complete already"] * 2)


def test_everything_is_checked_before_the_first_slide(
    query_slide: Path, small_bundle: Path, tmp_path: Path
) -> None:
    (slide,) = copies(query_slide, tmp_path, "a.tif")
    (tmp_path / "no.geojson").write_text("{")
    (tmp_path / "no.csv").write_text("x\n1\n")
    entries = [
        Entry(slide),
        Entry(tmp_path / "absent.svs", where="t.csv, row 2"),
        Entry(slide, "b", {"mask": tmp_path / "no.geojson"}, "t.csv, row 3"),
        Entry(slide, "c", {"at": tmp_path / "no.csv"}, "t.csv, row 4"),
        Entry(slide, "d", {"mpp": 300.0}, "t.csv, row 5"),
        Entry(slide, "e", {"min_tissue": 2.0}, "t.csv, row 6"),
        Entry(slide, "a", {}, "t.csv, row 7"),
    ]
    with pytest.raises(UsageError) as caught:
        prepare_batch(entries, small_bundle, tmp_path / "out", options=CPU)
    lines = str(caught.value).splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        *(f"t.csv, row {row}" for row in (2, 3, 4, 5, 6)),
        "a.tif and a.tif would both be written as a; "
        "a table of slides (slides) names them apart in its column name",
    ]
    told = ("absent.svs: no such file", "mask: no.geojson is not valid", "no.csv: ", "mpp 300 ", "min_tissue 2.0")
    assert all(word in line for word, line in zip(told, lines, strict=False))
    assert not (tmp_path / "out").exists()


def test_a_name_that_cannot_be_a_file(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^t, row 2: the slide's name 'a/b' cannot name a file"):
        prepare_batch([Entry(query_slide, "a/b", where="t, row 2")], small_bundle, tmp_path, options=CPU)


def test_positions_and_outlines_are_of_one_slide(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    slides = copies(query_slide, tmp_path, "a.tif", "b.tif")
    for name, what in (("at", "the positions"), ("mask", "the outline")):
        options = PredictOptions(**{name: tmp_path / "x"})
        with pytest.raises(UsageError, match=rf"^{name} holds {what} of one slide; .* with a column {name}$"):
            prepare_batch(slides, small_bundle, tmp_path, options=options)


def test_slides_or_a_table(bleep: Bleep, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"^give slides, or a table of them with slides, not both$"):
        bleep(tmp_path / "a.svs", "--slides", tmp_path / "t.csv")
    with pytest.raises(UsageError, match=r"^name slides, a folder of them, or a table with slides$"):
        bleep()


# --- pixel size


@pytest.mark.slow
def test_mpp_of_several_slides_is_for_those_that_state_none(
    bleep: Bleep, query_slide: Path, tmp_path: Path
) -> None:
    copies(query_slide, tmp_path / "f", "states.tif")
    (bare,) = pictures(query_slide, tmp_path / "f", "bare.png")
    code, records, err = bleep(tmp_path / "f" / "states.tif", bare, "--mpp", "2.5")
    assert code == 0
    assert [(r["slide"], r["mpp"]) for r in records] == [("states.tif", MPP), ("bare.png", 2.5)]
    assert [[f["code"] for f in r["findings"]] for r in records] == [["mpp-not-taken"], []]
    assert "warning: states.tif: the TIFF resolution states 4 µm per pixel; --mpp 2.5 of several slides is" in err
    code, records, _ = bleep(tmp_path / "f" / "states.tif", bare, "--mpp", "2.5", "--force", "--strict")
    assert (code, [r["status"] for r in records]) == (3, ["failed", "written"])
    code, records, _ = bleep(bare, "--mpp", "2.5", "--resume")  # alone, it is the same
    assert (code, records[0]["status"]) == (0, "complete already")
    code, records, _ = bleep(tmp_path / "f" / "states.tif", "--mpp", "2.5", "--force")  # of one slide it is meant
    assert (code, records[0]["mpp"]) == (0, 2.5)
    with pytest.raises(OutputError, match=r"^states\.h5ad exists already, from another pixel size \(2\.5 µm\); "):
        bleep(tmp_path / "f" / "states.tif", "--resume")


@pytest.mark.slow
def test_mpp_about_as_stated_is_no_finding(bleep: Bleep, query_slide: Path, tmp_path: Path) -> None:
    slides = copies(query_slide, tmp_path / "f", "a.tif", "b.tif")
    _, records, _ = bleep(*slides, "--mpp", "4.3")
    assert [(r["mpp"], r["findings"]) for r in records] == [(MPP, []), (MPP, [])]


# --- what is told


class Listener:
    """Keeps what a batch tells, in order."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.progress = self

    def __call__(self, what: str) -> Listener:
        self.heard.append(("bar", what))
        return self

    def __enter__(self) -> Callable[[str, int, int], None]:
        return lambda stage, done, total: None

    def __exit__(self, *_: object) -> None:
        self.heard.append(("bar", None))

    def say(self, message: str) -> None:
        self.heard.append(("say", message))

    def finding(self, finding: Finding) -> None:
        self.heard.append(("finding", finding.code))

    def error(self, error: BleepError) -> None:
        self.heard.append(("error", str(error)))

    def worded(self, error: BleepError) -> str:
        return str(error)

    def data(self, record: Any, lines: list[str]) -> None:
        raise AssertionError("a batch tells of each slide as it ends")

    def each(self, record: Record, line: str | None) -> None:
        self.heard.append((record["status"], line))


@pytest.mark.slow
def test_every_slide_is_told_of_as_it_ends(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    slides = copies(query_slide, tmp_path, "a.tif", "bad.tif", "c.tif")
    slides[1].write_bytes(b"II*\0nonsense")
    listener = Listener()
    batch = prepare_batch(slides, small_bundle, tmp_path / "out", formats=["h5ad"], options=CPU)
    assert predict_batch(batch, listener) == 3
    kinds = [kind for kind, _ in listener.heard]
    assert kinds == ["bar", "bar", "written", "bar", "bar", "failed", "error", "bar", "bar", "written", "say"]
    told = [text for _, text in listener.heard]
    assert told[0] == "1/3 a.tif"
    tiles = anndata.read_h5ad(tmp_path / "out" / "a.h5ad", backed="r").shape[0]
    settings = f"K 50, {MPP:g} µm/px (the TIFF resolution), reference small.zarr"
    line = f"{tiles} tiles × 12 genes → {tmp_path / 'out'}"
    assert told[2].startswith(f"1/3 a.tif: {line}/a.h5ad ({settings}); about ")
    assert told[2].endswith(" left")
    assert told[3].startswith("2/3 bad.tif (about ") and told[3].endswith(" left)")
    assert told[6].startswith("2/3 bad.tif: is truncated or its directory is broken")
    assert told[9] == f"3/3 c.tif: {line}/c.h5ad ({settings})"
    assert told[10].startswith(f"3 slides: 2 written, 1 failed; {2 * tiles} tiles in ")


@pytest.mark.slow
def test_one_slide_has_no_place_and_no_summary(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    listener = Listener()
    batch = prepare_batch([query_slide], small_bundle, tmp_path, formats=["h5ad"], options=CPU)
    assert predict_batch(batch, listener) == 0
    assert [kind for kind, _ in listener.heard] == ["bar", "bar", "written"]
    assert listener.heard[0][1] == "query.tif"
    assert listener.heard[2][1].startswith("query.tif: ") and listener.heard[2][1].endswith(")")


def test_the_only_slide_fails_with_a_record(bleep: Bleep, capsys: Any, tmp_path: Path) -> None:
    (tmp_path / "bad.tif").write_bytes(b"II*\0nonsense")
    with pytest.raises(SlideError) as caught:
        bleep(tmp_path / "bad.tif")
    record = json.loads(capsys.readouterr().out)
    assert record == {
        "slide": "bad.tif",
        "name": "bad",
        "status": "failed",
        "error": str(caught.value),
        "exit_code": 3,
    }


@pytest.mark.slow
def test_options_that_do_not_fit_one_slide_cost_no_other(bleep: Bleep, query_slide: Path, tmp_path: Path) -> None:
    """An outline that is sound but holds nothing: that shows only on the slide."""
    copies(query_slide, tmp_path, "a.tif", "b.tif")
    ring = [[0, 0], [0.1, 0], [0.1, 0.1], [0, 0]]
    (tmp_path / "m.geojson").write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    (tmp_path / "t.csv").write_text("slide,mask\na.tif,m.geojson\nb.tif,\n")
    code, records, err = bleep("--slides", tmp_path / "t.csv")
    assert (code, [r["status"] for r in records]) == (3, ["failed", "written"])
    assert err.startswith("bleep: 1/2 a.tif: the mask m.geojson marks less than a pixel of ")


@pytest.mark.slow
def test_what_concerns_the_reference_ends_the_batch(
    bleep: Bleep, query_slide: Path, broken: Path, small_bundle: Path, tmp_path: Path
) -> None:
    slides = copies(query_slide, tmp_path, "a.tif", "b.tif")
    (broken / "encoders" / "image" / "c" / "0").write_bytes(b"damage")
    with pytest.raises(ReferenceError, match=r"^broken\.zarr"):
        bleep(*slides, "--ref", broken)


# --- neighbours, reference, picture


def test_more_neighbours_than_spots_are_refused(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    spots = open_bundle(small_bundle).n_spots
    assert spots == 252
    with pytest.raises(UsageError, match=r"^k 253: small\.zarr holds 252 spots$"):
        prepare_batch([query_slide], small_bundle, tmp_path, options=PredictOptions(k=253))
    assert prepare_batch([query_slide], small_bundle, tmp_path, options=PredictOptions(k=252)).options.k == 252


@pytest.mark.slow
def test_resume_looks_at_the_gene_of_the_picture(bleep: Bleep, query_slide: Path, tmp_path: Path) -> None:
    picture = tmp_path / "out" / "query.bleep.png"
    command = (query_slide, "--format", "h5ad,png")
    _, (record,), _ = bleep(*command, "--gene", "GENE3")
    assert (record["gene"], picture_gene(picture)) == ("GENE3", "GENE3")
    before = picture.stat().st_mtime_ns
    for words in (("--gene", "GENE3"), ()):  # that gene, or any
        _, (record,), _ = bleep(*command, "--resume", *words)
        assert (record["status"], record["gene"]) == ("complete already", "GENE3")
    with pytest.raises(
        OutputError, match=r"^query\.bleep\.png exists already, of GENE3; force replaces it and its"
    ):
        bleep(*command, "--resume", "--gene", "GENE5")
    assert picture.stat().st_mtime_ns == before
    _, (record,), _ = bleep(*command, "--resume", "--force", "--gene", "GENE5")
    assert (record["status"], picture_gene(picture)) == ("written", "GENE5")
    Image.new("RGB", (9, 9)).save(picture)
    with pytest.raises(OutputError, match=r"^query\.bleep\.png exists already, and does not say of which gene; "):
        bleep(*command, "--resume", "--gene", "GENE5")


def test_what_exists_names_both_ways_on(query_slide: Path, small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "query.h5ad").write_bytes(b"x")
    with pytest.raises(OutputError) as caught:
        prepare_batch([query_slide], small_bundle, tmp_path, options=CPU)
    assert str(caught.value) == "query.h5ad exists already; resume leaves what is finished, force replaces it"
    assert caught.value.options == ("resume", "force")


@pytest.mark.slow
def test_a_dry_run_of_a_batch(bleep: Bleep, query_slide: Path, tmp_path: Path) -> None:
    slides = copies(query_slide, tmp_path, "a.tif", "bad.tif")
    slides[1].write_bytes(b"")
    code, (one, two), err = bleep(*slides, "--dry-run")
    assert code == 3
    assert (one["status"], one["genes"], one["views"], one["fields"]) == ("estimated", 12, 8, 1)
    assert one["output_bytes"] == 4 * 12 * one["tiles"]
    assert (two["status"], two["error"]) == ("failed", "bad.tif: is empty")
    assert f"2 slides: 1 estimated, 1 failed; {one['tiles']} tiles in" in err
    assert not (tmp_path / "out").exists()
