"""The slide reader against files that lie: refused with one line, within bounds, never a crash."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from slide_samples import ROOT, H, W, data_path, noise, ramp, write_pyramid, write_tiff

from bleep_cli.errors import SlideError, UsageError
from bleep_cli.slide.open import open_slide

SWEEP = """
import json, os, resource, signal, sys, warnings
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
warnings.simplefilter("error")
from bleep_cli.errors import SlideError
from bleep_cli.slide.open import open_slide
def peak_mb():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) >> 10 for line in lines if line.startswith("VmHWM"))
def late(*_): raise SystemExit("no answer in 30 s")
signal.signal(signal.SIGALRM, late)
for path in sys.stdin.read().split("\\n"):
    signal.alarm(30)
    try:
        slide = open_slide(path, mpp=0.5)
        try:
            w, h = slide.size_l0
            slide.read((0, 0), (w, h), (60, 50))
            for at in ((0, 0), (w / 2, h / 3), (w - 20, h - 20), (-9.5, -3.25)):
                slide.read(at, (64, 64), (50, 50))
        finally:
            slide.close()
        said = "ok"
    except SlideError as error:
        said = "SlideError " + str(error)
    signal.alarm(0)
    print(json.dumps([path, said, peak_mb()]), flush=True)
"""


def sweep(paths: list[Path]) -> Iterator[tuple[Path, str]]:
    """What opening and reading each file came to, in one process of bounded memory; it must survive all."""
    names = "\n".join(map(str, paths))
    run = subprocess.run(
        [sys.executable, "-c", SWEEP], cwd=ROOT, input=names, capture_output=True, text=True, check=False
    )
    answers = [json.loads(line) for line in run.stdout.splitlines()]
    assert run.returncode == 0, f"died after {answers[-1:]}: {run.stderr[-2000:]}"
    assert len(answers) == len(paths)
    for path, said, rss_mb in answers:
        assert rss_mb < 1000, path
        assert str(Path(path).parent) not in said
        yield Path(path), said


def test_malformed_files_are_refused() -> None:
    folder = data_path("slides/malformed")
    decoded = [path.name for path, said in sweep(sorted(folder.iterdir())) if said == "ok"]
    assert decoded == [
        "imagetiff_oor_panic_id_000026_sig_06_src_000012_op_havoc_rep_2.tif"
    ]  # its pixels are right


def mutants(tmp_path: Path, count: int) -> Iterator[Path]:
    """Small files of every codec with a few bytes changed, cut or overwritten."""
    seeds = [
        write_pyramid(tmp_path / f"{c}.tif", True, compression=c) for c in ("jpeg", "lzw", "webp", "jpeg2000")
    ]
    seeds += [write_tiff(tmp_path / "strips.tif", ramp(), rowsperstrip=9, compression="packbits")]
    for suffix in ("jpg", "png", "bmp", "webp", "gif"):
        Image.fromarray(ramp()).save(tmp_path / f"flat.{suffix}", progressive=True)
        seeds.append(tmp_path / f"flat.{suffix}")
    rng = np.random.default_rng(7)
    for i in range(count):
        seed = seeds[i % len(seeds)]
        raw = bytearray(seed.read_bytes())
        for _ in range(rng.integers(1, 5)):
            at = int(rng.integers(0, min(len(raw), 500 if rng.random() < 0.7 else len(raw))))
            raw[at : at + 2] = rng.choice([b"\0\0", b"\xff\xff", b"\x80\0", rng.bytes(2)])
        path = tmp_path / f"m{i}{seed.suffix}"
        path.write_bytes(raw[: int(rng.integers(0, len(raw)))] if i % 9 == 0 else raw)
        yield path


@pytest.mark.slow
def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    answers = [said for _, said in sweep(list(mutants(tmp_path, 400)))]
    assert 20 < answers.count("ok") < 380


@pytest.mark.parametrize("planes", [[0], [0, 1], [2], [0, 1, 2]])
def test_planes_that_were_never_written(tmp_path: Path, planes: list[int]) -> None:
    planar = noise(64, 48).transpose(2, 0, 1)
    path = write_tiff(tmp_path / "a.tif", planar, planarconfig="separate", tile=(16, 16))
    with tifffile.TiffFile(path) as tiff:
        tag = tiff.pages.first.tags["TileByteCounts"]
    raw, size = bytearray(path.read_bytes()), {3: 2, 4: 4}[int(tag.dtype)]
    for plane in planes:
        at = tag.valueoffset + plane * 12 * size
        raw[at : at + 12 * size] = bytes(12 * size)
    path.write_bytes(raw)
    with pytest.raises(SlideError, match=r"a\.tif: tiles or strips are empty"):
        open_slide(path, mpp=0.5)


def test_damaged_lzw(tmp_path: Path) -> None:
    """Codes beyond the table: imagecodecs' LZW decoder dies of these bytes, and the process with it."""
    stream = bytes.fromhex(
        "80415591796f4693fcf29d0313fc5d7f5ec0841be06d6dd055cc12cb25448a4e46d1c3cd7207f2948da0f262806c8c27"
        "248274f662a2d54090a081337baeaf1360d9b63328"
    )
    path = write_tiff(tmp_path / "a.tif", noise(64, 64), compression="lzw")
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].dataoffsets[0]
    raw = bytearray(path.read_bytes())
    raw[at : at + len(stream)] = stream
    path.write_bytes(raw)
    assert [said.split(":")[:2] for _, said in sweep([path])] == [
        ["SlideError a.tif", " strip 0 of level 0 cannot be decoded"]
    ]


def test_not_a_slide(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.svs: no such file"):
        open_slide(tmp_path / "gone.svs")
    for name, content in (
        ("a.svs", b""),
        ("a.tif", b"hello"),
        ("a.png", b"\x89PNG\r\n\x1a\n"),
        ("a.jpg", b"\xff\xd8\xff"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SlideError, match=name):
            open_slide(tmp_path / name, mpp=0.5)
    with pytest.raises(SlideError, match="not a file"):
        open_slide(tmp_path, mpp=0.5)
    small = imagecodecs.png_encode(np.zeros((8, 8, 3), np.uint8))
    for edge, says in ((40_000, "tiffsave"), (20_000, "claim to hold"), (9, "cannot be decoded")):
        header = b"IHDR" + struct.pack(">II", edge, edge) + small[24:29]
        bomb = small[:12] + header + struct.pack(">I", zlib.crc32(header)) + small[33:]
        (tmp_path / "bomb.png").write_bytes(bomb)
        with pytest.raises(SlideError, match=says):
            open_slide(tmp_path / "bomb.png", mpp=0.5)


def test_truncated_files_and_broken_tiles(tmp_path: Path) -> None:
    for suffix in ("jpg", "png", "tif"):
        Image.fromarray(noise(200, 150)).save(tmp_path / f"a.{suffix}")
        (tmp_path / f"a.{suffix}").write_bytes((tmp_path / f"a.{suffix}").read_bytes()[:-300])
        with pytest.raises(SlideError, match=f"a.{suffix}: "):
            open_slide(tmp_path / f"a.{suffix}", mpp=0.5)
    path = write_tiff(tmp_path / "t.tif", noise(W, H), tile=(64, 64), compression="zlib")
    with tifffile.TiffFile(path) as tiff:
        at = tiff.pages[0].dataoffsets[7]
    raw = bytearray(path.read_bytes())
    raw[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(raw)
    with closing(open_slide(path, mpp=0.5)) as slide:
        slide.read((0, 0), (60, 60), (60, 60))
        with pytest.raises(SlideError, match=r"t\.tif: tile 7 of level 0 cannot be decoded"):
            slide.read((0, 0), (W, H), (30, 20))
