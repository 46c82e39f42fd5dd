"""A synthetic liver section with known expression: an H&E-like slide, its spots and the truth behind them.

The phantom stands in for tissue where tests and the demo must run without anybody's data. Lobules of about
0.8 mm surround central veins, portal triads stand at their corners, and one coordinate, ``z`` in [0, 1] from
portal to central, drives both the picture (eosin, cell size, sinusoid width, fat) and the expression of the
zoned genes; portal tracts, bile ducts, vessel walls and fat drive the other markers. About 240 genes have no
pattern.

The same options give the same counts, byte for byte, and the same pixels, as long as NumPy's random streams
(NEP 19), SciPy and Pillow stay the same; the TIFF's bytes further depend on tifffile and libjpeg. All
randomness comes from seed, donor and id: stain, library size, fat and gene factors follow the donor, anatomy
the section.

Nothing it writes is data about anybody; every file that can say so says it is synthetic.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from bleep_cli.base.files.atomic import atomic_path
from bleep_cli.errors import OutputError, UsageError
from bleep_cli.types import F32, F64, U8, Progress, Str, no_progress
from bleep_train.phantom import files as write
from bleep_train.phantom import render
from bleep_train.phantom.genes import donor_factors, informative_symbols
from bleep_train.phantom.spots import GroundTruth, Spots, disc_truth, draw_counts, spot_grid
from bleep_train.phantom.tissue import COMPARTMENTS, Tissue, make_tissue

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


@dataclass(frozen=True)
class PhantomOptions:
    """What one section is. ``UsageError`` for a value out of its range or a name that cannot be a file name."""

    seed: int
    """The same seed and names give the same section."""
    donor: str
    """Whose section it is; stain, fat and gene factors are the donor's."""
    section_id: str
    """Its name, and that of its files."""
    size_um: tuple[float, float] = (2400.0, 1800.0)
    """(width, height) of the whole slide in µm, glass included."""
    mpp: float = 0.5
    """µm per level-0 pixel."""
    spot_pitch_um: float = 100.0
    """µm from a spot to the next."""
    spot_diameter_um: float = 55.0
    """µm across a spot."""
    lobule_um: float = 800.0
    """µm across a lobule."""
    umi_per_spot: float = 6000.0
    """Counts before the donor's factor (0.6 to 1.6)."""
    steatosis: float | None = None
    """Fat level in [0, 1]; None = the donor's."""
    fold: bool = True
    """Lays one tissue fold."""
    jpeg_quality: int = 80
    """Of the slide, 1 to 100."""
    truth_pitch_um: float = 50.0
    """µm between the points of the truth grid."""

    def __post_init__(self) -> None:
        ranges = {
            "seed": (0, 2**63),
            "mpp": (0.2, 2.0),
            "spot_pitch_um": (20, 500),
            "spot_diameter_um": (10, self.spot_pitch_um),
            "lobule_um": (500, 2000),
            "umi_per_spot": (100, 1e6),
            "jpeg_quality": (30, 100),
            "truth_pitch_um": (10, 500),
        }
        values = [(name, getattr(self, name), span) for name, span in ranges.items()]
        values += [("size_um", side, (600, 6500)) for side in self.size_um]
        values += [("steatosis", self.steatosis if self.steatosis is not None else 0.0, (0, 1))]
        for name, value, (low, high) in values:
            if not low <= value <= high:
                raise UsageError(f"phantom: {name} is {value:g}, it must lie in {low:g} to {high:g}")
        for name in (self.donor, self.section_id):
            if not _NAME.fullmatch(name):
                raise UsageError(f"phantom: '{name}' must be letters, digits, '-' and '_' only")


@dataclass(frozen=True)
class PhantomPaths:
    """The files of one section."""

    folder: Path
    """Where they lie."""
    image: Path
    """The slide."""
    outs: Path
    """The Space Ranger folder."""
    truth_spots: Path
    """What lies under every spot."""
    truth_expression: Path
    """Noise-free expression of every spot."""
    truth_grid: Path
    """The same on a grid over the whole section."""
    truth_genes: Path
    """Every gene's curve."""
    readme: Path
    """Describes the others."""


def write_phantom(out: Path, options: PhantomOptions, progress: Progress = no_progress) -> PhantomPaths:
    """Writes one section into ``out / options.section_id``, whole or not at all.

    Raises:
        OutputError: the section's folder is already there or cannot be written.
    """
    paths = _paths(out / options.section_id, options.section_id)
    if paths.folder.exists():
        raise OutputError(f"phantom: the folder {paths.folder.name} is already there; remove it or name another")
    with atomic_path(paths.folder) as partial:
        partial.mkdir()
        _write_section(_paths(partial, options.section_id), options, progress)
    return paths


def write_phantom_cohort(
    out: Path,
    seed: int,
    *,
    donors: Sequence[str] = ("P1", "P2", "P3"),
    sections_per_donor: int = 1,
    size_um: tuple[float, float] = (2400.0, 1800.0),
    progress: Progress = no_progress,
) -> Path:
    """Writes ``sections_per_donor`` sections of each donor and ``cohort.toml``, whose path it returns.

    Sections are called ``<donor>-S1``, …; the cohort file names image and Space Ranger folder relative to
    itself, and no mpp, because the slides state it.

    Raises:
        OutputError: the cohort file or one of the sections is already there.
        UsageError: a donor's name cannot be a file name, or a size is out of range.
    """
    cohort = out / "cohort.toml"
    if cohort.exists():
        raise OutputError(f"phantom: {cohort.name} is already there; remove it or name another folder")
    every = [
        PhantomOptions(seed=seed, donor=donor, section_id=f"{donor}-S{number}", size_um=size_um)
        for donor in donors
        for number in range(1, sections_per_donor + 1)
    ]
    lines = [f"# {write.SYNTHETIC}.", f"# Made with seed {seed}; the truth lies beside each slide."]
    for done, options in enumerate(every):
        progress("sections", done, len(every))
        paths = write_phantom(out, options)
        lines += ["", "[[section]]", f'id = "{options.section_id}"', f'donor = "{options.donor}"']
        lines += [f'image = "{paths.image.relative_to(out).as_posix()}"']
        lines += [f'spaceranger = "{paths.outs.relative_to(out).as_posix()}"']
    cohort.write_text("\n".join(lines) + "\n", "utf-8", newline="\n")
    progress("sections", len(every), len(every))
    return cohort


def true_expression(options: PhantomOptions, xy_l0: F64) -> tuple[Str, F32]:
    """Noise-free expression under a spot-sized disc at any positions f64[n, 2] (x, y) in level-0 pixels.

    Returns the informative genes' symbols str[g] and log1p of counts per 10,000, f32[n, g]. Positions off the
    tissue read as the parenchyma that would be there.
    """
    truth = _truth(options, _tissue(options))
    return informative_symbols(), truth.expected_log1p(np.asarray(xy_l0, np.float64) * options.mpp)


def render_phantom(options: PhantomOptions, progress: Progress = no_progress) -> U8:
    """The section's picture before compression, RGB u8[h, w, 3] with h, w = ``size_um`` / ``mpp``."""
    stain = render.donor_stain(_stream(options.seed, options.donor, "stain"))
    return render.render(_section_stream(options, "picture"), _tissue(options), stain, options.mpp, progress)


def _stream(seed: int, *names: str) -> np.random.Generator:
    """A random stream that depends on the seed and the names only, on every machine."""
    text = "/".join((str(seed), *names))
    return np.random.default_rng(int.from_bytes(sha256(text.encode()).digest()[:16], "big"))


def _section_stream(options: PhantomOptions, purpose: str) -> np.random.Generator:
    return _stream(options.seed, options.donor, options.section_id, purpose)


def _tissue(options: PhantomOptions) -> Tissue:
    steatosis = options.steatosis
    if steatosis is None:
        steatosis = float(_stream(options.seed, options.donor, "fat").beta(0.8, 1.6))
    rng = _section_stream(options, "tissue")
    return make_tissue(rng, options.size_um, options.lobule_um, steatosis, options.fold)


def _truth(options: PhantomOptions, tissue: Tissue) -> GroundTruth:
    factors = donor_factors(_stream(options.seed, options.donor, "genes"))
    return disc_truth(tissue, options.spot_diameter_um, factors)


def _donor_library(options: PhantomOptions) -> float:
    """0.6 to 1.6, more often near one of the ends than between them."""
    share = _stream(options.seed, options.donor, "umi").beta(0.5, 0.5)
    return float(0.6 * (1.6 / 0.6) ** share)


def _paths(folder: Path, section: str) -> PhantomPaths:
    return PhantomPaths(
        folder=folder,
        image=folder / f"{section}.tif",
        outs=folder / "outs",
        truth_spots=folder / "truth.csv.gz",
        truth_expression=folder / "truth_expression.npz",
        truth_grid=folder / f"{section}_truth.npz",
        truth_genes=folder / "truth_genes.csv",
        readme=folder / "README.md",
    )


def _write_section(paths: PhantomPaths, options: PhantomOptions, progress: Progress) -> None:
    image = render_phantom(options, progress)
    write.write_slide(paths.image, image, options.mpp, options.jpeg_quality)
    truth = _truth(options, _tissue(options))
    spots = spot_grid(_section_stream(options, "barcodes"), truth, options.spot_pitch_um)
    write.write_spatial(paths.outs / "spatial", spots, image, options.mpp, options.spot_diameter_um)
    order = np.flatnonzero(spots.in_tissue)
    order = order[np.argsort(spots.barcodes[order])]  # Space Ranger sorts the matrix, not the positions
    umi = options.umi_per_spot * _donor_library(options)
    counts = draw_counts(_section_stream(options, "counts"), truth, spots.xy_um[order], umi)
    write.write_matrix(paths.outs / "filtered_feature_bc_matrix", counts, spots.barcodes[order].tolist())
    write.write_gene_table(paths.truth_genes, truth.factors)
    _write_spot_truth(paths, options, truth, spots, order)
    _write_truth_grid(paths.truth_grid, options, truth)
    paths.readme.write_text(_readme(options), "utf-8", newline="\n")


def _write_spot_truth(
    paths: PhantomPaths, options: PhantomOptions, truth: GroundTruth, spots: Spots, order: np.ndarray
) -> None:
    """What lies under each spot in tissue, in the matrix's order: a table, and the expected expression."""
    xy = spots.xy_um[order]
    columns = [truth.raster.sample(plane, xy) for plane in (truth.cover, truth.z, *truth.area.values())]
    rows = [",".join(("barcode", "x", "y", "tissue", "z", *COMPARTMENTS))]
    for barcode, at, values in zip(spots.barcodes[order], xy / options.mpp, np.column_stack(columns), strict=True):
        rows.append(f"{barcode},{at[0]:.3f},{at[1]:.3f}," + ",".join(f"{v:.5f}" for v in values))
    write.write_gz(paths.truth_spots, "\n".join(rows) + "\n")
    np.savez_compressed(
        paths.truth_expression,
        barcodes=spots.barcodes[order],
        symbols=informative_symbols(),
        log1p=truth.expected_log1p(xy),
        note=np.array(write.SYNTHETIC),
    )


def _write_truth_grid(path: Path, options: PhantomOptions, truth: GroundTruth) -> None:
    """The expectation on a square grid over the tissue, small enough to ship beside a demo slide."""
    pitch = options.truth_pitch_um
    x, y = (np.arange(pitch / 2, side, pitch) for side in options.size_um)
    xy = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    xy = xy[truth.raster.sample(truth.cover, xy) >= 0.5]
    log1p = np.round(truth.expected_log1p(xy) * 32) / 32  # short mantissas pack better
    np.savez_compressed(
        path,
        centre_l0=(xy / options.mpp).astype(np.float32),
        z=truth.raster.sample(truth.z, xy).astype(np.float16),
        symbols=informative_symbols(),
        log1p=log1p.astype(np.float16),
        mpp=np.array(options.mpp),
        pitch_um=np.array(pitch),
        disc_um=np.array(options.spot_diameter_um),
        note=np.array(write.SYNTHETIC),
    )


def _readme(options: PhantomOptions) -> str:
    made = "\n".join(f"- {name}: {value}" for name, value in asdict(options).items())
    return f"""# {options.section_id}: a SYNTHETIC liver section

{write.SYNTHETIC}. Not for any use but testing and showing the software.

- `{options.section_id}.tif`: the slide. `outs/`: Space Ranger 2 layout, counts drawn from known curves.
- `truth.csv.gz`: what lies under each spot in tissue: x, y (level-0 px), fraction of the disc in tissue,
  zonation z (0 portal, 1 central), area fractions of the compartments.
- `truth_expression.npz`: noise-free log1p of counts per 10,000 per spot for the genes with a pattern.
- `{options.section_id}_truth.npz`: the same on a square grid (`centre_l0`, `log1p` rounded to 1/32).
- `truth_genes.csv`: every gene's curve. Ids that begin with PHANTOM are made up.

Made with:

{made}
"""
