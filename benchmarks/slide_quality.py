"""What ``bleep qc`` says of a slide as it is and changed by hand, by a reference; and of other slides as they are.

    python benchmarks/slide_quality.py REF SLIDE@MPP [OTHER[@MPP] ...] [--json FILE]

SLIDE is a picture that fits into memory; changed copies go to a temporary folder. A line for each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFilter

from bleep_cli.api import open_bundle, qc
from bleep_cli.errors import BleepError

PEN, PEN_PX = (30, 50, 160), 400


def blur(px: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.filter(ImageFilter.GaussianBlur(px))


def gamma(power: float) -> Callable[[Image.Image], Image.Image]:
    return lambda image: image.point([round(255 * (v / 255) ** power) for v in range(256)] * 3)


def blur_left(image: Image.Image) -> Image.Image:
    out = image.copy()
    out.paste(blur(4)(image.crop((0, 0, image.width // 2, image.height))), (0, 0))
    return out


def pen(image: Image.Image) -> Image.Image:
    out, (w, h) = image.copy(), image.size
    ImageDraw.Draw(out).line([(0.25 * w, 0.45 * h), (0.75 * w, 0.55 * h)], fill=PEN, width=PEN_PX)
    return out


CHANGES: dict[str, tuple[Callable[[Image.Image], Image.Image], float]] = {
    "as it is": (lambda image: image, 1.0),
    "blurred by 2 px": (blur(2), 1.0),
    "blurred by 3 px": (blur(3), 1.0),
    "left half blurred by 4 px": (blur_left, 1.0),
    "gamma 1.7": (gamma(1.7), 1.0),
    "gamma 0.6": (gamma(0.6), 1.0),
    "a pen stroke": (pen, 1.0),
    "scale stated × 0.5": (lambda image: image, 0.5),
    "scale stated × 2": (lambda image: image, 2.0),
}


def judged(path: Path, mpp: float | None, ref: Any, name: str, changed: str) -> dict[str, Any]:
    """One line of the table, printed."""
    try:
        record = qc(path, ref, mpp=mpp, progress=False).record
    except BleepError as error:
        record = {"verdict": f"exit code {error.exit_code}", "reasons": [], "checks": {}}
    checks = record["checks"]
    codes = ", ".join(f"`{reason.split(':')[0]}`" for reason in record["reasons"])
    numbers = [
        checks.get("scale", {}).get("verdict", ""),
        checks.get("stain", {}).get("score", ""),
        checks.get("focus", {}).get("sharpness", ""),
        f"{checks.get('pen_ink', {}).get('share', 0):.1%}",
        f"{checks.get('strange_tiles', {}).get('share', float('nan')):.0%}",
    ]
    cells = " | ".join(map(str, (name, changed, f"**{record['verdict']}**", codes, *numbers)))
    print(f"| {cells} |", flush=True)
    return {"slide": name, "changed": changed, "checks": checks, "verdict": record["verdict"], "codes": codes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", type=Path)
    parser.add_argument("slides", nargs="+")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    Image.MAX_IMAGE_PIXELS = None
    ref = open_bundle(asked.ref)
    print("| slide | changed | verdict | by | scale | stain | sharpness | ink | strange |")
    print("|---|---|---|---|---|---|---|---|---|")
    (first, mpp), *others = (
        (Path(name), float(size) if size else None)
        for name, _, size in (slide.partition("@") for slide in asked.slides)
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        image = Image.open(first).convert("RGB")
        for changed, (make, factor) in CHANGES.items():
            copy = Path(folder) / "slide.png"
            make(image).save(copy, compress_level=1)
            rows.append(judged(copy, mpp * factor if mpp else None, ref, first.stem, changed))
    rows += [judged(path, size, ref, path.stem, "as it is") for path, size in others]
    if asked.json:
        asked.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
