"""Made-up sections: three kinds of tissue whose colour sets their expression, as files of every form."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

MPP = 4.0  # µm per pixel of the made-up images
N_GENES = 12
KINDS = np.array([(225, 110, 190), (110, 80, 190), (215, 175, 70)])  # RGB: stroma, nuclei, orange
SIZE = (300, 200)  # (width, height) px
PITCH = 20  # px between spots
FORMS = ("st", "tiff", "spaceranger")


def symbols_of(n: int) -> list[str]:
    return [f"GENE{i}" for i in range(n)]


def ensembl_of(n: int) -> list[str]:
    return [f"ENSG{i:011d}" for i in range(n)]


def kind_map(seed: int) -> np.ndarray:
    """i64[h, w]: -1 glass, else the kind of tissue; an ellipse cut into three bands at a seeded slant."""
    width, height = SIZE
    y, x = np.mgrid[:height, :width]
    inside = ((x - width / 2) / (0.42 * width)) ** 2 + ((y - height / 2) / (0.42 * height)) ** 2 < 1
    band = ((x + (seed % 5 - 2) * 0.3 * (y - height / 2)) * 3 / width).astype(int).clip(0, 2)
    return np.where(inside, (band + seed) % 3, -1)


def draw(kinds: np.ndarray, seed: int) -> np.ndarray:
    """u8[h, w, 3]: the picture of a kind map, with a little noise."""
    rgb = np.where(kinds[..., None] < 0, 244, KINDS[kinds.clip(0)])
    noise = np.random.default_rng(seed).normal(0, 3, rgb.shape)
    return (rgb + noise).clip(0, 255).astype(np.uint8)


def spots_on(kinds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Array positions i64[n, 2] (x, y) of the spots in tissue and their centres f64[n, 2] (x, y) px."""
    height, width = kinds.shape
    row, col = np.divmod(np.arange((height // PITCH) * (width // PITCH)), width // PITCH)
    array = np.stack([col, row], axis=1)
    centre = (array + 0.5) * PITCH
    keep = kinds[centre[:, 1].astype(int), centre[:, 0].astype(int)] >= 0
    return array[keep], centre[keep]


def draw_counts(kinds: np.ndarray, centre: np.ndarray, n_genes: int, seed: int) -> np.ndarray:
    """i64[n, g]: gene i follows the absorbance of channel i % 3 under the spot."""
    kind = kinds[centre[:, 1].astype(int), centre[:, 0].astype(int)]
    absorbance = (1 - KINDS[kind] / 255.0)[:, np.arange(n_genes) % 3]
    return np.random.default_rng(seed + 100).poisson(20 * np.exp(4 * absorbance))


def write_picture(path: Path, seed: int) -> Path:
    """A made-up section's picture; a TIFF states its own pixel size, a PNG does not."""
    image = draw(kind_map(seed), seed)
    if path.suffix == ".tif":
        import tifffile

        per_cm = (10_000 / MPP, 10_000 / MPP)
        tifffile.imwrite(path, image, photometric="rgb", resolution=per_cm, resolutionunit="CENTIMETER")
    else:
        from PIL import Image

        Image.fromarray(image).save(path)
    return path


def write_section(folder: Path, name: str, form: str, seed: int, n_genes: int) -> str:
    """Writes one section and returns its ``[[section]]`` table: ST tables with a PNG or a TIFF, or ``outs``."""
    kinds = kind_map(seed)
    array, centre = spots_on(kinds)
    counts = draw_counts(kinds, centre, n_genes, seed)
    image = write_picture(folder / (f"{name}.tif" if form == "tiff" else f"{name}.png"), seed)
    lines = ["[[section]]", f'id = "{name}"', f'donor = "D{name}"', f'image = "{image.name}"']
    lines += [] if form == "tiff" else [f"mpp = {MPP}"]
    if form == "spaceranger":
        write_spaceranger(folder / f"{name}-outs", array, centre, counts)
        return "\n".join([*lines, f'spaceranger = "{name}-outs"', ""])
    rows = ["\t".join(["", *symbols_of(n_genes)])]
    rows += ["\t".join([f"{x}x{y}", *map(str, c)]) for (x, y), c in zip(array, counts, strict=True)]
    (folder / f"{name}.tsv").write_text("\n".join(rows) + "\n")
    rows = ["x\ty\tpixel_x\tpixel_y"]
    rows += [f"{x}\t{y}\t{px}\t{py}" for (x, y), (px, py) in zip(array, centre, strict=True)]
    (folder / f"{name}-spots.tsv").write_text("\n".join(rows) + "\n")
    return "\n".join([*lines, f'counts = "{name}.tsv"', f'positions = "{name}-spots.tsv"', ""])


def write_spaceranger(outs: Path, array: np.ndarray, centre: np.ndarray, counts: np.ndarray) -> None:
    """An ``outs`` folder with the matrix as .mtx and one more position that is not in tissue."""
    from scipy import io, sparse

    matrix, spatial = outs / "filtered_feature_bc_matrix", outs / "spatial"
    matrix.mkdir(parents=True)
    spatial.mkdir()
    barcodes = [f"SPOT{i:04d}-1" for i in range(len(counts))]
    with gzip.open(matrix / "matrix.mtx.gz", "wb") as file:
        io.mmwrite(file, sparse.coo_matrix(counts.T), field="integer")
    genes = zip(ensembl_of(counts.shape[1]), symbols_of(counts.shape[1]), strict=True)
    features = "".join(f"{i}\t{s}\tGene Expression\n" for i, s in genes)
    (matrix / "features.tsv.gz").write_bytes(gzip.compress(features.encode()))
    (matrix / "barcodes.tsv.gz").write_bytes(gzip.compress("".join(f"{b}\n" for b in barcodes).encode()))
    rows = ["barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres"]
    spots = zip(barcodes, array, centre, strict=True)
    rows += [f"{b},1,{y},{x},{py},{px}" for b, (x, y), (px, py) in spots]
    (spatial / "tissue_positions.csv").write_text("\n".join([*rows, "GLASS-1,0,0,0,2.0,1.0"]) + "\n")


def cohort(folder: Path, forms: Sequence[str] = FORMS, *, first_seed: int = 0, n_genes: int = N_GENES) -> Path:
    """Writes one section S0, S1, ... per form ("st", "tiff", "spaceranger") and returns ``cohort.toml``."""
    folder.mkdir(parents=True, exist_ok=True)
    seeds = range(first_seed, first_seed + len(forms))
    tables = [write_section(folder, f"S{s}", form, s, n_genes) for s, form in zip(seeds, forms, strict=True)]
    (folder / "cohort.toml").write_text("\n".join(tables), encoding="utf-8")
    return folder / "cohort.toml"
