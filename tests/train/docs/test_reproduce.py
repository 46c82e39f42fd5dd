"""docs/reproduce.md runs: its own bash blocks, on phantom sections under the file names of the paper's liver set.

Bash runs the blocks as they stand, but for the data folder; downloads are copied, and the project's commands are
written down. They are then run in this process, on the phantom, with settings for seconds.
"""

from __future__ import annotations

import gzip
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bleep_cli.cohort.read import read_cohort
from bleep_train.backbones.build import BACKBONES
from bleep_train.methods import by_name as methods
from bleep_train.methods.histogene import HisToGeneOptions
from bleep_train.methods.stnet import StNetOptions
from bleep_train.phantom.section import PhantomOptions, PhantomPaths, write_phantom

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "reproduce.md").read_text(encoding="utf-8")
SAMPLES = {"A1": 7697868, "B1": 7697869, "C1": 7697870, "D1": 7697871}
MPP = 0.304
UNIT, QUOTED = "\037", "model.backbone="

TINY = ("data.tile_px=64", "data.panel_genes=60", "model.trainable=frozen", "model.dim=16", "optim.epochs=1")
SHARED = ("data.tile_um=68", "model.levels=0")  # so that features of one study serve all
LITE0 = ("model.backbone=efficientnet-lite0",)  # its ImageNet weights come with the test's environment
NO_DOWNLOAD = ("model.weights=random",)
ST_NET = replace(StNetOptions(), backbone="efficientnet-lite0", px=32, genes=40, epochs=1)
HISTOGENE = replace(HisToGeneOptions(), px=8, dim=16, layers=1, heads=2, epochs=1)

RECORD = """#!/bin/sh
name=$(basename "$0")
case "$name $1" in
    "python -m") ;;
    "python "*) exec {python} "$@" ;;
    "curl "*) while [ "$1" != -o ]; do shift; done; exec cp {archive} "$2" ;;
esac
line=$(printf '%s\\037' "${{CUDA_VISIBLE_DEVICES:-}}" "$name" "$@")
printf '%s\\n' "$line" >> {log}
"""


@dataclass(frozen=True)
class Command:
    """A command of the page: the GPU it names, its program and its arguments."""

    gpu: str
    program: str
    args: tuple[str, ...]


@dataclass(frozen=True)
class Pasted:
    """What came of pasting the page: the ``data`` folder, what was printed, and the project's commands."""

    data: Path
    printed: str
    commands: tuple[Command, ...]
    spots: dict[str, int]


def blocks() -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def geo_archive(folder: Path, archive: Path) -> dict[str, int]:
    """The files of the set as GEO names them, made from four phantom sections; returns spots by section."""
    spots = {}
    with tarfile.open(archive, "w") as tar:
        for section, sample in SAMPLES.items():
            options = PhantomOptions(2, "C73", f"C73_{section}", size_um=(700.0, 600.0), mpp=MPP, fold=False)
            files = geo_files(write_phantom(folder, options), section)
            spots[f"C73_{section}"] = len(gzip.decompress(files[f"C73{section}_barcodes.tsv.gz"]).splitlines())
            for name, data in files.items():
                path = folder / f"GSM{sample}_{name}"
                path.write_bytes(data)
                tar.add(path, path.name)
    return spots


def geo_files(phantom: PhantomPaths, section: str) -> dict[str, bytes]:
    """One sample: Space Ranger 1 positions have no header, and everything is gzipped."""
    matrix = phantom.outs / "filtered_feature_bc_matrix"
    files = {f"C73{section}_{path.name}": path.read_bytes() for path in matrix.iterdir()}
    _, _, rows = (phantom.outs / "spatial" / "tissue_positions.csv").read_bytes().partition(b"\n")
    files[f"C73{section}_tissue_positions_list.csv.gz"] = gzip.compress(rows)
    files[f"GEX_C73_{section}_Merged.tiff.gz"] = gzip.compress(phantom.image.read_bytes(), 1)
    return files


def paste(script: str, data: Path, bin_folder: Path) -> str:
    """Runs bash in the checkout, with the page's data folder replaced; stdout, or the failure with stderr."""
    env = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    env.pop("CUDA_VISIBLE_DEVICES", None)
    assert "export DATA=liver\n" in PAGE
    script = script.replace("export DATA=liver\n", f"export DATA={data}\n")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pasted(tmp_path_factory: pytest.TempPathFactory) -> Pasted:
    folder = tmp_path_factory.mktemp("reproduce")
    archive, log, bin_folder = folder / "geo.tar", folder / "log", folder / "bin"
    spots = geo_archive(folder / "phantoms", archive)
    bin_folder.mkdir()
    paths = {"python": sys.executable, "archive": archive, "log": log}
    quoted = {name: shlex.quote(str(path)) for name, path in paths.items()}
    for name in ("python", "curl", "bleep", "bleep-train", "torchrun"):
        (bin_folder / name).write_text(RECORD.format(**quoted))
        (bin_folder / name).chmod(0o755)
    printed = paste("\n".join(blocks()), folder / "liver", bin_folder)
    lines = [line.split(UNIT)[:-1] for line in log.read_text(encoding="utf-8").splitlines()]
    commands = tuple(Command(gpu, program, tuple(args)) for gpu, program, *args in lines)
    return Pasted(folder / "liver", printed, commands, spots)


@pytest.mark.slow
def test_the_files_become_a_cohort(pasted: Pasted) -> None:
    sections = read_cohort(pasted.data / "cohort.toml")
    assert {s.id: len(s.barcodes) for s in sections} == pasted.spots
    assert {s.donor for s in sections} == {"C73"}
    told = pasted.printed.splitlines()
    assert told == [
        f"{s.id}: {len(s.barcodes)} spots, {len(s.symbols)} genes, {MPP} µm per pixel" for s in sections
    ]


@pytest.mark.slow
def test_other_files_than_those_first_seen_are_noticed(pasted: Pasted, tmp_path: Path) -> None:
    check = next(line for line in PAGE.splitlines() if "sha256sum --check" in line)
    shutil.copytree(pasted.data / "raw", tmp_path / "raw")
    shutil.copy(pasted.data / "SHA256SUMS", tmp_path)
    paste(f"export DATA={tmp_path}\n{check}", tmp_path, tmp_path)
    changed = next((tmp_path / "raw").glob("*_C73B1_barcodes.tsv.gz"))
    changed.write_bytes(changed.read_bytes() + b"\0")
    with pytest.raises(AssertionError, match="computed checksum did NOT match"):
        paste(f"export DATA={tmp_path}\n{check}", tmp_path, tmp_path)


@pytest.mark.slow
def test_the_page_asks_for_everything_the_paper_shows(pasted: Pasted) -> None:
    encoders = [arg.removeprefix(QUOTED) for c in pasted.commands for arg in c.args if arg.startswith(QUOTED)]
    assert encoders == ["resnet18", "resnet50", "resnet101", "vit_b_16"]
    assert set(encoders) < set(BACKBONES)
    assert {c.gpu for c in pasted.commands} == {"", "0", "1", "2", "3"}
    assert {c.args[1] for c in pasted.commands if c.program == "torchrun"} == {"4"}
    markers = {"HAL", "CYP3A4", "VWF", "SOX9", "KRT7", "ANXA4", "ACTA2", "DCN"}
    for command in pasted.commands:
        if "--markers" in command.args:
            assert set(command.args[command.args.index("--markers") + 1].split(",")) == markers
    (grid,) = [c.args for c in pasted.commands if c.args[0] == "ablate"]
    assert grid[grid.index("-k") + 1] == "10,50,100"
    assert grid[grid.index("--losses") + 1] == "paper,paper-clip"
    assert "data.protocol=paper" in grid


def small(command: Command) -> list[str]:
    """The arguments with settings for seconds: a frozen backbone, one epoch, one seed, one fold."""
    args = list(command.args)
    if command.program == "torchrun":
        args = args[args.index("bleep_train") + 1 :]
    for option, value in (("--seeds", "0"), ("--losses", "paper"), ("-k", "10,50")):
        if option in args:
            args[args.index(option) + 1] = value
    if "--config" in args:
        own = any(arg.startswith(QUOTED) for arg in args)
        args += [
            word for setting in (*TINY, *SHARED, *(NO_DOWNLOAD if own else LITE0)) for word in ("--set", setting)
        ]
    if "leave-one-section-out" in args:
        args += ["--test", "C73_C1"]
    return args


@pytest.mark.slow
def test_every_command_runs_and_leaves_what_the_page_names(
    pasted: Pasted, bleep: Callable[..., str], bleep_train: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(methods._PLAIN, "st-net", methods._st_net(ST_NET))
    monkeypatch.setitem(methods._PLAIN, "histogene", methods._histogene(HISTOGENE))
    data, cache = pasted.data, pasted.data / "all-caches"
    cache.mkdir()
    for command in pasted.commands:
        if command.program == "python":
            assert command.args[:3] == ("-m", "pip", "install")
            continue
        if any(f"{QUOTED}{slow}" in command.args for slow in ("resnet50", "resnet101", "vit_b_16")):
            continue  # like resnet18, and tested in test_backbones.py
        out = Path(command.args[command.args.index("-o") + 1])
        assert out.is_relative_to(data)
        if "--config" in command.args and not out.exists():  # features are kept by what they are made of
            out.mkdir()
            (out / "cache").symlink_to(cache)
        (bleep if command.program == "bleep" else bleep_train)(*small(command))
    for study in ("table1", "encoder-resnet18", "leak-free-default"):
        for name in ("table.md", "top_genes.md", "clusters.md", "genegene.md"):
            assert "bleep" in (data / study / name).read_text(encoding="utf-8"), (study, name)
    assert "markers r" in (data / "table1" / "table.md").read_text(encoding="utf-8")
    table = (data / "table1" / "table.md").read_text(encoding="utf-8")
    compared = ("bleep", "bleep:paper-clip", "st-net", "histogene", "ridge", "knn", "mean", "shuffled")
    assert all(f"| C73_C1 | {method} |" in table for method in compared)
    figures = {path.stem for path in (data / "figures").iterdir()}
    assert figures == {"fig2_mean_variance", "fig3_CYP3A4", "fig4_gene_gene", "fig5_clusters", "figS_umap"}
    for made in (
        "table3/table.md",
        "run/bundle.zarr",
        "run4/run.json",
        "run-c1/table.md",
        "predicted/C73_C1.h5ad",
    ):
        assert (data / made).exists(), made
