"""How many tiles of a changed slide are told to be strange, and what the change costs (docs/reliability.md).

    python benchmarks/strangeness.py COHORT --home C2,C3,C4 --away C5 [--other A1] [--slide FILE ...] [--views 1]
                                     [--json FILE]

A reference is built of the sections ``--home``. The picture of ``--away`` is predicted around its spots as it is
and changed: gamma, other stains, blur, JPEG, colours swapped, its scale stated wrong. Told are the share of tiles
that ``ood`` calls strange, the AUROC of ``ood_score`` against the same tiles unchanged, and the mean r over the 50
genes that vary most in the home. ``--other`` are sections of another origin, ``--slide`` slides without
measurements.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFilter
from side_by_side import report

from bleep_cli import api
from bleep_cli.cohort.read import read_cohort
from bleep_cli.genes.columns import gene_columns
from bleep_cli.genes.normalise import log1p_normalise
from bleep_cli.types import F32, I64, Section

Change = Callable[[Image.Image], Image.Image]
SCALES = (0.5, 0.7, 1.4, 2.0)
HVG = 50


def powers(*exponents: float) -> Change:
    """Every channel to a power: optical density times a factor."""
    table = [round(255 * float((v / 255) ** exponent)) for exponent in exponents for v in range(256)]
    return lambda image: image.point(table)


def jpeg(quality: int) -> Change:
    """Compressed once more."""

    def change(image: Image.Image) -> Image.Image:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=quality)
        return Image.open(file).convert("RGB")

    return change


def blur(px: float) -> Change:
    """By a Gaussian of so many pixels."""
    return lambda image: image.filter(ImageFilter.GaussianBlur(px))


CHANGES: dict[str, Change] = {
    "as it is": lambda image: image,
    "gamma 0.6": powers(0.6, 0.6, 0.6),
    "gamma 1.7": powers(1.7, 1.7, 1.7),
    "bluer stain": powers(1.3, 0.9, 1.1),
    "redder stain": powers(0.75, 1.15, 0.9),
    "blur 2 px": blur(2),
    "blur 4 px": blur(4),
    "JPEG 20": jpeg(20),
    "JPEG 10": jpeg(10),
    "red and blue swapped": lambda image: Image.merge("RGB", image.split()[::-1]),
}


class Bench:
    """A reference, and the genes that it is scored on."""

    def __init__(self, home: list[Section], folder: Path, views: int) -> None:
        built = api.build_reference(home, views=views, device="cpu")
        path = api.write(built, folder / "home.zarr")
        self.predictor = api.Predictor(path, api.PredictOptions(device="cpu"))
        bundle = self.predictor.bundle
        values = bundle.expression_rows()[: bundle.n_spots]
        self.hvg: I64 = np.argsort(-values.var(axis=0, dtype=np.float64), kind="stable")[:HVG]
        self._folder = folder

    def row(self, section: Section, image: Path, mpp: float, named: str) -> tuple[dict[str, Any], F32]:
        """What came out around the spots of a section, and its scores f32[n]."""
        at = self._folder / "at.csv"
        rows = (f"{b},{x},{y}" for b, (x, y) in zip(section.barcodes, section.xy_l0, strict=True))
        at.write_text("\n".join(["id,x,y", *rows]), encoding="utf-8")
        found = self.predictor.predict(image, at=at, mpp=mpp)
        predicted = np.concatenate([block[:, self.hvg] for _, block in found])
        bundle = self.predictor.bundle
        columns = gene_columns(section, bundle.symbols, bundle.gene_ids)[self.hvg]
        measured = log1p_normalise(section.counts)[:, columns].toarray()
        with np.errstate(invalid="ignore"):  # a gene that nobody has here
            r = np.nan_to_num([np.corrcoef(p, m)[0, 1] for p, m in zip(predicted.T, measured.T, strict=True)])
        told = {
            "slide": section.id,
            "change": named,
            "tiles": len(predicted),
            "strange": round(float(np.mean(found.obs["ood"])), 3),
            "median score": round(float(np.median(found.obs["ood_score"])), 2),
            "r of 50 genes": round(float(r.mean()), 3),
        }
        return told, np.asarray(found.obs["ood_score"], np.float32)


def auroc(usual: F32, strange: F32) -> float:
    """The share of pairs in which the strange one scores higher."""
    return float(((strange[:, None] > usual).mean() + (strange[:, None] >= usual).mean()) / 2)


def changed(bench: Bench, section: Section, folder: Path) -> Iterator[dict[str, Any]]:
    """The section as it is, then every change against that."""
    with Image.open(section.image) as opened:
        picture = opened.convert("RGB")
    usual: F32 | None = None
    assert section.mpp is not None
    for named, change in CHANGES.items():
        file = folder / f"{section.id}.png"
        change(picture).save(file, compress_level=1)
        told, scores = bench.row(section, file, section.mpp, named)
        usual = scores if usual is None else usual
        yield told | {"AUROC": round(auroc(usual, scores), 3)}
    assert usual is not None
    for scale in SCALES:
        told, scores = bench.row(section, Path(section.image), section.mpp * scale, f"scale x{scale:g}")
        yield told | {"AUROC": round(auroc(usual, scores), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--home", required=True)
    parser.add_argument("--away", required=True)
    parser.add_argument("--other", default="")
    parser.add_argument("--slide", type=Path, nargs="*", default=[])
    parser.add_argument("--views", type=int, default=1, choices=(1, 8))
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    home, away, other = (names.split(",") if names else [] for names in (given.home, given.away, given.other))
    sections = {s.id: s for s in read_cohort(given.cohort, only=[*home, *away, *other])}
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        folder = Path(name)
        bench = Bench([sections[i] for i in home], folder, given.views)
        rows = [row for i in away for row in changed(bench, sections[i], folder)]
        for section in (sections[i] for i in other):
            rows += [bench.row(section, Path(section.image), section.mpp or 1.0, "as it is")[0]]
        for slide in given.slide:
            found = bench.predictor.predict(slide).obs
            told = {"slide": slide.name, "change": "as it is", "tiles": len(found["ood"])}
            score = round(float(np.median(found["ood_score"])), 2)
            rows.append(told | {"strange": round(float(np.mean(found["ood"])), 3), "median score": score})
    columns = dict.fromkeys(key for row in rows for key in row)
    report(
        [{key: row.get(key) for key in columns} for row in rows], given.json, home=given.home, views=given.views
    )


if __name__ == "__main__":
    main()
