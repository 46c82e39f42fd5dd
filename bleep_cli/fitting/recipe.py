"""A cohort's sections to its own towers: features, panel, choice, heads, graphs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bleep_cli.base.text import counted
from bleep_cli.bundle.encoders_folder import Encoders
from bleep_cli.choices import Device
from bleep_cli.errors import ReferenceError
from bleep_cli.findings import Finding
from bleep_cli.fitting.backbone import Backbone, built_in_backbone
from bleep_cli.fitting.cca import LinearHead, decompose, fit_heads
from bleep_cli.fitting.choose import MOST_TRAINING, Choice, choose, held_out_groups, some
from bleep_cli.fitting.features import ScaledMeans, SpotFeatures, section_features
from bleep_cli.fitting.graphs import expression_tower, image_tower
from bleep_cli.fitting.looks import fit_looks
from bleep_cli.genes.names import join_genes
from bleep_cli.genes.normalise import TARGET_SUM, detected, log1p_normalise
from bleep_cli.genes.panel import most_variable
from bleep_cli.reference.build import EmbedImages
from bleep_cli.reliability.left_out import Refit
from bleep_cli.towers.encoder import ALL_VIEWS, unit
from bleep_cli.towers.levels import FINE, block_scale
from bleep_cli.types import F32, I64, Bool, Progress, Section, Str, TileSpec, no_progress

RECIPE = "closed-form"
K = 50
PANEL_GENES = 1000
PANEL_DETECTED = 0.10  # of the spots
FEWEST_SPOTS = 20


@dataclass(frozen=True)
class Fitted:
    """Towers of a cohort's own."""

    encoders: Encoders
    choice: Choice
    embed_images: EmbedImages
    """Unit vectors f32[n, d] and looks f32[n, l] of the spots' tiles, as the image tower tells them, from the
    features that the fit has read already."""
    refit: Refit
    """The same fit, with the same choice, to some of the spots; of many, to 6,000 at even distances."""
    findings: tuple[Finding, ...]
    """How they were fitted."""


def fit_towers(
    sections: Sequence[Section],
    backbone: Backbone | None = None,
    *,
    views: int = ALL_VIEWS,
    device: Device = "auto",
    progress: Progress = no_progress,
) -> Fitted:
    """Both towers, fitted in closed form to the sections' own spots; the same sections give the same bytes.

    ``backbone`` gives the features, by default the shipped one. ``views`` 1, or 8 flips and rotations averaged,
    for the reference and as what a query should use. Raises ``ReferenceError`` for sections that share no gene, or
    of too few spots, ``DeviceError`` without the package onnx.
    """
    backbone = backbone or built_in_backbone()
    keys, panel = _panel(sections)
    if len(panel) < FEWEST_SPOTS:
        raise ReferenceError(
            f"the sections have {counted(len(panel), 'spot')}; towers are fitted to {FEWEST_SPOTS} at least"
        )
    spec = TileSpec(backbone.px, backbone.fields_um)
    features = section_features(sections, backbone.model, spec, views, device, progress)
    scale = block_scale(backbone.dims, features.means[:, : sum(backbone.dims)], shipped=backbone.shipped)
    by_fields = [features.scaled(count, scale) for count in range(1, len(spec.um) + 1)]
    by, group = held_out_groups(sections)
    choice = choose(by_fields, panel, by, group, K)
    chosen = decompose(by_fields[choice.fields - 1]), decompose(panel, choice.components)
    image, spot = fit_heads(*chosen, choice.penalty)
    width = np.tile(scale, choice.fields)
    head = _unscaled(image, width)
    smallest = ScaledMeans(features.unturned, np.ones_like(scale))
    looks = fit_looks(smallest, scale, features.stain, FINE if backbone.shipped else None)
    info = {
        "views": views,
        "recommended_views": views,
        "k": K,
        "key": "expression",
        "aggregation": "projected",
        "licence": backbone.licence,
        "training": {"recipe": RECIPE, **backbone.record, **choice.attrs()},
    }
    encoders = Encoders(
        image=image_tower(backbone.model, backbone.px, choice.fields, head, looks),
        expression=expression_tower(spot),
        tile=TileSpec(backbone.px, spec.um[: choice.fields]),
        panel=tuple(map(str, keys)),
        target_sum=TARGET_SUM,
        info=info,
    )
    findings = _findings(sections, choice)
    if backbone.licence:
        findings.append(Finding("backbone-terms", f"the bundle {backbone.licence}"))
    scaled = by_fields[choice.fields - 1]

    def refit(inside: Bool) -> tuple[F32, F32]:
        rows = some(np.flatnonzero(inside), MOST_TRAINING)
        sides = decompose(scaled[rows]), decompose(panel[rows], choice.components)
        image, spot = fit_heads(*sides, choice.penalty)
        return _embedded(features, choice.fields, _unscaled(image, width)), unit(spot(panel))

    return Fitted(
        encoders=encoders,
        choice=choice,
        embed_images=lambda _: (_embedded(features, choice.fields, head), looks(smallest, features.stain)),
        refit=refit,
        findings=tuple(findings),
    )


def _unscaled(head: LinearHead, width: F32) -> LinearHead:
    """A head of scaled features as one of features as the backbone gives them."""
    return LinearHead(np.asarray(head.mean / width, np.float32), head.weights * width[:, None])


def _panel(sections: Sequence[Section]) -> tuple[Str, F32]:
    """Keys str[p] of the panel's genes, and f32[n, p] their log1p."""
    table = join_genes(sections)
    spots = sum(len(s.barcodes) for s in sections)
    seen = sum(detected(s.counts)[table.columns[s.id]] for s in sections)
    expression = [log1p_normalise(s.counts)[:, table.columns[s.id]] for s in sections]
    columns: I64 = most_variable(expression, PANEL_GENES, np.asarray(seen >= max(1, PANEL_DETECTED * spots)))
    if not len(columns):
        raise ReferenceError("no gene is detected in a tenth of the spots; towers cannot be fitted")
    return table.keys[columns], np.concatenate([e[:, columns].toarray() for e in expression])


def _embedded(features: SpotFeatures, fields: int, head: LinearHead) -> F32:
    """As the image tower embeds the same tiles: each view by itself, then their mean."""
    n, views = features.rows.shape[:2]
    out = np.empty((n, head.weights.shape[1]), np.float32)
    for i, spot in enumerate(features.rows):
        vectors = unit(head(spot[:, :fields].reshape(views, -1)))
        out[i] = vectors[0] if views == 1 else vectors.sum(axis=0)
    return unit(out)


def _findings(sections: Sequence[Section], choice: Choice) -> list[Finding]:
    held_out = {"donor": "a donor", "section": "a section", "block": "a part of the section"}[choice.by]
    fitted = (
        f"towers fitted in closed form: {choice.fields} fields of view, {choice.components} components, penalty "
        f"{choice.penalty:g}, chosen by leaving {held_out} out at a time (mean r {choice.score:.3f})"
    )
    findings = [Finding("towers-fitted", fitted)]
    if choice.by != "donor":
        donor = sections[0].donor
        told = f"the towers are fitted to one donor ({donor}): how well they hold for the next one is not known"
        findings.append(Finding("one-donor", told, mend="add sections of other donors"))
    return findings
