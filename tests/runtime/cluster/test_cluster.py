"""Slides and sections on a real Dask scheduler with two worker processes, one of which may be killed."""

from __future__ import annotations

import json
import logging
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import dask
import pytest
from cluster_processes import Cluster, Killer, running

from bleep_cli.base.hashing import fingerprint
from bleep_cli.batch.resume import check_written, identity
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.open import open_bundle
from bleep_cli.cli import app
from bleep_cli.cluster import jobs as cluster_jobs
from bleep_cli.cluster import scheduler as cluster
from bleep_cli.cluster import worker as cluster_worker
from bleep_cli.cluster.scheduler import connected
from bleep_cli.errors import DeviceError, OutputError, ReferenceError, SlideError, UsageError
from bleep_cli.outputs.stored import shape
from bleep_cli.prediction.options import PredictOptions

Bleep = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler and two workers, the second of which claims a GPU; nobody is killed here."""
    with running(tmp_path_factory.mktemp("cluster"), ("", "GPU=1")) as started:
        yield started


@pytest.fixture
def slides(query_slide: Path, tmp_path: Path) -> list[Path]:
    """The same slide under five names."""
    (tmp_path / "slides").mkdir()
    return [Path(shutil.copy(query_slide, tmp_path / "slides" / f"s{i}.tif")) for i in range(5)]


@pytest.fixture
def bleep(capsys: pytest.CaptureFixture[str]) -> Bleep:
    """The command line in this process: its exit code and the JSON it prints; slides end in any order and come by
    name."""

    def call(*arguments: str | Path) -> tuple[int, dict[str, Any]]:
        code = app(["--json", *map(str, arguments)], standalone_mode=False)
        told = capsys.readouterr().out
        if arguments[0] != "predict":
            return int(code or 0), json.loads(told)
        records = sorted((json.loads(line) for line in told.splitlines()), key=lambda record: record["slide"])
        failed = [record for record in records if record["status"] == "failed"]
        slides = [record for record in records if record["status"] != "failed"]
        return int(code or 0), {"slides": slides, "failed": failed}

    return call


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def tables_of(found: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in found.items() if not name.endswith(".png")}


# --- predict


@pytest.mark.slow
def test_results_are_those_of_one_machine_byte_for_byte_and_a_bad_slide_costs_nobody_else(
    two: Cluster, bleep: Bleep, slides: list[Path], corrected_bundle: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "slides" / "bad.tif"
    bad.write_bytes(b"II*\0nonsense")
    given = [slides[0], bad, slides[1]]
    command = ("predict", *given, "--ref", corrected_bundle, "--device", "cpu", "--format", "png,h5ad,zarr")
    local_code, local = bleep(*command, "-o", tmp_path / "here")
    code, record = bleep(*command, "-o", tmp_path / "there", "--scheduler", two.address)
    assert (local_code, code) == (3, 3)
    here, there = content(tmp_path / "here"), content(tmp_path / "there")
    assert here.keys() == there.keys()
    assert tables_of(here) == tables_of(there)
    assert [slide["slide"] for slide in record["slides"]] == ["s0.tif", "s1.tif"]
    assert [failed["slide"] for failed in record["failed"]] == ["bad.tif"]
    assert record["failed"] == local["failed"]
    workers = set()
    for ours, theirs in zip(local["slides"], record["slides"], strict=True):
        assert {key: ours[key] for key in ours.keys() - {"files"}}.items() <= theirs.items()
        assert theirs["attempts"] == [theirs["worker"]]
        workers.add(theirs["worker"])
        for kind, file in zip(("h5ad", "zarr", "png"), theirs["files"], strict=True):
            assert theirs["prints"][kind] == fingerprint(Path(file))
    assert all(worker.startswith("tcp://127.0.0.1:") for worker in workers)


@pytest.mark.slow
def test_gene_sets_travel_and_names_do_not(
    two: Cluster, bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path
) -> None:
    gmt = tmp_path / "Meier.gmt"
    gmt.write_text("ZONE\t\tGENE1\tGENE4\tGENE7\tELSE\n", encoding="utf-8")
    command = ("predict", slides[0], "--ref", small_bundle, "--device", "cpu", "--format", "h5ad,csv,ometiff")
    command += ("--genes", gmt, "--sets", gmt, "--anonymise")
    local, _ = bleep(*command, "-o", tmp_path / "here")
    code, _ = bleep(*command, "-o", tmp_path / "there", "--scheduler", two.address)
    assert (local, code) == (0, 0)
    found = content(tmp_path / "there")
    assert found == content(tmp_path / "here")
    assert b"set_ZONE" in next(data for name, data in found.items() if name.endswith(".csv"))
    assert not [name for name, data in found.items() if b"Meier" in data]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("allowed_failures", [3, 0])
def test_a_worker_killed_in_the_middle_of_a_write(
    bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path, allowed_failures: int
) -> None:
    """All slides come out once, or, where Dask is told to give a task up at once, all but those given up."""
    command = ("predict", *slides, "--ref", small_bundle, "--device", "cpu", "--format", "h5ad")
    with running(tmp_path, allowed_failures=allowed_failures) as started:
        with Killer(tmp_path / "out") as killer:
            code, record = bleep(*command, "-o", tmp_path / "out", "--scheduler", started.address)
        assert started.workers[killer.pid].wait(10) == -signal.SIGKILL
    struck = killer.left.split(".")[1] + ".tif"  # of .s3.h5ad.<pid>-...
    given_up = [failed["slide"] for failed in record["failed"]]
    came_out = [slide["slide"] for slide in record["slides"]]
    assert came_out == [slide.name for slide in slides if slide.name not in given_up]  # each once
    attempts = {slide["slide"]: slide["attempts"] for slide in record["slides"]}
    if allowed_failures:
        assert (code, given_up) == (0, [])
        first, second = attempts.pop(struck)
        assert first != second == record["slides"][came_out.index(struck)]["worker"]
    else:
        assert code == SlideError.exit_code and struck in given_up
        assert all("every worker that took it died" in failed["error"] for failed in record["failed"])
    assert {len(workers) for workers in attempts.values()} == {1}
    bleep(*command, "-o", tmp_path / "here")
    there, here = content(tmp_path / "out"), content(tmp_path / "here")  # temporary names would be in there, too
    left = {name for name in here.keys() - there.keys() if f"{name.split('.')[0]}.tif" in given_up}
    assert there == {name: data for name, data in here.items() if name not in left}


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_run_and_resume_goes_on(
    two: Cluster,
    bleep: Bleep,
    slides: list[Path],
    small_bundle: Path,
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    command = ("predict", *slides, "--ref", small_bundle, "--device", "cpu", "-o", tmp_path / "out")
    said: list[logging.LogRecord] = []
    listener = logging.Handler()
    listener.emit = said.append
    logging.getLogger("distributed.client").addHandler(listener)
    with running(tmp_path, ("",)) as started, monkeypatch.context() as patched:

        def check_and_kill(*arguments: Any) -> None:
            check_written(*arguments)
            started.scheduler.kill()

        patched.setattr(cluster_jobs, "check_written", check_and_kill)
        with (
            dask.config.set({"distributed.comm.timeouts.connect": "500ms"}),
            pytest.raises(DeviceError, match=r"^the scheduler is gone .* resume$"),
        ):
            bleep(*command, "--format", "h5ad", "--scheduler", started.address)
    logging.getLogger("distributed.client").removeHandler(listener)
    assert not said  # it would have printed a traceback
    code, record = bleep(*command, "--format", "h5ad", "--scheduler", two.address, "--resume")
    assert code == 0
    status = {slide["slide"]: slide["status"] for slide in record["slides"]}
    assert status.keys() == {slide.name for slide in slides}
    assert set(status.values()) == {"complete already", "written"}


@pytest.mark.slow
def test_resume_does_what_is_missing_and_refuses_what_is_not_its_own(
    two: Cluster, bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path
) -> None:
    command = ("predict", *slides[:3], "--ref", small_bundle, "--device", "cpu", "-o", tmp_path / "out")
    cluster_options = ("--format", "h5ad", "--scheduler", two.address)
    bleep(*command, *cluster_options)
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "s1.h5ad").unlink()
    code, record = bleep(*command, *cluster_options, "--resume")
    assert code == 0
    told = [(slide["status"], slide["tiles"], slide["genes"]) for slide in record["slides"]]
    size = shape(tmp_path / "out" / "s0.h5ad", "h5ad")
    assert told == [("complete already", *size), ("written", *size), ("complete already", *size)]
    after = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert {name for name in after if after[name] != before[name]} == {"s1.h5ad"}
    with pytest.raises(OutputError, match=r"^s0\.h5ad exists already, and 2 more; resume leaves "):
        bleep(*command, *cluster_options)
    with pytest.raises(OutputError, match=r"^s0\.h5ad exists already, from other options \(k\); force"):
        bleep(*command, *cluster_options, "--resume", "-k", "7")
    assert after == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    code, record = bleep(*command, *cluster_options, "--resume", "-k", "7", "--force")
    assert (code, {slide["status"] for slide in record["slides"]}) == (0, {"written"})


def test_a_single_bad_slide_is_one_error(two: Cluster, bleep: Bleep, small_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.tif").write_bytes(b"II*\0nonsense")
    with pytest.raises(SlideError, match=r"^bad\.tif: "):
        bleep("predict", tmp_path / "bad.tif", "--ref", small_bundle, "-o", tmp_path, "--scheduler", two.address)


def test_storage_that_a_worker_does_not_see_is_told(
    two: Cluster, bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    command = ("predict", *slides[:2], "--ref", small_bundle, "-o", tmp_path / "out", "--format", "h5ad")
    command += ("--scheduler", two.address)
    plain = cluster_jobs._job
    monkeypatch.setattr(cluster_jobs, "_job", lambda *a: plain(*a) | {"slide": str(tmp_path / "unmounted/s0.tif")})
    shared = "s0.tif is not there; slides, bundle and results must lie on storage that every worker sees under"
    with pytest.raises(UsageError, match=rf"^worker tcp://127\.0\.0\.1:\d+: {shared}"):
        bleep(*command)
    monkeypatch.setattr(cluster_jobs, "_job", plain)
    shared_by_all = cluster_jobs._shared
    elsewhere = {"bundle": str(tmp_path / "unmounted" / small_bundle.name)}
    monkeypatch.setattr(cluster_jobs, "_shared", lambda *a: shared_by_all(*a) | elsewhere)
    with pytest.raises(UsageError, match=rf"^worker tcp://127\.0\.0\.1:\d+: {small_bundle.name} is not there; "):
        bleep(*command)
    monkeypatch.setattr(cluster_jobs, "_shared", lambda *a: shared_by_all(*a) | {"content_sha256": "0" * 64})
    with pytest.raises(ReferenceError, match=r"^worker .*: small\.zarr is another bundle there than here"):
        bleep(*command)


@pytest.mark.slow
def test_what_a_worker_wrote_is_compared_with_what_the_client_sees(
    two: Cluster, bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    checked = cluster_jobs.check_written

    def tampered(paths: dict[str, Path], *rest: Any) -> None:
        if paths["h5ad"].name == "s1.h5ad":
            with paths["h5ad"].open("r+b") as file:
                file.seek(-1, 2)
                file.write(b"\xff" if file.read(1) != b"\xff" else b"\0")
        checked(paths, *rest)

    monkeypatch.setattr(cluster_jobs, "check_written", tampered)
    command = ("predict", *slides[:2], "--ref", small_bundle, "-o", tmp_path, "--format", "h5ad")
    code, record = bleep(*command, "--scheduler", two.address)
    assert code == OutputError.exit_code
    assert [slide["slide"] for slide in record["slides"]] == ["s0.tif"]
    told = [(failed["slide"], failed["error"]) for failed in record["failed"]]
    assert told == [("s1.tif", "s1.h5ad is not what its worker wrote")]


def test_a_table_is_opened_and_must_belong(
    slides: list[Path], small_bundle: Path, tmp_path: Path, bleep: Bleep
) -> None:
    bleep("predict", slides[0], "--ref", small_bundle, "--device", "cpu", "-o", tmp_path, "--format", "h5ad")
    paths, bundle = {"h5ad": tmp_path / "s0.h5ad"}, open_bundle(small_bundle)
    prints, size = {"h5ad": fingerprint(paths["h5ad"])}, shape(paths["h5ad"], "h5ad")
    wanted = identity(bundle, PredictOptions(device="cuda"))
    check_written(paths, prints, size, wanted)
    with pytest.raises(OutputError, match="is not what its worker wrote"):
        check_written(paths, prints, (size[0] + 1, size[1]), wanted)
    with pytest.raises(OutputError, match=r"other options \(views\)"):
        check_written(paths, prints, size, identity(bundle, PredictOptions(views=1)))
    paths["h5ad"].write_bytes(b"no HDF5")
    with pytest.raises(OutputError, match=r"^s0\.h5ad cannot be read back \(OSError\)"):
        check_written(paths, {"h5ad": fingerprint(paths["h5ad"])}, size, wanted)


def test_options_come_back_from_plain_values(tmp_path: Path) -> None:
    given = PredictOptions(
        mpp=0.5, genes=("A", "B"), at=tmp_path / "a.csv", mask=tmp_path / "m.png", k=7, key="image"
    )
    given = replace(given, exclude_donor=("P1", "P2"), exclude_section=("S1",), include_own=True)
    plain = cluster_worker.options_to_plain(given)
    assert cluster_worker.options_from_plain(json.loads(json.dumps(plain))) == given
    assert cluster_worker.options_from_plain(cluster_worker.options_to_plain(PredictOptions())) == PredictOptions()
    assert plain.keys() == {field.name for field in fields(PredictOptions)}


# --- what keeps a run from starting


def test_cuda_goes_to_the_worker_with_the_resource(
    two: Cluster, bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path
) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this machine has CUDA")
    with connected(two.address, "cuda") as client:
        able = cluster._able(client, "cuda")
        assert len(able) == 1 and len(cluster._able(client, "cpu")) == 2
    command = ("predict", *slides, "--ref", small_bundle, "-o", tmp_path, "--scheduler", two.address)
    with pytest.raises(DeviceError, match=rf"^worker {able[0]}: device cuda: .* no CUDA provider"):
        bleep(*command, "--device", "cuda")


def test_another_version_is_refused_at_the_start_and_in_a_worker_that_comes_later(
    two: Cluster, bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    ours = cluster.__version__
    command = ("predict", slides[0], "--ref", small_bundle, "-o", tmp_path / "out", "--format", "h5ad")
    command += ("--scheduler", two.address)
    monkeypatch.setattr(cluster, "__version__", "99.0")
    with pytest.raises(
        DeviceError, match=rf"^worker tcp://.* has bleep-cli {ours}, this is 99\.0; install the same$"
    ):
        bleep(*command)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(cluster, "_check_versions", lambda client: None)
    with pytest.raises(DeviceError, match=rf"^worker tcp://.*: bleep-cli {ours} runs there, 99\.0 here"):
        bleep(*command)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--format", "png"), "scheduler needs a table"),
        (("--dry-run",), "dry_run tells of this machine; leave scheduler out"),
        (("absent.tif",), "absent.tif: no such file"),
    ],
)
def test_what_cannot_be_asked_of_a_scheduler(
    bleep: Bleep, slides: list[Path], small_bundle: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError, match=f"^{words}"):
        bleep("predict", slides[0], *arguments, "--ref", small_bundle, "-o", tmp_path, "--scheduler", "tcp://h:1")


# --- build-reference


def test_a_reference_built_on_workers_is_the_one_built_here(
    two: Cluster, bleep: Bleep, small_cohort: Path, make_encoders: Callable[..., Encoders], tmp_path: Path
) -> None:
    make_encoders().save(tmp_path / "encoders")
    command = ("build-reference", small_cohort, "--encoders", tmp_path / "encoders", "--device", "cpu")
    _, here = bleep(*command, "-o", tmp_path / "here.zarr")
    _, there = bleep(*command, "-o", tmp_path / "there.zarr", "--scheduler", two.address)
    assert there["content_sha256"] == here["content_sha256"]
    assert there["spots"] == 252
    assert open_bundle(tmp_path / "there.zarr").looks() is not None


def test_a_section_that_cannot_be_embedded_is_told_as_it_is_here(
    two: Cluster,
    bleep: Bleep,
    small_cohort: Path,
    make_encoders: Callable[..., Encoders],
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    folder = Path(shutil.copytree(small_cohort.parent, tmp_path / "cohort"))
    make_encoders().save(tmp_path / "encoders")
    (folder / "S0.png").write_bytes(b"no picture")
    # as of a picture that breaks once it was compared with its spots, which is done here, before anything is sent
    monkeypatch.setattr("bleep_cli.cohort.read.on_picture", lambda section: replace(section, plane=None))
    command = (
        "build-reference",
        folder / "cohort.toml",
        "--encoders",
        tmp_path / "encoders",
        "-o",
        tmp_path / "a.zarr",
    )
    with pytest.raises(ReferenceError) as here:
        bleep(*command)
    with pytest.raises(ReferenceError) as there:
        bleep(*command, "--scheduler", two.address)
    told = "section S0: S0.png: cannot be decoded: not a slide or picture of a known format"
    assert str(here.value) == told
    assert str(there.value).split(": ", 1)[1] == told  # behind the worker's address
    assert not (tmp_path / "a.zarr").exists()


def test_another_tower_under_the_same_name_is_refused(
    two: Cluster,
    bleep: Bleep,
    small_cohort: Path,
    make_encoders: Callable[..., Encoders],
    tmp_path: Path,
    monkeypatch: Any,
) -> None:
    encoders = make_encoders()
    encoders.save(tmp_path / "encoders")
    loaded = replace(encoders, image=encoders.image + b"")
    monkeypatch.setattr("bleep_cli.api.load_encoders", lambda folder: replace(loaded, image=loaded.image[:-1]))
    command = ("build-reference", small_cohort, "--encoders", tmp_path / "encoders", "-o", tmp_path / "a.zarr")
    with pytest.raises(ReferenceError, match=r"encoders encoders: the image tower is another one there than here"):
        bleep(*command, "--scheduler", two.address)


def test_a_bundle_grows_on_one_machine(
    bleep: Bleep, small_cohort: Path, small_bundle: Path, tmp_path: Path
) -> None:
    command = ("build-reference", small_cohort, "--base", small_bundle, "-o", tmp_path / "a.zarr")
    with pytest.raises(UsageError, match="scheduler goes with encoders"):
        bleep(*command, "--scheduler", "tcp://h:1")
