"""The command line as a person meets it: a process of its own, its output, its exit code."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
import tifffile
from PIL import Image

from bleep_cli.base.assets import DEMO_BUNDLE, DEMO_SLIDE, asset
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import open_bundle

REF = str(asset(DEMO_BUNDLE))


def bleep(*arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bleep_cli.cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | env,
        timeout=300,
        check=False,
    )


def refused(result: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line that says all the words, the right exit code, no traceback, nothing on stdout."""
    assert result.returncode == code, result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for word in words:
        assert word in result.stderr
    assert not result.stdout


@pytest.fixture(scope="module")
def crop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A non-square piece of the demo slide that states its µm/px."""
    path = tmp_path_factory.mktemp("slides") / "crop.tif"
    pixels = tifffile.imread(asset(DEMO_SLIDE), key=0)[800:1700, 600:2000]
    resolution = (20_000, 20_000)  # px per cm: 0.5 µm/px
    tifffile.imwrite(path, pixels, tile=(256, 256), resolution=resolution, resolutionunit="CENTIMETER")
    return path


@pytest.fixture(scope="module")
def predicted(crop: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("out")
    result = bleep("predict", crop, "--ref", REF, "-o", out, "--format", "h5ad,zarr,png", "--gene", "GLUL")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert f"crop.tif: 24 tiles × 327 genes → {out}" in result.stdout
    return out


@pytest.mark.slow
def test_predict_writes_what_the_readme_says(predicted: Path) -> None:
    written = ["crop.bleep.json", "crop.bleep.png", "crop.h5ad", "crop.zarr"]
    assert sorted(p.name for p in predicted.iterdir()) == written
    adata = anndata.read_h5ad(predicted / "crop.h5ad")
    assert adata.shape == (24, 327)
    assert adata.X.dtype == np.float32
    assert adata.var_names.is_unique
    centres = adata.obsm["spatial"]
    assert (centres.max(axis=0) < (1400, 900)).all()  # (x, y) of a picture wider than high
    assert centres[:, 0].max() > 900
    assert adata.uns["bleep"]["slide"]["mpp"] == pytest.approx(0.5)
    assert "log1p" in adata.uns["bleep"]["expression_units"]
    np.testing.assert_array_equal(anndata.read_zarr(predicted / "crop.zarr").X, adata.X)
    with Image.open(predicted / "crop.bleep.png") as picture:
        assert picture.size[0] > 1000


@pytest.mark.slow
def test_neighbours_in_the_file_reproduce_the_expression(predicted: Path) -> None:
    from bleep_cli.bundle.open import open_bundle

    adata = anndata.read_h5ad(predicted / "crop.h5ad")
    reference = open_bundle(Path(REF)).expression(None, 1 << 30)
    again = reference[adata.obsm["neighbours"]].mean(axis=1)
    np.testing.assert_allclose(adata.X, again, atol=1e-5)


@pytest.mark.slow
def test_the_same_input_gives_the_same_file(crop: Path, predicted: Path, tmp_path: Path) -> None:
    assert bleep("predict", crop, "--ref", REF, "-o", tmp_path, "--gene", "GLUL").returncode == 0
    for name in ("crop.h5ad", "crop.bleep.png"):
        assert (tmp_path / name).read_bytes() == (predicted / name).read_bytes()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # squidpy's own imports warn of much
def test_the_result_plots_in_squidpy_and_passes_spatialdata(predicted: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    sq = pytest.importorskip("squidpy", reason="needs squidpy, of the extra dev")
    models = pytest.importorskip("spatialdata.models", reason="needs spatialdata, of the extra dev")
    adata = anndata.read_h5ad(predicted / "crop.h5ad")
    models.TableModel().validate(adata)
    axes = sq.pl.spatial_scatter(adata, color="CYP3A4", return_ax=True)
    x, y = axes.get_xlim(), axes.get_ylim()
    assert abs(x[1] - x[0]) > abs(y[1] - y[0])


@pytest.mark.slow
def test_nothing_is_overwritten_without_force(crop: Path, predicted: Path) -> None:
    before = (predicted / "crop.h5ad").stat().st_mtime_ns
    refused(bleep("predict", crop, "--ref", REF, "-o", predicted), 6, "crop.h5ad", "--force")
    assert (predicted / "crop.h5ad").stat().st_mtime_ns == before


@pytest.mark.slow
def test_genes_k_and_json(crop: Path, tmp_path: Path) -> None:
    arguments = ("--genes", "CYP3A4,GLUL", "-k", "7", "--format", "h5ad")
    result = bleep("--json", "predict", crop, "--ref", REF, "-o", tmp_path, *arguments)
    record = json.loads(result.stdout)
    assert (record["tiles"], record["genes"], record["k"]) == (24, 2, 7)
    adata = anndata.read_h5ad(tmp_path / "crop.h5ad")
    assert list(adata.var_names) == ["CYP3A4", "GLUL"]
    assert adata.obsm["neighbours"].shape == (24, 7)


@pytest.mark.slow
def test_at_positions_keeps_ids_and_order(crop: Path, tmp_path: Path) -> None:
    table = tmp_path / "places.csv"
    table.write_text("id,x,y\nb,700.5,300\na,200,450\n")
    result = bleep("predict", crop, "--ref", REF, "-o", tmp_path, "--at", table, "--format", "h5ad")
    assert result.returncode == 0, result.stderr
    adata = anndata.read_h5ad(tmp_path / "crop.h5ad")
    assert list(adata.obs_names) == ["b", "a"]
    np.testing.assert_allclose(adata.obsm["spatial"], [[700.5, 300], [200, 450]])


@pytest.mark.slow
def test_mask_limits_the_tiles(crop: Path, tmp_path: Path) -> None:
    ring = [[0, 0], [700, 0], [700, 900], [0, 900], [0, 0]]
    mask = tmp_path / "left.geojson"
    mask.write_text(json.dumps({"type": "Polygon", "coordinates": [ring]}))
    result = bleep("predict", crop, "--ref", REF, "-o", tmp_path, "--mask", mask, "--format", "h5ad")
    assert result.returncode == 0, result.stderr
    x = anndata.read_h5ad(tmp_path / "crop.h5ad").obsm["spatial"][:, 0]
    assert x.max() < 700 + 112
    assert len(x) < 24


@pytest.mark.slow
def test_dry_run_writes_nothing(crop: Path, tmp_path: Path) -> None:
    result = bleep("predict", crop, "--ref", REF, "-o", tmp_path, "--dry-run")
    assert result.returncode == 0, result.stderr
    assert re.search(r"crop\.tif: 24 tiles × 327 genes .* about \d+ s, \d+ MB of memory", result.stdout)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_one_bad_slide_does_not_cost_the_others(crop: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.tif"
    bad.write_bytes(b"II*\0nonsense")
    out = tmp_path / "out"
    result = bleep("predict", bad, crop, "--ref", REF, "-o", out, "--format", "h5ad")
    assert result.returncode == 3
    assert "bad.tif" in result.stderr
    assert sorted(p.name for p in out.iterdir()) == ["crop.bleep.json", "crop.h5ad"]


@pytest.mark.slow
def test_a_slide_without_scale_is_refused_and_mpp_mends_it(crop: Path, tmp_path: Path) -> None:
    png = tmp_path / "plain.png"
    Image.fromarray(tifffile.imread(crop)).save(png)
    refused(bleep("predict", png, "--ref", REF, "-o", tmp_path), 3, "plain.png", "--mpp")
    result = bleep("predict", png, "--ref", REF, "-o", tmp_path, "--mpp", "0.5", "--format", "h5ad")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--ref", "absent.zarr"), 4, ("absent.zarr", "build-reference")),
        (("--ref", REF, "--genes", "CYP3A44"), 2, ("--genes", "CYP3A4")),
        (("--ref", REF, "--gene", "NOGENE"), 2, ("--gene",)),
        (("--ref", REF, "--format", "xlsx"), 2, ("--format", "h5ad")),
        (("--ref", REF, "-k", "0"), 2, ("-k",)),
        (("--ref", REF, "--views", "3"), 2, ("--views",)),
        (("--ref", REF, "--stride-um", "-5"), 2, ("--stride-um",)),
        (("--ref", REF, "--mpp", "300"), 2, ("mpp",)),
        (("--ref", REF, "--mask", "absent.png"), 2, ("--mask",)),
        (("--ref", REF, "--at", "absent.csv"), 2, ("absent.csv",)),
        (("--ref", REF, "--min-tissue", "2"), 2, ("--min-tissue",)),
    ],
)
def test_mistakes_are_one_line(
    crop: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    refused(bleep("predict", crop, "-o", tmp_path / "out", *arguments, cwd=tmp_path), code, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_cuda_that_is_not_there_is_a_device_error(crop: Path, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA")
    refused(bleep("predict", crop, "--ref", REF, "-o", tmp_path, "--device", "cuda"), 5, "--device cpu")


def test_blank_glass_is_a_slide_error(tmp_path: Path) -> None:
    Image.fromarray(np.full((600, 900, 3), 245, np.uint8)).save(tmp_path / "glass.png")
    result = bleep("predict", tmp_path / "glass.png", "--ref", REF, "-o", tmp_path, "--mpp", "0.5")
    refused(result, 3, "no tissue", "--mask", "--at")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_killed_run_leaves_no_result(tmp_path: Path, number: int, code: int) -> None:
    # a shell's background jobs ignore SIGINT, and so would what they start
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    ready = "import anndata, bleep_cli.batch.run, bleep_cli.outputs.formats; print('ready', flush=True)"
    program = f"{heed}; {ready}; from bleep_cli.cli import main; main()"
    command = [sys.executable, "-c", program, "predict", str(asset(DEMO_SLIDE)), "--ref", REF]
    command += ["-o", str(tmp_path), "--format", "h5ad,zarr", "--views", "8", "--stride-um", "40"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(2.0)  # the whole run takes far longer
    child.send_signal(number)
    _, stderr = child.communicate(timeout=60)
    assert child.returncode == code, stderr
    assert "Traceback" not in stderr
    assert not [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")]


def test_help_version_and_usage_error() -> None:
    assert "predict" in bleep("--help").stdout
    assert re.fullmatch(r"bleep \d+\.\d+\.\d+\n", bleep("--version").stdout)
    wrong = bleep("predict")
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.slow
def test_inspect_verify_and_json() -> None:
    result = bleep("inspect", REF, "--verify", "--json")
    record = json.loads(result.stdout)
    assert result.returncode == 0
    assert record["spots"] == sum(section["n"] for section in record["sections"])
    assert all(check["ok"] for check in record["checks"])
    slide = bleep("inspect", asset(DEMO_SLIDE))
    assert "4800 × 3600 px at 0.5 µm/px = 2.40 × 1.80 mm" in slide.stdout


@pytest.mark.slow
def test_doctor_runs_its_self_test() -> None:
    result = bleep("doctor", "--json")
    record = json.loads(result.stdout)
    assert result.returncode == 0
    assert record["self_test"].startswith("ok")
    assert record["versions"]["zarr"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--encoders", "a", "--base", "b.zarr"), "--encoders DIR or --base BUNDLE, not from both"),
        (("--encoders", "a", "--views", "1"), "--views is for towers that are fitted here"),
        (("--encoders", "a", "--backbone", "b.onnx"), "--backbone is for towers that are fitted here"),
        (("--base", "b.zarr", "--backbone-config", "c.toml"), "--backbone-config is for towers that are fitted"),
        (("--backbone-config", "c.toml"), "--backbone-config says what a --backbone takes; name one"),
        (("--backbone", "absent.onnx:x"), "absent.onnx: no such file"),
        (("--scheduler", "tcp://h:1"), "--scheduler goes with --encoders"),
    ],
)
def test_where_towers_come_from(options: tuple[str, ...], words: str) -> None:
    refused(bleep("build-reference", "cohort.toml", "-o", "new.zarr", *options), 2, words)


@pytest.mark.slow
def test_texts_for_the_attributes_of_a_bundle(
    make_sections: Callable[..., Path], make_encoders: Callable[..., Encoders], tmp_path: Path
) -> None:
    make_encoders().save(tmp_path / "encoders")
    command = ["build-reference", make_sections(("st",)), "--encoders", tmp_path / "encoders"]
    texts = ["--species", "Homo sapiens", "--licence", "CC0", "--citation", "Doe 2020"]
    result = bleep(*command, "-o", tmp_path / "new.zarr", *texts, "--device", "cpu")
    assert result.returncode == 0, result.stderr
    info = open_bundle(tmp_path / "new.zarr").info
    assert (info.species, info.licence, info.citation) == ("Homo sapiens", "CC0", "Doe 2020")
