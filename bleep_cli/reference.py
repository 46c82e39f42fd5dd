"""Building a bundle from sections and two towers, and growing one; no training stack is needed for either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bleep_cli.bundle import Bundle, BundleArrays, BundleInfo, SectionRecord
from bleep_cli.bundle_rows import rounded
from bleep_cli.encoder import Device, OnnxEncoder, OnnxExpressionEncoder, embed_views, unit
from bleep_cli.encoders_folder import Encoders
from bleep_cli.errors import ReferenceError, SlideError, UsageError
from bleep_cli.expression import detected, log1p_normalise
from bleep_cli.genes import join_genes, strip_version
from bleep_cli.rows import Rows, StackedRows, dense_rows, row_blocks
from bleep_cli.slide import open_slide
from bleep_cli.tiles import stream_tiles
from bleep_cli.types import F32, Progress, Section, Slide, Str, TileGrid, TileSpec, no_progress

MIN_SPOTS = 3
MIN_SPOT_FRACTION = 0.005
MAX_ABSENT = 0.05  # of a bundle's genes that a section may lack and still be added to it
BATCH_TILES = 32
SPOT_BLOCK = 4096  # spots whose expression is embedded at a time


@dataclass(frozen=True)
class Built:
    """A reference, ready to be written; ``notes`` what was dropped, repaired or assumed."""

    info: BundleInfo
    arrays: BundleArrays
    notes: tuple[str, ...]


def build_reference(
    sections: Sequence[Section],
    encoders: Encoders,
    *,
    device: Device = "auto",
    tower_input: F32 | None = None,
    embed_images: Callable[[Sequence[Section]], F32] | None = None,
    progress: Progress = no_progress,
) -> Built:
    """Embeds every spot of the sections on both sides and packs them.

    ``tower_input`` f32[n, p] is fed to the expression tower in place of log1p (batch-corrected training data),
    ``embed_images`` stands in for :func:`embed_sections`. ``ReferenceError`` when a section lacks panel genes.
    """
    _refuse_twice({}, sections)
    table = join_genes(sections)
    normalised = [log1p_normalise(s.counts, encoders.target_sum)[:, table.columns[s.id]] for s in sections]
    panel_keys = _as_keys(encoders.panel, table.keys, table.symbols)
    keep = enough_spots(sections, table.columns) | np.isin(table.keys, panel_keys)
    from scipy import sparse

    info = BundleInfo(
        encoders.tile,
        tuple(_record(s) for s in sections),
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
        tower = OnnxEncoder(encoders.image, device)
        image = embed_sections(sections, tower, encoders.tile, info.views, progress)
    else:
        image = embed_images(sections)
    arrays = BundleArrays(
        image_embeddings=image,
        expression_embeddings=_embed_expression(encoders.expression, given),
        expression=expression,
        symbols=symbols,
        gene_ids=keys,
        panel=panel,
        section=_repeat(sections, [s.id for s in sections]),
        barcode=np.concatenate([s.barcodes for s in sections]),
        donor=_repeat(sections, [s.donor for s in sections]),
        xy_l0=np.concatenate([s.xy_l0 for s in sections]),
        image_tower=encoders.image,
        expression_tower=encoders.expression,
        other_towers=encoders.others,
    )
    notes = [*table.notes, *(f"{s.id}: {note}" for s in sections for note in s.notes)]
    notes.append(f"{int(keep.sum())} of {len(keep)} shared genes are seen in enough spots")
    return Built(info, arrays, tuple(notes))


def grow_reference(
    base: Bundle, sections: Sequence[Section], *, device: Device = "auto", progress: Progress = no_progress
) -> Built:
    """``base`` plus new sections, embedded by its own towers; the base itself is left as it is.

    A gene of the base that a section lacks counts as not detected there, up to ``MAX_ABSENT`` of them.
    Raises ``ReferenceError`` for a section that is already in, that lacks more genes, or for a base whose
    expression tower saw batch-corrected data, which newcomers do not have.
    """
    if base.info.tower_input != "log1p":
        raise ReferenceError(
            f"--base {base.name}: its expression tower saw batch-corrected expression, so spots cannot be added; "
            "train without harmony, or build from all sections"
        )
    _refuse_twice({record.sha256: f"{base.name} (as {record.id})" for record in base.info.sections}, sections)
    names = {record.id for record in base.info.sections} & {s.id for s in sections}
    if names:
        raise ReferenceError(
            f"{base.name} has other sections named {', '.join(sorted(names))}; rename the new ones"
        )
    from scipy import sparse

    notes = [f"{s.id}: {note}" for s in sections for note in s.notes]
    added = []
    for section in sections:
        aligned, note = align_genes(section, base)
        added.append(aligned)
        notes += [note] if note else []
    new = rounded(sparse.vstack(added, format="csr"), base.info.expression_precision)
    tower = OnnxEncoder(base.tower("image"), device)
    image = embed_sections(sections, tower, base.info.tile, base.info.views, progress)
    embedded = _embed_expression(base.tower("expression"), new[:, base.panel])
    arrays = BundleArrays(
        image_embeddings=np.concatenate([base.embeddings("image"), image]),
        expression_embeddings=np.concatenate([base.embeddings("expression"), embedded]),
        expression=StackedRows([base.expression_rows(), new]),  # the base's stays on disk until it is copied
        symbols=base.symbols,
        gene_ids=base.gene_ids,
        panel=base.panel,
        section=np.concatenate([base.spots("section"), _repeat(sections, [s.id for s in sections])]),
        barcode=np.concatenate([base.spots("barcode"), *(s.barcodes for s in sections)]),
        donor=np.concatenate([base.spots("donor"), _repeat(sections, [s.donor for s in sections])]),
        xy_l0=np.concatenate([base.xy_l0(), *(s.xy_l0 for s in sections)]),
        image_tower=base.tower("image"),
        expression_tower=base.tower("expression"),
        gene_columns=base.gene_columns(),
        other_towers=base.other_towers(),
    )
    records = (*base.info.sections, *(_record(s) for s in sections))
    info = replace(base.info, sections=records, parent_sha256=base.content_sha256)
    return Built(info, arrays, tuple(notes))


def _refuse_twice(known: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Raises ``ReferenceError`` for a section whose data is among ``known`` (hash → where) or given twice."""
    seen = dict(known)
    for section in sections:
        if section.sha256 in seen:
            raise ReferenceError(f"section {section.id} is already in {seen[section.sha256]}")
        seen[section.sha256] = f"the cohort (as {section.id})"


@contextmanager
def section_slide(section: Section) -> Iterator[Slide]:
    """A section's image, open. Raises ``ReferenceError`` for an image that cannot be used, or most of whose
    spots lie outside it."""
    try:
        slide = open_slide(section.image, section.mpp)
    except (SlideError, UsageError) as error:
        told = str(error).replace("--mpp", "mpp =")  # in a cohort file it is a key, not an option
        raise ReferenceError(f"section {section.id}: {told}") from error
    try:
        _check_inside(section, slide)
        yield slide
    finally:
        slide.close()


def embed_sections(
    sections: Sequence[Section],
    encoder: OnnxEncoder,
    spec: TileSpec,
    views: int,
    progress: Progress = no_progress,
) -> F32:
    """Unit vectors f32[n, d] of the tiles around all spots, in order, averaged over ``views``.

    Raises ``ReferenceError`` for a section most of whose spots lie outside its image.
    """
    total, parts, done = sum(len(s.barcodes) for s in sections), [], 0
    for section in sections:
        with section_slide(section) as slide:
            for _, tiles in stream_tiles(slide, section_grid(section, slide.mpp, spec), BATCH_TILES):
                progress("spots", done, total)
                parts.append(embed_views(encoder, tiles, views))
                done += len(tiles)
    progress("spots", total, total)
    return np.concatenate(parts)


def _embed_expression(tower: bytes, panel: Rows) -> F32:
    """Unit vectors f32[n, d] of log1p expression [n, p] on the panel, made dense some spots at a time."""
    encoder = OnnxExpressionEncoder(tower)
    return unit(np.concatenate([encoder.embed(dense_rows(rows)) for rows in row_blocks(panel, SPOT_BLOCK)]))


def _check_inside(section: Section, slide: Slide) -> None:
    outside = np.any((section.xy_l0 < 0) | (section.xy_l0 > np.array(slide.size_l0)), axis=1)
    if outside.mean() > 0.5:
        width, height = slide.size_l0
        raise ReferenceError(
            f"section {section.id}: {int(outside.sum())} of its {len(outside)} spots lie outside {slide.name} "
            f"({width} × {height} px); its positions belong to another image, or to another size of it"
        )


def section_grid(section: Section, mpp: float, spec: TileSpec) -> TileGrid:
    """The tiles centred on a section's spots."""
    n = len(section.barcodes)
    return TileGrid(
        centre_l0=section.xy_l0,
        array_row=np.arange(n, dtype=np.int64),
        array_col=np.zeros(n, np.int64),
        tile_id=section.barcodes,
        region=np.full(n, section.id),
        spec=spec,
        mpp=mpp,
        pitch_um=spec.um[0],
    )


def enough_spots(sections: Sequence[Section], columns: Mapping[str, Sequence[int]]) -> Any:
    """bool[g]: genes detected in at least ``MIN_SPOTS`` spots and ``MIN_SPOT_FRACTION`` of all."""
    total = sum(detected(s.counts)[np.asarray(columns[s.id])] for s in sections)
    return total >= max(MIN_SPOTS, MIN_SPOT_FRACTION * sum(len(s.barcodes) for s in sections))


def align_genes(section: Section, base: Bundle) -> tuple[Any, str]:
    """log1p expression CSR[n, g] of a section on the genes of a bundle, and a note about absent ones."""
    from scipy import sparse

    by_id = {strip_version(str(g)): i for i, g in enumerate(section.gene_ids)}
    by_symbol = {str(s): i for i, s in reversed(list(enumerate(section.symbols)))}  # the first, as in join_genes
    found = [
        by_id.get(str(g), by_symbol.get(str(s), -1)) for g, s in zip(base.gene_ids, base.symbols, strict=True)
    ]
    columns = np.array(found, np.int64)
    absent = columns < 0
    if absent.mean() > MAX_ABSENT:
        raise ReferenceError(
            f"section {section.id} lacks {int(absent.sum())} of the {len(columns)} genes of {base.name} "
            f"(such as {', '.join(base.symbols[absent][:3])}); build a new reference from all sections instead"
        )
    normalised = log1p_normalise(section.counts, base.info.target_sum)
    padded = sparse.hstack(
        [normalised, sparse.csr_matrix((normalised.shape[0], 1), dtype=np.float32)], format="csr"
    )
    note = f"{section.id}: {int(absent.sum())} genes are not in its table and count as not detected"
    return padded[:, np.where(absent, normalised.shape[1], columns)], note if absent.any() else ""


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


def _record(section: Section) -> SectionRecord:
    return SectionRecord(section.id, section.sha256, section.donor, len(section.barcodes))


def _repeat(sections: Sequence[Section], values: Sequence[str]) -> Str:
    return np.repeat(np.array(values, dtype=str), [len(s.barcodes) for s in sections])


def check_build_options(encoders: Path | None, base: Path | None) -> None:
    """Exactly one of the two sources of towers."""
    if (encoders is None) == (base is None):
        raise UsageError("give the towers by exactly one of --encoders DIR and --base BUNDLE")
