"""Writes a section's pyramidal TIFF and Space Ranger 2+ ``outs`` folder: same content, same bytes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from bleep_cli.types import F64, I64, U8
from bleep_train.phantom.genes import genes
from bleep_train.phantom.spots import Spots

SYNTHETIC = "SYNTHETIC phantom made by bleep-train phantom: drawn by a program, not tissue, no patient"
TILE_PX = 256
SHRINK = 4


def write_slide(path: Path, image: U8, mpp: float, quality: int) -> None:
    """A tiled JPEG pyramid (levels 1, 4, 16, … as pages) that states ``mpp`` and that it is synthetic."""
    level, picture = 0, Image.fromarray(image)
    with tifffile.TiffWriter(path) as tiff:
        while True:
            per_cm = 1e4 / (mpp * SHRINK**level)
            tiff.write(
                np.asarray(picture),
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": quality},
                subsampling=(2, 2),
                tile=(TILE_PX, TILE_PX),
                resolution=(per_cm, per_cm),
                resolutionunit="CENTIMETER",
                subfiletype=int(level > 0),
                description=f"{SYNTHETIC}; mpp {mpp}" if level == 0 else None,
                software="bleep-train phantom",
                metadata=None,
            )
            if max(picture.size) <= 2 * TILE_PX:
                return
            picture, level = picture.reduce(SHRINK), level + 1


def write_gz(path: Path, text: str) -> None:
    """Gzip without a time stamp or a file name, so that equal text gives equal bytes."""
    with path.open("wb") as raw, gzip.GzipFile("", "wb", compresslevel=6, fileobj=raw, mtime=0) as packed:
        packed.write(text.encode())


def write_matrix(folder: Path, counts: I64, barcodes: list[str]) -> None:
    """``matrix.mtx.gz`` (genes × spots), ``features.tsv.gz``, ``barcodes.tsv.gz`` of counts i64[n, genes]."""
    folder.mkdir(parents=True)
    spot, gene = np.nonzero(counts)
    note = json.dumps({"software_version": "bleep-train phantom", "format_version": 2, "synthetic": True})
    lines = [
        "%%MatrixMarket matrix coordinate integer general",
        f"%metadata_json: {note}",
        f"{counts.shape[1]} {counts.shape[0]} {len(spot)}",
    ]
    values = zip((gene + 1).tolist(), (spot + 1).tolist(), counts[spot, gene].tolist(), strict=True)
    lines += [f"{g} {s} {v}" for g, s, v in values]
    write_gz(folder / "matrix.mtx.gz", "\n".join(lines) + "\n")
    write_gz(folder / "features.tsv.gz", "".join(f"{g.id}\t{g.symbol}\tGene Expression\n" for g in genes()))
    write_gz(folder / "barcodes.tsv.gz", "".join(f"{b}\n" for b in barcodes))


def write_spatial(folder: Path, spots: Spots, image: U8, mpp: float, diameter_um: float) -> None:
    """``tissue_positions.csv`` with its header, the scale factors and two small pictures."""
    folder.mkdir(parents=True)
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"]
    table = zip(spots.barcodes, spots.in_tissue, spots.array_row, spots.array_col, spots.xy_um / mpp, strict=True)
    rows += [f"{b},{int(t)},{r},{c},{y:.3f},{x:.3f}" for b, t, r, c, (x, y) in table]
    (folder / "tissue_positions.csv").write_text("\n".join(rows) + "\n", "utf-8", newline="\n")
    factors = {
        "spot_diameter_fullres": diameter_um / mpp,
        "fiducial_diameter_fullres": 1.6 * diameter_um / mpp,
    }
    whole = Image.fromarray(image)
    for name, longest in (("hires", 600), ("lowres", 200)):
        scale = min(1.0, longest / max(whole.size))
        factors[f"tissue_{name}_scalef"] = scale
        size = (max(round(whole.width * scale), 1), max(round(whole.height * scale), 1))
        whole.resize(size, Image.Resampling.BOX).save(folder / f"tissue_{name}_image.png")
    (folder / "scalefactors_json.json").write_text(json.dumps(factors) + "\n", "utf-8", newline="\n")


def write_gene_table(path: Path, factors: F64) -> None:
    """Every gene's curve as CSV, with the donor's own factor."""
    rows = ["symbol,id,informative,level_cp10k,shape,power,floor,compartments,dispersion,donor_factor"]
    for gene, factor in zip(genes(), factors.tolist(), strict=True):
        also = ";".join(f"{name}={level:g}" for name, level in gene.also)
        curve = f"{gene.level:.6g},{gene.shape},{gene.power:g},{gene.floor:g}"
        rows.append(
            f"{gene.symbol},{gene.id},{int(gene.informative)},{curve},{also},{gene.dispersion:g},{factor:.6f}"
        )
    path.write_text("\n".join(rows) + "\n", "utf-8", newline="\n")
