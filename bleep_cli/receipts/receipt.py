"""The receipt of a value: the K measured spots behind a tile, what was measured there, and what comes of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from bleep_cli.bundle.learned.components import Components
from bleep_cli.bundle.open import Bundle
from bleep_cli.choices import PLACED, WEIGHTED_TEMPERATURE
from bleep_cli.errors import ReferenceError, UsageError, option
from bleep_cli.outputs.blocks import gene_columns, row_values
from bleep_cli.prediction.excluded import along_without, spots_without
from bleep_cli.prediction.expression.correct import offsets, shifted
from bleep_cli.prediction.expression.impute import DENSE_BYTES, impute_blocks, weigh
from bleep_cli.prediction.expression.place import Along, placed
from bleep_cli.prediction.level.shift import LEVEL_SHIFT
from bleep_cli.types import F32, I64, Neighbours, Prediction


@dataclass(frozen=True)
class Spot:
    """A measured spot behind a tile."""

    row: int
    """Its row in the reference."""
    section: str
    """Id of its section."""
    donor: str
    """Whom it is from."""
    barcode: str
    """Its name within the section."""
    x_l0: float
    """Of its centre, in level-0 px of its section's image."""
    y_l0: float
    similarity: float
    """Cosine to the tile."""
    weight: float
    """Its part in the mean; 0 for a spot of a donor that is left out."""
    measured: float
    """Its own log1p expression of the gene."""
    seen: float
    """The same as the components of the reference see it where predictions are projected on them; else what was
    measured."""


@dataclass(frozen=True)
class Receipt:
    """One predicted value, and where it comes from. Expression is log1p of counts per the bundle's target sum."""

    tile_id: str
    """Of the tile."""
    gene: str
    """Its symbol."""
    predicted: float
    """As the result has it."""
    recomputed: float
    """From the spots; without the donors that are left out, what the prediction would have been without them."""
    mean: float
    """Of what was measured at the spots, by weight."""
    projection: float
    """By how much the mean of what the components see lies above it where predictions are projected; 0
    otherwise."""
    correction: float
    """What the tile's own place adds to that where predictions are corrected or projected; 0 otherwise."""
    level: float
    """What the level of measured sections adds to that, where it was asked for; 0 otherwise."""
    aggregation: str
    """How the spots were combined."""
    without: tuple[str, ...]
    """Donors that are left out."""
    spots: tuple[Spot, ...]
    """The K spots, nearest first."""

    def plain(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """For a person."""
        head = f"tile {self.tile_id}, {self.gene}: {self.predicted:.4f} predicted"
        sums = f"{self.aggregation} of {len(self.spots)} spots: mean {self.mean:.4f}"
        if self.projection:
            sums += f", {self.projection:+.4f} for what the components of the reference see of them"
        if self.correction:
            sums += f", corrected by {self.correction:+.4f} for where the tile lies between them"
        if self.level:
            sums += f", moved by {self.level:+.4f} to the level that was asked for"
        sums += f" = {self.recomputed:.4f}"
        if self.without:
            sums += f" without donor {', '.join(self.without)}"
        wide = max(len(f"{s.section} {s.barcode}") for s in self.spots)
        rows = [
            f"  {place:>3}  {f'{s.section} {s.barcode}':<{wide}}  donor {s.donor:<8} "
            f"similarity {s.similarity:.3f}  weight {s.weight:.3f}  measured {s.measured:.4f}"
            + (f"  seen {s.seen:.4f}" if self.projection else "")
            for place, s in enumerate(self.spots, 1)
        ]
        return [head, sums, *rows]


def receipts(
    result: Prediction, bundle: Bundle, tile_id: str, genes: Sequence[str], without_donors: Sequence[str] = ()
) -> list[Receipt]:
    """The receipts of one tile's values, a gene each.

    ``without_donors`` gives spots of those donors no weight, the others theirs: what the listed spots alone would
    have said. Raises ``ReferenceError`` for another bundle than the result's, ``UsageError`` for a tile, gene or
    donor that is not there, or where no spot is left.
    """
    check_same(result, bundle)
    row = _row(result, tile_id)
    columns = gene_columns(result, genes)
    in_bundle = bundle.gene_rows([str(i) for i in result.gene_ids[columns]])
    one = _one_tile(result, row)
    index = one.neighbours.index[0]
    donors = bundle.spots("donor")[index]
    weights, offset = _weights(one, bundle, np.isin(donors, _known(without_donors, donors, tile_id)))
    expression = bundle.expression_to_average(in_bundle, DENSE_BYTES)
    ((_, mean),) = impute_blocks(one.neighbours, weights, expression)
    measured = np.stack([np.asarray(expression[int(i) : int(i) + 1])[0] for i in index])
    along = _along(one, bundle, in_bundle)
    said, seen = mean, measured
    if isinstance(along, Components):
        seen = along.seen(index)
        said = np.asarray(weights.astype(np.float64) @ seen, np.float32)
    ((_, moved),) = placed([(0, mean)], one.neighbours, weights, offset, along)
    shift = _shift(result, columns)
    ((_, value),) = shifted([(0, moved)], shift)
    predicted = row_values(result, row)[columns]
    section, barcode, xy_l0 = bundle.spots("section"), bundle.spots("barcode"), bundle.xy_l0()
    return [
        Receipt(
            tile_id=tile_id,
            gene=str(result.symbols[column]),
            predicted=float(predicted[g]),
            recomputed=float(value[0, g]),
            mean=float(mean[0, g]),
            projection=float(said[0, g] - mean[0, g]),
            correction=float(moved[0, g] - said[0, g]),
            level=float(shift[g]),
            aggregation=_options(result)["aggregation"],
            without=tuple(without_donors),
            spots=tuple(
                Spot(
                    row=int(i),
                    section=str(section[i]),
                    donor=str(donors[k]),
                    barcode=str(barcode[i]),
                    x_l0=float(xy_l0[i, 0]),
                    y_l0=float(xy_l0[i, 1]),
                    similarity=float(one.neighbours.similarity[0, k]),
                    weight=float(weights[0, k]),
                    measured=float(measured[k, g]),
                    seen=float(seen[k, g]),
                )
                for k, i in enumerate(index)
            ),
        )
        for g, column in enumerate(columns)
    ]


def recomputed(result: Prediction, bundle: Bundle) -> Iterator[tuple[int, F32]]:
    """``(first row, f32[b, g])``: every value of a result computed again from the spots that it lists."""
    check_same(result, bundle)
    columns = bundle.gene_rows([str(i) for i in result.gene_ids])
    weights, offset = _weights(result, bundle, None)
    means = impute_blocks(result.neighbours, weights, bundle.expression_to_average(columns, DENSE_BYTES))
    blocks = placed(means, result.neighbours, weights, offset, _along(result, bundle, columns))
    return shifted(blocks, _shift(result, np.arange(len(columns))))


def check_same(result: Prediction, bundle: Bundle) -> None:
    """Raises ``ReferenceError`` unless the result was predicted from this bundle."""
    reference = result.provenance["reference"]
    if reference["content_sha256"] != bundle.content_sha256:
        raise ReferenceError(
            f"{option('ref')} {bundle.name} ({bundle.content_sha256[:12]}) is not what this result was predicted "
            f"from: {reference['name']} ({reference['content_sha256'][:12]})"
        )


def _options(result: Prediction) -> dict[str, Any]:
    return dict(result.provenance["options"])


def _row(result: Prediction, tile_id: str) -> int:
    found = np.flatnonzero(result.grid.tile_id == tile_id)
    if not len(found):
        raise UsageError(f"{option('tile')} {tile_id}: there is no such tile; there are {_some(result)}")
    return int(found[0])


def _some(result: Prediction) -> str:
    names = [str(name) for name in result.grid.tile_id[:3]]
    return ", ".join(names) + (f" and {len(result.grid) - 3} more" if len(result.grid) > 3 else "")


def _known(donors: Sequence[str], behind: Any, tile_id: str) -> list[str]:
    there = sorted(set(map(str, behind)))
    unknown = [donor for donor in donors if donor not in there]
    if unknown:
        raise UsageError(
            f"{option('without_donor')} {', '.join(unknown)}: no spot behind tile {tile_id} is of it; "
            f"they are of {', '.join(there)}"
        )
    if set(donors) == set(there):
        raise UsageError(f"{option('without_donor')}: every spot behind tile {tile_id} is of {', '.join(there)}")
    return list(donors)


def _one_tile(result: Prediction, row: int) -> Prediction:
    found = result.neighbours
    one = Neighbours(found.index[row : row + 1], found.similarity[row : row + 1])
    return replace(
        result, neighbours=one, obsm={name: values[row : row + 1] for name, values in result.obsm.items()}
    )


def _weights(result: Prediction, bundle: Bundle, left_out: Any) -> tuple[F32, F32]:
    """f32[n, k], and how far the tiles lie from the weighted mean of their spots, f32[n, d]; d = 0 where that
    does not correct them.

    ``left_out`` bool[k] of the only tile are spots without a weight.
    """
    options, found = _options(result), result.neighbours
    how = options["aggregation"]
    full = weights = weigh(found, how, float(options.get("temperature", WEIGHTED_TEMPERATURE)))
    if left_out is not None and left_out.any():
        weights = np.where(left_out, np.float32(0), full)
        if weights.sum() > 0:
            weights = weights / weights.sum()
        else:  # "simple": the nearest of those that are left
            weights = np.zeros_like(full)
            weights[0, int(np.flatnonzero(~left_out)[0])] = 1
    if how not in PLACED:
        return weights, np.zeros((len(weights), 0), np.float32)
    if "offset" not in result.obsm:
        raise UsageError("this result does not say by what it was corrected; predict the slide again")
    offset = result.obsm["offset"]
    if weights is full:
        return full, offset
    images = bundle.embeddings("image")
    vector = offset - offsets(np.zeros_like(offset), found, full, images)
    return weights, offsets(vector, found, weights, images)


def _shift(result: Prediction, columns: I64) -> F32:
    """f32[g] by how much these genes of the result were moved."""
    stored = result.var.get(LEVEL_SHIFT)
    return np.zeros(len(columns), np.float32) if stored is None else np.asarray(stored, np.float32)[columns]


def _along(result: Prediction, bundle: Bundle, columns: I64) -> Along:
    """What the result was corrected by, of the spots that had a part in it."""
    left_out = result.provenance["reference"].get("left_out", ())  # results of earlier versions left nothing out
    kept = spots_without(bundle, [str(name) for name in left_out])
    return along_without(bundle, columns, _options(result)["aggregation"], kept)
