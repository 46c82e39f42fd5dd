"""Every output of every command walked for names: none of an anonymous slide, and never a folder, a user, the text
of a label."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata
import pytest
import tifffile
import typer.main
from named_world import ALWAYS, MASK, OF_FILES, SLIDE, bleep, contents, environment, found, make_world
from typer.testing import CliRunner

from bleep_cli.base.hashing import file_sha256
from bleep_cli.base.hidden import Hidden
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.cli import app
from bleep_cli.commands.console import Console
from bleep_cli.errors import SlideError
from bleep_cli.outputs.anonymous import names_of
from bleep_cli.viewer import server
from bleep_cli.viewer.pyramid import Pyramid

FEW = "h5ad,csv,html"
FORMATS = "h5ad,zarr,png,geojson,csv,parquet,ometiff,spatialdata,html"
PATIENTS = 4


@dataclass(frozen=True)
class World:
    """The folder of a patient, where everything lies, and a folder elsewhere that is written to."""

    folder: Path
    out: Path

    def of(self, name: str) -> Path:
        return self.folder / name

    @property
    def slide(self) -> Path:
        return self.of(SLIDE)

    @property
    def result(self) -> Path:
        return self.of(f"results/{Path(SLIDE).stem}.h5ad")

    @property
    def tile(self) -> str:
        return str(anndata.read_h5ad(self.result).obs_names[0])

    @property
    def ref(self) -> tuple[str, Path]:
        return "--ref", self.of("small.zarr")

    @property
    def groups(self) -> tuple[object, ...]:
        results = [self.of(f"results/Meierova-{i}.h5ad") for i in range(PATIENTS)]
        return (*results, "--groups", self.of("Zdenkas-groups.csv"))


Words = Callable[[World], Sequence[object]]
OF_SLIDES: Mapping[str, Words] = {
    "predict": lambda w: (w.slide, "--mask", w.of(MASK), *w.ref, "--format", FORMATS, "-o", w.out),
    "convert": lambda w: (w.result, "--format", FORMATS, "-o", w.out),
    "report": lambda w: (w.result, "-o", w.out / "page.html"),
    "plot": lambda w: (w.result, "--genes", "GENE1", "-o", w.out / "figure.svg"),
    "inspect": lambda w: (w.slide,),
    "qc": lambda w: (w.slide, *w.ref, "--mask", w.of(MASK), "-o", w.out / "qc.png"),
    "explain": lambda w: (w.result, *w.ref, "--gene", "GENE1", "--tile", w.tile),
    "cohort": lambda w: (*w.groups, "-o", w.out),
}
"""What a command that tells of slides is given."""
VIEW = "view"
"""Is of slides, too, and answers until Ctrl-C: it has a test of its own."""
OF_NO_SLIDE: Mapping[str, Words] = {
    "build-reference": lambda w: (w.of("a/cohort.toml"), "--encoders", w.of("encoders"), "-o", w.out / "b.zarr"),
    "reference add": lambda w: (w.of("small.zarr"), w.of("a/cohort.toml"), "-o", w.out / "b.zarr"),
    "reference remove": lambda w: (w.of("small.zarr"), "--section", "S0", "-o", w.out / "b.zarr"),
    "reference subset": lambda w: (w.of("small.zarr"), "--donors", "DS0,DS1", "-o", w.out / "b.zarr"),
    "reference merge": lambda w: (w.of("one.zarr"), w.of("less.zarr"), "-o", w.out / "b.zarr"),
    "reference sign": lambda w: (w.of("small.zarr"), "--key", w.of("key")),
    "doctor": lambda w: (),
    "demo": lambda w: ("-o", w.out),
}
"""The others, of references and of the program itself."""


@pytest.fixture(scope="module")
def made(
    small_bundle: Path,
    query_slide: Path,
    write_cohort: Callable[..., Path],
    make_encoders: Callable[..., Encoders],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder, with results of its slides and what references are made of; not to be changed."""
    folder = make_world(tmp_path_factory.mktemp("world"), query_slide)
    shutil.copytree(small_bundle, folder / "small.zarr")
    run("predict", folder / SLIDE, "--ref", small_bundle, "--format", "h5ad", "-o", folder / "results")
    patients = [f"Meierova-{i}" for i in range(PATIENTS)]
    for patient in patients:
        shutil.copy(folder / SLIDE, folder / f"{patient}.tif")
    slides = [folder / f"{patient}.tif" for patient in patients]
    run("predict", *slides, "--ref", small_bundle, "--format", "h5ad", "-o", folder / "results")
    rows = [f"{patient}.tif,Zdenka {i},{'ab'[i % 2]}\n" for i, patient in enumerate(patients)]
    (folder / "Zdenkas-groups.csv").write_text("slide,patient,group\n" + "".join(rows))
    write_cohort(folder / "a", ("tiff",), first_seed=5)
    make_encoders(k=20).save(folder / "encoders")
    run("reference", "remove", small_bundle, "--section", "S1,S2", "-o", folder / "one.zarr")
    run("reference", "remove", small_bundle, "--section", "S0", "-o", folder / "less.zarr")
    return folder


@pytest.fixture
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    for name, value in environment(tmp_path).items():
        monkeypatch.setenv(name, value)
    return World(made, tmp_path / "out")


def run(*words: object) -> bytes:
    """What a command says, in this process; it has to end well."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output.encode()


def commands(of: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command of the program, by its words."""
    for word, inner in getattr(of, "commands", {}).items():
        yield from commands(inner, f"{name} {word}".strip())
    if not hasattr(of, "commands"):
        yield name, of


def test_every_command_is_walked_and_those_of_slides_can_be_anonymous() -> None:
    every = dict(commands(typer.main.get_command(app)))
    assert every.keys() == OF_SLIDES.keys() | {VIEW} | OF_NO_SLIDE.keys()
    parameters = {name: {str(p.name) for p in command.params} for name, command in every.items()}
    of_slides = {name for name, has in parameters.items() if has & {"slide", "slides", "result", "results"}}
    assert of_slides | {"inspect"} == OF_SLIDES.keys() | {VIEW}
    assert {name for name, has in parameters.items() if "anonymise" in has} == OF_SLIDES.keys() | {VIEW}


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_SLIDES)
def test_no_output_of_a_command_names_a_slide_that_is_anonymous(name: str, world: World, tmp_path: Path) -> None:
    words = OF_SLIDES[name]
    plain = [("told", run(name, *words(world))), *contents(world.out)]
    assert found(ALWAYS, *plain) == []
    assert found(OF_FILES, *plain)  # the walk sees what there is to see
    hidden = [("told", bleep(name, *words(replace(world, out=tmp_path / "hidden")), "--anonymise", home=tmp_path))]
    as_json = replace(world, out=tmp_path / "json")
    hidden += [("JSON", run("--json", name, *words(as_json), "--anonymise"))]
    written = [*contents(tmp_path / "hidden"), *contents(as_json.out)]
    assert found(ALWAYS | OF_FILES, *hidden, *written) == []
    called = f"slide-{file_sha256(world.slide)[:12]}".encode()
    assert any(called in data for _, data in (*hidden, *written))


@pytest.mark.slow
@pytest.mark.parametrize("name", OF_NO_SLIDE)
def test_no_output_of_another_command_names_a_folder_or_a_user(name: str, world: World) -> None:
    if name == "reference sign":
        if shutil.which("ssh-keygen") is None:
            pytest.skip("ssh-keygen is not installed")
        key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "nobody", "-f", str(world.of("key"))]
        subprocess.run(key, check=True)
    told = run(*name.split(), *OF_NO_SLIDE[name](world))
    signature = [("signature", path.read_bytes()) for path in world.folder.glob("*.sig")]
    assert found(ALWAYS, ("told", told), *contents(world.out), *signature) == []
    assert told


@pytest.mark.slow
def test_tables_of_slides_and_what_is_there_already_name_nobody_either(world: World, tmp_path: Path) -> None:
    name = f"slide-{file_sha256(world.slide)[:12]}"
    one, out = (
        (world.slide, "--mask", world.of(MASK), *world.ref, "--anonymise", "--format", FEW),
        tmp_path / "out",
    )
    table = ("--slides", world.of("Zdenkas.csv"), *world.ref, "--format", FEW, "--anonymise")
    first = run("predict", *one, "-o", out)
    hidden = [
        ("one", first),
        ("resumed", run("predict", *one, "--resume", "--json", "-o", out)),
        ("dry", run("predict", *one, "--dry-run", "--force", "-o", out)),
        ("table", run("predict", *table, "-o", tmp_path / "table")),
    ]
    written = [*contents(out), *contents(tmp_path / "table")]
    assert found(ALWAYS | OF_FILES, *hidden, *written) == []
    assert f"{name}.h5ad" in dict(hidden)["one"].decode() and b"complete already" in dict(hidden)["resumed"]
    for folder in (out, tmp_path / "table"):
        assert {f"{name}.h5ad", f"{name}.bleep.csv", f"{name}.html"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("anonymise", [False, True])
def test_the_page_of_view_and_all_that_it_asks_for(
    world: World, anonymise: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(server.FILES, "openseadragon.min.js", server.FILES["colours.js"])
    monkeypatch.setattr(server.Server, "serve", lambda its: crawl(its, world.out))
    words = (VIEW, world.result, "--slide", world.slide, *world.ref, "--no-browser")
    told = ("told", run(*words, *["--anonymise"] * anonymise))
    walked = [told, *contents(world.out)]
    assert len(walked) > 20 and (world.out / "receipt-0-0").is_file()
    assert found(ALWAYS | (OF_FILES if anonymise else {}), *walked) == []
    assert bool(found(OF_FILES, *walked)) != anonymise
    assert "Meierova" not in (world.out / "piece-broken").read_text() or not anonymise
    assert "cannot be read" in (world.out / "piece-broken").read_text()


def crawl(its: server.Server, out: Path) -> None:
    """Asks for everything that the page can ask for, and for a piece that cannot be decoded."""
    thread = threading.Thread(target=its._http.serve_forever)
    thread.start()
    try:
        names = [*server.FILES, "slide.json", "places", "gene/0", "tile/0", "receipt/0/0"]
        names += [f"piece/{level}/0_0.jpeg" for level in range(12)]
        out.mkdir()
        for name in names:
            (out / (name.replace("/", "-") or "index")).write_bytes(answer(its.address + name))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Pyramid, "jpeg", fail)
            (out / "piece-broken").write_bytes(answer(f"{its.address}piece/9/0_0.jpeg"))
    finally:
        its.stop()
        thread.join()


def fail(*_: object) -> bytes:
    raise SlideError(f"{SLIDE}: cannot be read")


def answer(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=30) as page:
            return bytes(page.read())
    except urllib.error.HTTPError as error:
        return error.read()


ERRORS: Mapping[str, tuple[int, Words]] = {
    "predict": (3, lambda w: (w.of("Meierova_broken.tif"), *w.ref, "-o", w.out)),
    "inspect": (3, lambda w: (w.of("Meierova_broken.tif"),)),
    "qc": (3, lambda w: (w.of("Meierova_broken.tif"), *w.ref)),
    "convert": (6, lambda w: (w.of("Meierova_broken.h5ad"), "--format", "csv", "-o", w.out)),
    "explain": (2, lambda w: (w.result, *w.ref, "--gene", "GENE1", "--tile", "Meierova_9x9")),
    "view": (3, lambda w: (w.result, "--slide", w.of("Meierova_broken.tif"), "--no-browser")),
    "cohort": (2, lambda w: (*w.groups[:-1], w.of("Zdenkas-twice.csv"), "-o", w.out)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ERRORS)
def test_no_error_names_it_either(name: str, world: World, tmp_path: Path) -> None:
    world.of("Meierova_broken.tif").write_bytes(b"II*\0" + bytes(40))
    world.of("Meierova_broken.h5ad").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(400))
    row = "Meierova-0.tif,Zdenka 0,a\n"
    world.of("Zdenkas-twice.csv").write_text(f"slide,patient,group\n{row}{row.replace('Zdenka', 'Zdenka-B')}")
    code, words = ERRORS[name]
    command = [sys.executable, "-m", "bleep_cli.cli", name, *map(str, words(world)), "--anonymise", "--json"]
    done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert found(ALWAYS | OF_FILES, ("stderr", done.stderr), ("stdout", done.stdout)) == []
    assert done.stderr.startswith(b"bleep: ") and b"this is a bug" not in done.stderr


def test_names_of_pictures_inside_a_file_are_not_told(world: World, tmp_path: Path) -> None:
    path, picture = tmp_path / "Meierova.ome.tif", tifffile.imread(world.slide)
    tissue = {"photometric": "rgb", "resolution": (2500, 2500), "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path, ome=True) as file:
        for name, pixels in (("Meierova scan", picture), ("Zdenka again", picture[::2])):
            file.write(pixels, metadata={"Name": name, "axes": "YXS"}, **tissue)
        file.write(picture[:40, :60], metadata={"Name": "label Umriss", "axes": "YXS"}, **tissue)
    told = [("lines", run("inspect", path)), ("JSON", run("--json", "inspect", path))]
    assert len(found(OF_FILES, *told)) == 6
    hidden = [
        ("lines", run("inspect", path, "--anonymise")),
        ("JSON", run("--json", "inspect", path, "--anonymise")),
    ]
    assert found(OF_FILES, *hidden) == []
    assert b"a picture (60 \xc3\x97 40 px)" in hidden[0][1] and b"scene-" in hidden[0][1]


def test_a_folder_of_files_is_called_by_any_of_them(tmp_path: Path) -> None:
    (tmp_path / "Meier").mkdir()
    (tmp_path / "Meier" / "Zdenka.1.dcm").touch()
    assert {"Meier", "Zdenka.1.dcm", "Zdenka.1"} <= set(names_of(tmp_path / "Meier"))
    (tmp_path / "b.zarr").mkdir()
    (tmp_path / "b.zarr" / "zarr.json").touch()
    assert "zarr.json" not in set(names_of(tmp_path / "b.zarr"))


def test_an_anonymous_bundle_is_not_asked_for(world: World) -> None:
    done = CliRunner().invoke(app, ["inspect", str(world.of("small.zarr")), "--anonymise"])
    assert str(done.exception) == "anonymise is for a slide; small.zarr is taken for a bundle"


def test_names_are_replaced_as_whole_words() -> None:
    hidden = Hidden({"Meier.svs": "slide-1", "Meier": "slide-1", "7": "slide-7", "a.b": "x"})
    assert hidden.text("Meier.svs: 7 tiles of Meier_3x4, Meierhof") == "slide-1: 7 tiles of slide-1_3x4, Meierhof"
    assert hidden.value({"slide": "7", "n": 7, "in": ["Meier", {"Meier": None}]}) == {
        "slide": "slide-7",
        "n": 7,
        "in": ["slide-1", {"Meier": None}],
    }


def test_a_console_tells_no_hidden_name(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console()
    console.hide({"Meier.svs": "slide-1"})
    console.say("Meier.svs: read")
    console.each({"slide": "Meier.svs"}, "Meier.svs → x")
    console.heed(as_json=True)
    console.data({"slide": "Meier.svs"}, [])
    assert "Meier" not in "".join(capsys.readouterr())
