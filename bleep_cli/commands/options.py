"""The options of the ``bleep`` commands: what they are called, what they take, what their help says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bleep_cli import choices
from bleep_cli.base.assets import DEMO_BUNDLE, asset

# Of several commands
Device = Annotated[
    choices.Device, typer.Option("--device", envvar="BLEEP_DEVICE", help="Where the image tower runs.")
]
Precision = Annotated[
    choices.Precision,
    typer.Option(
        "--precision",
        envvar="BLEEP_PRECISION",
        help="Of the image tower; auto is int8 (CPU) or fp16 (GPU) where the bundle holds it at no cost.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace results that exist already.")]
Strict = Annotated[bool, typer.Option("--strict", help="Refuse what there is a warning about.")]
Scheduler = Annotated[
    str | None,
    typer.Option(
        "--scheduler",
        metavar="ADDRESS",
        help="Run on the workers of this Dask scheduler (extra cluster), such as tcp://host:8786.",
    ),
]

# predict
Slides = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="SLIDE...",
        help="Slides (SVS, NDPI, TIFF, DICOM, PNG, ...), folders of slides, patterns such as '*.svs' in quotes.",
    ),
]
SlideTable = Annotated[
    Path | None,
    typer.Option(
        "--slides",
        metavar="TABLE",
        help="CSV of slides: slide, and what is of one slide only: name of its results, mpp, mask, at, ...",
    ),
]


def _built_in(ref: Path | None) -> Path | None:
    """``demo`` is the synthetic reference that is installed with the program."""
    return asset(DEMO_BUNDLE) if ref is not None and str(ref) == "demo" and not ref.exists() else ref


Ref = Annotated[
    Path,
    typer.Option(
        "--ref",
        envvar="BLEEP_REF",
        callback=_built_in,
        help="Reference bundle, .zarr or .zarr.zip; demo is the built-in synthetic one.",
    ),
]
RefSha256 = Annotated[
    str | None,
    typer.Option(
        "--ref-sha256",
        envvar="BLEEP_REF_SHA256",
        metavar="HEX",
        help="Content hash that the reference must have; everything of it is read and compared first.",
    ),
]
RefKey = Annotated[
    Path | None,
    typer.Option(
        "--ref-key",
        envvar="BLEEP_REF_KEY",
        metavar="PUBLIC",
        help="Public key of OpenSSH (.pub), or several, one of which must have signed the reference: BUNDLE.sig.",
    ),
]
RefIfAny = Annotated[
    Path | None,
    typer.Option(
        "--ref", envvar="BLEEP_REF", callback=_built_in, help="The result's bundle: shows the spots behind a tile."
    ),
]
RefToJudge = Annotated[
    Path | None,
    typer.Option(
        "--ref",
        envvar="BLEEP_REF",
        callback=_built_in,
        help="The bundle that is to predict the slide; demo as elsewhere.",
    ),
]
Out = Annotated[Path, typer.Option("-o", "--out", envvar="BLEEP_OUT", help="Folder for the results.")]
FORMATS = (
    "Comma-separated: h5ad, zarr, spatialdata, parquet, csv, geojson (for QuPath), ometiff (a channel per gene), "
    "cellxgene (h5ad by its schema), html (a page with maps), png (a picture of one gene)."
)
Formats = Annotated[str, typer.Option("--format", help=FORMATS)]
Genes = Annotated[
    str | None,
    typer.Option(
        "--genes",
        help="Comma-separated symbols or ids, or a file: one a line, or gene sets (.gmt); default all.",
    ),
]
Sets = Annotated[
    Path | None, typer.Option("--sets", help="GMT file of gene sets: each gets a score in every tile (mean z).")
]
Gene = Annotated[str | None, typer.Option("--gene", help="Gene of the picture; default the one that varies most.")]
K = Annotated[int | None, typer.Option("-k", help="Neighbours to average; default the bundle's (50).")]
MinR = Annotated[
    float | None,
    typer.Option("--min-r", help="Held-out r from which a gene counts as reliable (a column of the result)."),
]
DropUnreliable = Annotated[
    bool, typer.Option("--drop-unreliable", help="Leave out the genes that --min-r calls unreliable.")
]
OodRate = Annotated[
    float,
    typer.Option("--ood-rate", help="Share of the reference's own left-out tiles that count as strange to it."),
]
Interval = Annotated[
    float | None,
    typer.Option(
        "--interval",
        help="Write the layers lower and upper, between which a measured value lies with this chance (0.9).",
    ),
]
Samples = Annotated[
    int, typer.Option("--samples", help="Write so many draws that vary as measured maps do, a layer each.")
]
Aggregation = Annotated[
    choices.Aggregation | None,
    typer.Option("--aggregation", help="How neighbours are combined; default the bundle's."),
]
Temperature = Annotated[
    float, typer.Option("--temperature", help="Of the weighted aggregation's softmax over cosine.")
]
Key = Annotated[
    choices.Key | None,
    typer.Option("--key", help="Embeddings to compare with; default the bundle's (expression)."),
]
Views = Annotated[
    int | None, typer.Option("--views", help="1, or 8 flips and rotations averaged; default the bundle's.")
]
Mpp = Annotated[
    float | None,
    typer.Option(
        "--mpp",
        help="Microns per level-0 pixel, where the slide states none or a wrong one; of several slides: "
        "where they state none.",
    ),
]
Scene = Annotated[
    str | None,
    typer.Option("--scene", help="Which picture of a file that holds several: its index from 0, or its name."),
]
StrideUm = Annotated[
    float | None, typer.Option("--stride-um", help="Distance between tiles; default the reference's tile edge.")
]
MinTissue = Annotated[float, typer.Option("--min-tissue", help="Least fraction of tissue in a tile.")]
Mask = Annotated[
    Path | None, typer.Option("--mask", help="Tissue as GeoJSON (QuPath's, level-0 px) or as a picture.")
]
MaskClass = Annotated[
    str | None,
    typer.Option("--mask-class", help="Comma-separated classes of the mask to take; default all but Ignore*."),
]
Origin = Annotated[
    choices.Plane,
    typer.Option(
        "--origin",
        help="What --mask and --at count from: the slide's corner, or its scanned part's (QuPath).",
    ),
]
At = Annotated[
    Path | None,
    typer.Option(
        "--at", help="Predict at these places: a table of Space Ranger, ST, Seurat or QuPath, or id, x, y."
    ),
]
Anonymise = Annotated[
    bool,
    typer.Option("--anonymise", help="Tell no names of slides and their files: hashes stand for them."),
]
ExcludeDonor = Annotated[
    str | None,
    typer.Option("--exclude-donor", help="Comma-separated donors of the reference whose spots have no part."),
]
ExcludeSection = Annotated[
    str | None,
    typer.Option("--exclude-section", help="Comma-separated sections of the reference whose spots have no part."),
]
LevelOf = Annotated[
    str | None,
    typer.Option(
        "--level-of",
        help="Comma-separated sections of the reference, of the slide's donor, whose measured level values take.",
    ),
]
IncludeOwn = Annotated[
    bool,
    typer.Option("--include-own", help="Keep the donor of a slide that is itself a section of the reference."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only tell tiles, memory and time.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Skip slides whose results are there, from this bundle and these options."),
]

# build-reference
Cohort = Annotated[Path, typer.Argument(metavar="COHORT", help="Cohort file (TOML) with the sections.")]
NewBundle = Annotated[Path, typer.Option("-o", "--out", help="The new bundle, .zarr or .zarr.zip.")]
EncodersFolder = Annotated[
    Path | None, typer.Option("--encoders", help="Folder with both towers, made by bleep-train export.")
]
Base = Annotated[Path | None, typer.Option("--base", help="Bundle to grow; it stays as it is.")]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="FILE.onnx[:TENSOR,...]",
        help="Image encoder of your own to fit towers on, cut at these tensors; default the shipped one.",
    ),
]
BackboneConfig = Annotated[
    Path | None,
    typer.Option("--backbone-config", help="TOML file with what it takes; default FILE.toml beside it."),
]
# reference
_RULE = typer.Option(
    "--genes",
    help="Genes that new sections lack: shared leaves them out of the whole, base counts them as not detected.",
)
GeneRule = Annotated[choices.GeneRule, _RULE]
GeneRuleOfBase = Annotated[choices.GeneRule | None, _RULE]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Reference bundle; it stays as it is.")]
RemovedDonor = Annotated[str | None, typer.Option("--donor", help="Comma-separated donors to leave out.")]
RemovedSection = Annotated[str | None, typer.Option("--section", help="Comma-separated section ids to leave out.")]
Donors = Annotated[str | None, typer.Option("--donors", help="Comma-separated donors to keep; default all.")]
Only = Annotated[str | None, typer.Option("--only", help="Comma-separated section ids; default all.")]

Species = Annotated[str, typer.Option("--species", help="What the sections are of, for the bundle's attributes.")]
Licence = Annotated[str, typer.Option("--licence", help="Terms of the data, for the bundle's attributes.")]
Citation = Annotated[str, typer.Option("--citation", help="How the data is cited, for the bundle's attributes.")]


def names(text: str) -> list[str]:
    """The names of a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
