"""Building a reference from sections and two towers; no training stack is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bleep_cli.bundle.contents import BundleArrays, BundleInfo
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.bundle.stored import rounded
from bleep_cli.choices import Device
from bleep_cli.embedding.embedder import embedder_of
from bleep_cli.embedding.sections import see_sections
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.genes.names import join_genes, strip_version
from bleep_cli.genes.normalise import detected, log1p_normalise
from bleep_cli.reference.parts import Built, embed_expression, record_of, refuse_twice, repeat_by_section
from bleep_cli.signatures.make import signature_or_why
from bleep_cli.types import F32, Bool, Progress, Section, Str, no_progress

MIN_SPOTS = 3
MIN_SPOT_FRACTION = 0.005
EmbedImages = Callable[[Sequence[Section]], tuple[F32, F32 | None]]
"""From sections to unit vectors f32[n, d] of the tiles around their spots, and their looks f32[n, l] as the image
tower tells them, or None."""


def build_reference(
    sections: Sequence[Section],
    encoders: Encoders,
    *,
    device: Device = "auto",
    tower_input: F32 | None = None,
    towers_saw_them: bool | None = None,
    embed_images: EmbedImages | None = None,
    progress: Progress = no_progress,
) -> Built:
    """Embeds every spot of the sections on both sides and packs them.

    ``tower_input`` f32[n, p] is fed to the expression tower in place of log1p (batch-corrected training data),
    ``towers_saw_them`` says whether the towers were fitted to these sections (None: not known),
    ``embed_images`` stands in for :func:`see_sections`. ``ReferenceError`` when a section lacks
    panel genes.
    """
    refuse_twice({}, sections)
    table = join_genes(sections)
    normalised = [log1p_normalise(s.counts, encoders.target_sum)[:, table.columns[s.id]] for s in sections]
    panel_keys = _as_keys(encoders.panel, table.keys, table.symbols)
    keep = enough_spots(sections, table.columns) | np.isin(table.keys, panel_keys)
    from scipy import sparse

    info = BundleInfo(
        encoders.tile,
        tuple(record_of(s, towers_saw_them) for s in sections),
        target_sum=encoders.target_sum,
        tower_input="log1p" if tower_input is None else "harmony",
        **encoders.info,
    )
    # Rounded before it is embedded, so that the embeddings are those of the stored values.
    expression = rounded(sparse.vstack(normalised, format="csr")[:, keep], info.expression_precision)
    keys, symbols = table.keys[keep], table.symbols[keep]
    slot = {key: i for i, key in enumerate(keys)}
    panel = np.array([slot[key] for key in panel_keys], np.int64)
    given = expression[:, panel] if tower_input is None else tower_input
    if embed_images is None:
        embedder = embedder_of(encoders.image, device)
        image, seen = see_sections(sections, embedder, encoders.tile, info.views, progress)
        looks = seen if embedder.encoder.looks else None
    else:
        image, looks = embed_images(sections)
    signature, why_none = signature_or_why(sections, encoders.tile, progress)
    arrays = BundleArrays(
        image_embeddings=image,
        expression_embeddings=embed_expression(encoders.expression, given),
        expression=expression,
        symbols=symbols,
        gene_ids=keys,
        panel=panel,
        section=repeat_by_section(sections, [s.id for s in sections]),
        barcode=np.concatenate([s.barcodes for s in sections]),
        donor=repeat_by_section(sections, [s.donor for s in sections]),
        xy_l0=np.concatenate([s.xy_l0 for s in sections]),
        image_tower=encoders.image,
        expression_tower=encoders.expression,
        other_towers=encoders.others,
        signature=signature,
    )
    kept = Finding("genes-rare", f"{int(keep.sum())} of {len(keep)} shared genes are seen in enough spots")
    findings = (*table.findings, *(finding for s in sections for finding in s.findings), *why_none, kept)
    return Built(replace(info, findings=findings), arrays, looks)


def enough_spots(sections: Sequence[Section], columns: Mapping[str, Sequence[int]]) -> Bool:
    """bool[g]: genes detected in at least ``MIN_SPOTS`` spots and ``MIN_SPOT_FRACTION`` of all."""
    total = sum(detected(s.counts)[np.asarray(columns[s.id])] for s in sections)
    return np.asarray(total >= max(MIN_SPOTS, MIN_SPOT_FRACTION * sum(len(s.barcodes) for s in sections)))


def _as_keys(panel: Sequence[str], keys: Str, symbols: Str) -> list[str]:
    """The panel's genes as keys of the joined table; panels may name ids or symbols."""
    slot = {str(s): str(k) for s, k in zip(symbols, keys, strict=True)} | {str(k): str(k) for k in keys}
    absent = [gene for gene in panel if strip_version(gene) not in slot]
    if absent:
        raise ReferenceError(
            f"{len(absent)} of the {len(panel)} genes that the expression tower needs are not measured in every "
            f"section (such as {', '.join(absent[:3])})"
        )
    return [slot[strip_version(gene)] for gene in panel]
