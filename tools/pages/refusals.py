"""Prints docs/refusals.md: what commands say of three slides that do not fit a reference, with and without what it
knows of itself.

    python tools/pages/refusals.py WORK SKIN.svs > docs/refusals.md

Synthetic liver of two donors is made in the folder WORK, two sections each (``bleep-train phantom``); the first
ones are the reference. A second one is predicted as it is, blurred, and with its scale stated twice as large, and
so is the slide SKIN, a scan of other tissue. The lines are what the commands print. What an earlier version said
is what this one says with the same reference as of before format 1.3: without its signature, looks and numbers per
gene.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageFilter

from bleep_cli import api
from bleep_cli.slide.open import open_slide
from bleep_train.phantom.section import write_phantom_cohort

SEED, DONORS, SIZE_UM = 0, ("P1", "P2"), (1600.0, 1300.0)
HOME, AWAY = ("P1-S1", "P2-S1"), "P2-S2"
BLUR_PX = 4
INTRO = f"""# Slides that do not fit

What a user gets who predicts a slide that the reference cannot know, with the reference as earlier versions
built it, and as `bleep build-reference` builds it now: one that knows how its own tissue looks, at which scale,
and how well it predicts. The reference is a section of each of two donors of synthetic liver: this page shows
what is said, and nothing of any patient. The slides are a second section of one of the donors as it is, blurred
by {BLUR_PX} px, and with its scale stated twice as large, and OpenSlide's test slide of skin. Every line was
printed by the command above it; `python tools/pages/refusals.py WORK CMU-1-Small-Region.svs` prints this page. How
often such slides are told, and what they cost, stands in [reliability.md](reliability.md),
[scale-check.md](scale-check.md) and [qc.md](qc.md); a donor that is stained otherwise is called strange as
well.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("skin", type=Path)
    given = parser.parse_args()
    slides = made(given.work, given.skin.resolve())
    print(INTRO)
    for title, (slide, *options) in slides.items():
        print(f"## {title}\n")
        predict = ["predict", slide, "--format", "h5ad", "--force", *options]
        print("An earlier version predicts it and says:\n")
        print(said([*predict, "--ref", "earlier.zarr", "-o", "earlier"], given.work))
        print("Now:\n")
        print(said([*predict, "--ref", "liver.zarr", "-o", "now"], given.work))
        print(said([*predict, "--ref", "liver.zarr", "-o", "strict", "--strict"], given.work))
        print(said(["qc", slide, "--ref", "liver.zarr", *options], given.work))


def made(work: Path, skin: Path) -> dict[str, tuple[str, ...]]:
    """The reference, with and without what it knows, and the slides; by title their command lines."""
    if not (work / "phantom" / "cohort.toml").exists():
        write_phantom_cohort(work / "phantom", SEED, donors=DONORS, sections_per_donor=2, size_um=SIZE_UM)
    built = api.build_reference(work / "phantom" / "cohort.toml", only=HOME, views=1, device="cpu", progress=False)
    api.write(built, work / "liver.zarr", force=True)
    plain = replace(built.arrays, looks=None, signature=None, calibration=None, gene_columns={})
    api.write(
        replace(built, info=replace(built.info, reliability={}), arrays=plain), work / "earlier.zarr", force=True
    )
    away = work / f"{AWAY}.tif"
    away.write_bytes((work / "phantom" / AWAY / f"{AWAY}.tif").read_bytes())
    slide = open_slide(away)
    picture = Image.fromarray(slide.read((0, 0), slide.size_l0, slide.size_l0))
    picture.filter(ImageFilter.GaussianBlur(BLUR_PX)).save(work / "blurred.png", compress_level=1)
    (work / skin.name).write_bytes(skin.read_bytes())
    return {
        "A slide that fits": (away.name,),
        "The wrong tissue": (skin.name,),
        "Out of focus": ("blurred.png", "--mpp", f"{slide.mpp:g}"),
        "A scale wrong by two": (away.name, "--mpp", f"{2 * slide.mpp:g}"),
    }


def said(arguments: list[str], work: Path) -> str:
    """A command line, what it printed and its exit code, as a block of Markdown."""
    done = subprocess.run(
        [sys.executable, "-m", "bleep_cli.cli", *arguments, "--device", "cpu"],
        cwd=work,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    shown = " ".join(part for part in arguments if part != "--force")
    return f"```text\n$ bleep {shown}\n{done.stdout.rstrip()}\nexit code {done.returncode}\n```\n"


if __name__ == "__main__":
    main()
