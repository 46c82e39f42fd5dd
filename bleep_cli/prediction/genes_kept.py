"""Which genes a prediction is made of, and what the reference says of how well each is predicted."""

from __future__ import annotations

import numpy as np

from bleep_cli.bundle.learned.per_gene import COLUMNS
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import UsageError, option
from bleep_cli.prediction.options import PredictOptions
from bleep_cli.types import F32, I64, Bool


def genes_kept(bundle: Bundle, options: PredictOptions) -> tuple[I64, dict[str, F32 | Bool]]:
    """Columns i64[g] of the bundle's genes, and by name what is said of each, f32[g], ``reliable`` bool[g].

    Genes whose held-out r is under ``options.min_r``, or not known, are not reliable; they are left out where that
    is asked for. Raises ``UsageError`` for genes that are not there, for a bundle that knows no held-out r, and
    where no gene remains.
    """
    columns, known = bundle.gene_rows(options.genes), bundle.gene_columns()
    said: dict[str, F32 | Bool] = {name: known[name][columns] for name in COLUMNS if name in known}
    if options.min_r is None:
        return columns, said
    if "heldout_r" not in said:
        raise UsageError(
            f"{option('min_r')} {options.min_r:g}: {bundle.name} does not say how well its genes are predicted; "
            "build it anew with bleep build-reference"
        )
    reliable = np.asarray(said["heldout_r"] >= options.min_r)  # NaN is not
    if not options.drop_unreliable:
        return columns, said | {"reliable": reliable}
    if not reliable.any():
        raise UsageError(f"{option('min_r')} {options.min_r:g}: no gene that is asked for reaches it")
    return columns[reliable], {name: values[reliable] for name, values in (said | {"reliable": reliable}).items()}
