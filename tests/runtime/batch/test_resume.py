"""``bleep predict --resume``: what is there and belongs is left, what is missing is made, the rest is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bleep_cli.base.hashing import fingerprint
from bleep_cli.batch import resume as results
from bleep_cli.batch.resume import check_belongs, identity, read_identity, written_before
from bleep_cli.bundle.open import Bundle, open_bundle
from bleep_cli.cli import app
from bleep_cli.errors import OutputError, UsageError
from bleep_cli.outputs.formats import FORMATS, RESULTS
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.prediction.plan import plan
from bleep_cli.prediction.predictor import Predictor
from bleep_cli.prediction.provenance import Identity

Bleep = Callable[..., dict[str, str]]
CPU = PredictOptions(device="cpu")


@pytest.fixture(scope="module")
def bundle(small_bundle: Path) -> Bundle:
    return open_bundle(small_bundle)


@pytest.fixture
def bleep(capsys: pytest.CaptureFixture[str], query_slide: Path, small_bundle: Path, tmp_path: Path) -> Bleep:
    """``bleep predict`` of the first of three slides into ``out``, h5ad and png: status by slide."""
    slides = [Path(shutil.copy(query_slide, tmp_path / f"s{i}.tif")) for i in range(3)]

    def call(*more: str | Path, first: int = 3) -> dict[str, str]:
        command = (
            "--json",
            "predict",
            *slides[:first],
            "--ref",
            small_bundle,
            "--device",
            "cpu",
            "-o",
            tmp_path / "out",
        )
        code = app([str(word) for word in (*command, "--format", "h5ad,png", *more)], standalone_mode=False)
        assert not code
        told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return {slide["slide"]: slide["status"] for slide in told}

    return call


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.slow
def test_what_is_there_stays_and_what_is_missing_is_made(bleep: Bleep, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done, made = "complete already", "written"
    assert bleep("--resume") == {"s0.tif": made, "s1.tif": made, "s2.tif": made}
    first, tables = stamps(out), {path.name: path.read_bytes() for path in out.glob("*.h5ad")}
    assert bleep("--resume") == {"s0.tif": done, "s1.tif": done, "s2.tif": done}
    assert stamps(out) == first
    (out / "s0.bleep.png").unlink()  # as a run leaves it that was killed between the two
    (out / "s2.h5ad").unlink()
    (out / "s2.bleep.png").unlink()
    assert bleep("--resume") == {"s0.tif": made, "s1.tif": done, "s2.tif": made}
    after = stamps(out)
    assert {name for name in after if after[name] == first[name]} == {"s1.h5ad", "s1.bleep.png", "s1.bleep.json"}
    assert {path.name: path.read_bytes() for path in out.glob("*.h5ad")} == tables


@pytest.mark.slow
def test_nothing_is_done_where_one_result_does_not_belong(bleep: Bleep, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bleep()
    (out / "s2.h5ad").unlink()
    (out / "s2.bleep.png").unlink()
    before = stamps(out)
    with pytest.raises(OutputError, match=r"^s0\.h5ad exists already, and 3 more; resume leaves .*, force "):
        bleep()
    with pytest.raises(OutputError, match=r"^s0\.h5ad exists already, from other options \(genes, k\); force"):
        bleep("--resume", "-k", "7", "--genes", "GENE1")
    assert stamps(out) == before
    shutil.copy(out / "s0.h5ad", tmp_path / "kept.h5ad")
    assert set(bleep("--resume", "--force", "-k", "7").values()) == {"written"}
    assert (out / "s0.h5ad").read_bytes() != (tmp_path / "kept.h5ad").read_bytes()
    (out / "s1.h5ad").unlink()
    with pytest.raises(OutputError, match=r"^s1\.bleep\.png exists without its table; force replaces it$"):
        bleep("--resume", "-k", "7")


@pytest.mark.slow
def test_another_slide_of_the_same_name_is_refused(
    bleep: Bleep, query_slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bleep()
    changed = bytearray(query_slide.read_bytes())
    changed[-1] ^= 1
    (tmp_path / "s0.tif").write_bytes(changed)
    before = stamps(tmp_path / "out")
    with pytest.raises(AssertionError):  # the command's exit code, since the other slides are well
        bleep("--resume")
    told = capsys.readouterr().err
    assert told.startswith("bleep: 1/3 s0.h5ad exists already, from another slide; --force replaces it\n")
    assert "3 slides: 2 complete already, 1 failed" in told
    assert stamps(tmp_path / "out") == before


def test_pictures_alone_cannot_be_resumed(bleep: Bleep) -> None:
    for formats in ("png", "html", "html,png"):
        with pytest.raises(UsageError, match=r"^resume needs a table"):
            bleep("--resume", "--format", formats)


@pytest.mark.slow
def test_an_outline_counts_by_its_content(bleep: Bleep, tmp_path: Path) -> None:
    """The same mask under the same name is the same option; another one is not; nor is none at all."""
    mask = tmp_path / "outline.png"
    with pytest.raises(UsageError, match=r"^mask: no file outline\.png"):
        bleep("--resume", "--mask", str(mask), first=1)
    Image.fromarray(np.full((40, 60), 255, np.uint8)).save(mask)
    bleep("--mask", str(mask), first=1)
    before = stamps(tmp_path / "out")
    bleep("--resume", "--mask", str(mask), first=1)
    assert stamps(tmp_path / "out") == before
    half = np.zeros((40, 60), np.uint8)
    half[:20] = 255
    Image.fromarray(half).save(mask)
    for changed in (["--mask", str(mask)], []):
        with pytest.raises(OutputError, match=r"from other options \(mask\); force replaces it"):
            bleep("--resume", *changed, first=1)
    assert stamps(tmp_path / "out") == before


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(RESULTS))
@pytest.mark.parametrize(
    "options",
    [
        CPU,
        replace(CPU, k=252, key="image", views=1, mpp=4.0, stride_um=120.0, precision="fp32"),
        replace(CPU, k=7, aggregation="simple", genes=("GENE3", "GENE1"), min_tissue=0.25),
        replace(CPU, aggregation="weighted", temperature=0.1, views=8, key="expression"),
    ],
)
def test_a_table_says_of_itself_what_is_asked_of_it(
    bundle: Bundle, query_slide: Path, tmp_path: Path, kind: str, options: PredictOptions
) -> None:
    """Whatever the options: the identity foreseen is the one written (but for what is left to the device)."""
    ready = plan(query_slide, bundle.info, options)
    path = tmp_path / f"a.{kind}"
    FORMATS[kind].write(Predictor(bundle, options).predict_plan(ready), path)
    wanted = replace(identity(bundle, options), slide=ready.slide.sha256, mpp=4.0)
    ready.slide.close()
    check_belongs({kind: path}, wanted)
    found = read_identity(path, kind)
    if options.precision == "auto":
        assert found.options["precision"] == "fp32"
        assert wanted.options["precision"] == "auto"
        wanted = replace(wanted, options=wanted.options | {"precision": found.options["precision"]})
    assert found == wanted


def refusal(path: Path, wanted: Identity) -> str:
    with pytest.raises(OutputError) as caught:
        written_before({"h5ad": path}, wanted)
    assert written_before({"h5ad": path}, wanted, force=True) == caught.value.text
    return str(caught.value)


def test_every_part_of_the_identity_counts(
    bundle: Bundle, query_slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready = plan(query_slide, bundle.info, CPU)
    path = tmp_path / "a.h5ad"
    FORMATS["h5ad"].write(Predictor(bundle, CPU).predict_plan(ready), path)
    wanted = replace(identity(bundle, CPU), slide=ready.slide.sha256)
    ready.slide.close()
    check_belongs({"h5ad": path}, identity(bundle, replace(CPU, device="cuda")))
    assert "from another reference;" in refusal(path, replace(wanted, reference="0"))
    assert "from another slide;" in refusal(path, replace(wanted, slide="0"))
    assert "from other options (precision);" in refusal(path, identity(bundle, replace(CPU, precision="int8")))
    monkeypatch.setattr(results, "__version__", "99.0")
    assert "from another bleep-cli and other options (views);" in refusal(
        path, identity(bundle, replace(CPU, views=1))
    )


@pytest.mark.parametrize("kind", list(RESULTS))
def test_a_file_of_somebody_else_is_refused(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    path.write_bytes(b"somebody's thesis")
    with pytest.raises(
        OutputError, match=rf"^a\.{kind} exists already and is no result of bleep; force replaces it$"
    ):
        written_before({kind: path}, identity(bundle, CPU))


def test_fingerprints_tell_files_folders_and_names_apart(tmp_path: Path) -> None:
    (tmp_path / "a" / "c").mkdir(parents=True)
    (tmp_path / "a" / "c" / "0").write_bytes(b"12345")
    (tmp_path / "a" / "zarr.json").write_bytes(b"{}")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first = fingerprint(tmp_path / "a")
    assert first["bytes"] == 7
    assert fingerprint(tmp_path / "b") == first
    (tmp_path / "b" / "c" / "0").rename(tmp_path / "b" / "c" / "1")
    assert fingerprint(tmp_path / "b") != first
    assert fingerprint(tmp_path / "a" / "zarr.json") == {
        "bytes": 2,
        "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }
