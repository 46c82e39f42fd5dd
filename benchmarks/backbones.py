"""Which frozen features, and which stains, hold for the next donor: closed-form towers on each, the same folds.

    python benchmarks/backbones.py COHORT --out donor|section [--only C2,C3] [--dino vit_s_focus.onnx]
                                   [--fields-um 267 534] [--keep FOLDER] [--json FILE]

Features: the shipped backbone; the same on pictures whose stain was normalised (Reinhard 2001: mean and deviation
of CIE L*a*b* over tissue set to those of the first section); with ``--dino`` DINOv2 ViT-S (docs/own-backbone.md),
and both side by side, every block weighing alike; one view. Answers: the mean of the 50 nearest spots, by one key
or both, corrected, projected on the principal components of the reference's expression (those of the fit alike, or
all by how far they stand above noise, as ``bleep predict`` does: "projected"), and averaged with a linear
prediction of the same penalty. Fields, components and penalty are chosen inside the training sections, as ``bleep
build-reference`` does. ``--keep`` keeps features, which take longest, for a later run.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from side_by_side import machine, table
from skimage.color import lab2rgb, rgb2lab

from bleep_cli.bundle.learned.slope import expression_slope
from bleep_cli.cohort.read import read_cohort
from bleep_cli.fitting.backbone import Backbone, built_in_backbone, load_backbone
from bleep_cli.fitting.cca import Side, decompose, fit_heads
from bleep_cli.fitting.choose import HVG, Choice, choose, held_out_groups
from bleep_cli.fitting.features import section_features
from bleep_cli.fitting.recipe import PANEL_DETECTED, PANEL_GENES, K
from bleep_cli.genes.names import join_genes
from bleep_cli.genes.normalise import detected, log1p_normalise
from bleep_cli.genes.panel import most_variable
from bleep_cli.prediction.expression.correct import offsets
from bleep_cli.prediction.expression.fitted import fitted_prediction
from bleep_cli.prediction.expression.impute import impute_blocks, weigh
from bleep_cli.search.exact import ExactIndex
from bleep_cli.towers.encoder import unit
from bleep_cli.towers.levels import block_scale
from bleep_cli.types import F32, F64, U8, Bool, Neighbours, Section, TileSpec
from bleep_train.metrics.per_gene import pearson

LAYERS = ":/backbone/encoder/layer.5/Add_1_output_0,/backbone/encoder/layer.8/Add_1_output_0"
Blocks = list[F32]
"""f32[n, d] for every number of fields, fewest first, scaled."""
Table = dict[str, dict[str, tuple[float, ...]]]
"""r over HVG50 and over all genes, by row and column."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cohort", type=Path)
    parser.add_argument("--out", choices=("donor", "section"), default="donor")
    parser.add_argument("--only")
    parser.add_argument("--dino", type=Path)
    parser.add_argument("--fields-um", type=float, nargs="+")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sections = read_cohort(given.cohort, only=given.only.split(",") if given.only else None)
    with tempfile.TemporaryDirectory(prefix="bleep-bench-") as name:
        keep = given.keep or Path(name)
        keep.mkdir(parents=True, exist_ok=True)
        own, fields = built_in_backbone(), given.fields_um
        found = {"shipped backbone": blocks("lite0", sections, own, fields, keep)}
        found["shipped, stain normalised"] = blocks(
            "reinhard", sections, own, fields, keep, lambda s: normalised(s, sections[0], Path(name))
        )
        if given.dino is not None:
            found["DINOv2"] = blocks("dino", sections, load_backbone(f"{given.dino}{LAYERS}"), fields, keep)
            pairs = zip(found["shipped backbone"], found["DINOv2"], strict=True)
            found["shipped and DINOv2"] = [np.hstack(pair) for pair in pairs]
    rows = [
        {"features": features, "answer": answer, **{k: f"{a:.3f} / {b:.3f}" for k, (a, b) in scores.items()}}
        for features, x in found.items()
        for answer, scores in with_mean(folds(x, sections, given.out)).items()
    ]
    print(table(rows))
    if given.json is not None:
        record = {"machine": machine(), "cohort": given.cohort.stem, "out": given.out, "rows": rows}
        given.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def with_mean(rows: Table) -> Table:
    """And the mean over the folds."""
    return {
        name: scores | {"mean": tuple(np.mean(list(scores.values()), axis=0))} for name, scores in rows.items()
    }


def blocks(
    name: str,
    sections: Sequence[Section],
    backbone: Backbone,
    fields: Sequence[float] | None,
    keep: Path,
    seen: Callable[[Section], Section] = lambda section: section,
) -> Blocks:
    """Features of every spot, a section at a time and kept; ``seen`` gives what is looked at in its place."""
    spec = TileSpec(backbone.px, tuple(fields or backbone.fields_um))
    parts = []
    for section in sections:
        file = keep / f"{section.id}.{name}.npy"
        if not file.is_file():
            np.save(file, np.asarray(section_features([seen(section)], backbone.model, spec, 1, "cpu").rows[:, 0]))
        parts.append(np.load(file))
    rows = np.concatenate(parts)
    scale = block_scale(backbone.dims, rows[:, 0], shipped=backbone.shipped)
    return [(rows[:, :count] * scale).reshape(len(rows), -1) for count in range(1, len(spec.um) + 1)]


def normalised(section: Section, target: Section, folder: Path) -> Section:
    """The section on a copy of its picture with the target's mean and deviation of L*a*b* over tissue."""
    if section is target:
        return section
    here, there = picture(section), picture(target)
    (mean, std), (wanted, spread) = moments(here), moments(there)
    for rows in np.array_split(np.arange(len(here)), max(1, here.size // 30_000_000)):
        changed = lab2rgb((rgb2lab(here[rows]) - mean) / std * spread + wanted)
        tissue = is_tissue(here[rows])
        here[rows] = np.where(tissue[..., None], np.round(changed * 255).astype(np.uint8), here[rows])
    file = folder / f"{section.id}.png"
    Image.fromarray(here).save(file, compress_level=1)
    return dataclasses.replace(section, image=str(file))


def picture(section: Section) -> U8:
    """u8[h, w, 3]."""
    Image.MAX_IMAGE_PIXELS = None
    pixels: U8 = np.array(Image.open(section.image).convert("RGB"))
    return pixels


def is_tissue(pixels: U8) -> Bool:
    """bool[h, w]: neither glass nor painted black."""
    low, high = pixels.min(axis=2), pixels.max(axis=2)
    return np.asarray((high.astype(np.int16) - low > 15) & (high > 30))


def moments(pixels: U8) -> tuple[F64, F64]:
    """f64[3] mean and deviation of L*a*b* over tissue, on every fourth pixel each way."""
    few = pixels[::4, ::4]
    lab = rgb2lab(few)[is_tissue(few)]
    return lab.mean(axis=0), lab.std(axis=0)


def folds(features: Blocks, sections: Sequence[Section], out: str) -> Table:
    """``HVG50 / all`` r by way of averaging and by donor or section left out."""
    label = [s.donor if out == "donor" else s.id for s in sections]
    of_spot = np.repeat(label, [len(s.barcodes) for s in sections])
    rows: Table = {}
    for left_out in dict.fromkeys(label):
        home = [s for s, its in zip(sections, label, strict=True) if its != left_out]
        away = [s for s, its in zip(sections, label, strict=True) if its == left_out]
        train, test = panel(home, away)
        inside = of_spot != left_out
        choice = choose([x[inside] for x in features], train, *held_out_groups(home), K)
        x = features[choice.fields - 1]
        hvg = np.argsort(-train.var(axis=0, dtype=np.float64), kind="stable")[:HVG]
        for name, predicted in averages(x[inside], train, x[~inside], choice):
            r = np.nan_to_num(pearson(predicted, test))
            rows.setdefault(name, {})[left_out] = (float(r[hvg].mean()), float(r.mean()))
    return rows


def averages(x: F32, train: F32, queries: F32, choice: Choice) -> Iterator[tuple[str, F32]]:
    """What the neighbours say f32[m, p], put together in every way."""
    side, spots = decompose(x), decompose(train, choice.components)
    image, spot = fit_heads(side, spots, choice.penalty)
    u, tiles, s = unit(image(queries)), unit(image(x)), unit(spot(train))
    yield "mean", (mean := nearest(u, s, train)[0])
    both = np.asarray((mean + nearest(u, tiles, train)[0]) / 2, np.float32)
    yield "mean of both keys", both
    found = nearest(u, s, train)[1]
    weights = weigh(found, "corrected")
    offset = offsets(u, found, weights, tiles)
    corrected = np.asarray(mean + offset @ expression_slope(tiles, train), np.float32)
    yield "corrected", np.maximum(corrected, 0)
    yield (
        "projected",
        fitted_prediction(u, found, weights, "projected", images=tiles, expression=train, panel=train),
    )
    yield "corrected, both keys", np.maximum(both + (corrected - mean), 0)
    for name, given in (("mean", mean), ("both keys", both), ("corrected", corrected)):
        yield f"{name}, on the components", on_components(given, spots)
    shrunk = side.basis @ ((side.scale / (side.scale**2 + choice.penalty))[:, None] * (side.left.T @ train))
    linear = np.asarray((queries - side.mean) @ shrunk + train.mean(axis=0), np.float32)
    yield "linear", linear
    for name, given in (("mean", mean), ("both keys", both), ("corrected", corrected)):
        yield f"{name}, and linear", np.asarray((given + linear) / 2, np.float32)


def nearest(queries: F32, keys: F32, train: F32) -> tuple[F32, Neighbours]:
    """The mean f32[m, p] of the K nearest rows, and which."""
    found = ExactIndex(keys).search(queries, K)
    blocks = impute_blocks(found, np.full(found.index.shape, 1 / K, np.float32), train)
    return np.concatenate([block for _, block in blocks]), found


def on_components(predicted: F32, spots: Side) -> F32:
    """Projected on the principal components of the reference's expression."""
    centred = predicted - spots.mean
    return np.asarray(centred @ spots.basis @ spots.basis.T + spots.mean, np.float32)


def panel(home: Sequence[Section], away: Sequence[Section]) -> tuple[F32, F32]:
    """log1p f32[n, p] of both on the genes that vary most among the training sections' well-seen ones."""
    table = join_genes([*home, *away])
    seen = np.asarray(sum(detected(s.counts)[table.columns[s.id]] for s in home))
    least = PANEL_DETECTED * sum(len(s.barcodes) for s in home)
    log1p = {s.id: log1p_normalise(s.counts)[:, table.columns[s.id]] for s in [*home, *away]}
    chosen = most_variable([log1p[s.id] for s in home], PANEL_GENES, seen >= least)
    home_rows, away_rows = (np.concatenate([log1p[s.id][:, chosen].toarray() for s in of]) for of in (home, away))
    return home_rows, away_rows


if __name__ == "__main__":
    main()
