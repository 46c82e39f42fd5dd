"""What a user is told of slides that a reference cannot predict: by a bundle that knows nothing of itself, and by
one that does (docs/qc.md).

    python benchmarks/then_and_now.py COHORT --home C2,C3,C4 --away C5 --slide SKIN.svs [--json FILE]

A reference is made of the sections ``--home``. The picture of ``--away`` is predicted by the command line as it
is, blurred, and with its scale stated twice as large, and so is a slide of another tissue; once by the reference
as it is built today, once by the same without what those of today keep of themselves: looks, signature,
calibration, numbers per gene. Told are exit codes, with and without ``--strict``, and the findings.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from side_by_side import report
from strangeness import blur

from bleep_cli import api
from bleep_cli.cohort.read import read_cohort
from bleep_cli.reference.parts import Built


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--home", required=True)
    parser.add_argument("--away", required=True)
    parser.add_argument("--slide", type=Path, required=True, help="of another tissue")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    home = given.home.split(",")
    sections = {s.id: s for s in read_cohort(given.cohort, only=[*home, given.away])}
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        built = api.build_reference([sections[i] for i in home], views=1, device="cpu")
        now = api.write(built, folder / "now.zarr")
        then = api.write(ignorant(built), folder / "then.zarr")
        rows = []
        for what, slide, mpp in cases(sections[given.away], given.slide, folder):
            before, after = told(slide, then, mpp, folder), told(slide, now, mpp, folder)
            rows.append({"slide": what, **{f"then: {k}": v for k, v in before.items() if k != "strange"}})
            rows[-1] |= {f"now: {k}": v for k, v in after.items()}
    report(rows, given.json)


def ignorant(built: Built) -> Built:
    """The same reference, knowing nothing of how far it may be believed."""
    arrays = replace(built.arrays, looks=None, signature=None, calibration=None, gene_columns={})
    return Built(replace(built.info, reliability={}), arrays)


def cases(section: Any, other: Path, folder: Path) -> Iterator[tuple[str, Path, float | None]]:
    """What it is called, the picture, and its µm per pixel where it states none."""
    image, mpp = Path(section.image), float(section.mpp)
    yield f"{section.id}, as it is", image, mpp
    with Image.open(image) as opened:
        blur(4)(opened.convert("RGB")).save(folder / "blurred.png", compress_level=1)
    yield f"{section.id}, blurred by 4 px", folder / "blurred.png", mpp
    yield f"{section.id}, its scale stated twice as large", image, 2 * mpp
    yield f"{other.name}, another tissue", other, None


def told(slide: Path, ref: Path, mpp: float | None, folder: Path) -> dict[str, Any]:
    """Exit code, that of ``--strict``, the codes of warnings, and the share of tiles told strange."""
    command = [sys.executable, "-m", "bleep_cli.cli", "--json", "predict", str(slide), "--ref", str(ref)]
    command += ["-o", str(folder / "out"), "--format", "h5ad", "--device", "cpu", "--force"]
    command += [] if mpp is None else ["--mpp", str(mpp)]
    done, strict = (
        subprocess.run([*command, *more], capture_output=True, text=True, check=False)
        for more in ([], ["--strict"])
    )
    record = json.loads(done.stdout.splitlines()[-1])
    codes = sorted({f["code"] for f in record.get("findings", []) if f["severity"] == "warning"})
    return {
        "exit": done.returncode,
        "warned of": ", ".join(codes) or "nothing",
        "exit with --strict": strict.returncode,
        "strange": record.get("strange_tiles"),
    }


if __name__ == "__main__":
    main()
