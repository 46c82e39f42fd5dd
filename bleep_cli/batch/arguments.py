"""What the options of a batch mean: gene lists, formats, the gene of the picture."""

from __future__ import annotations

from pathlib import Path

from bleep_cli.batch.resume import PICTURE
from bleep_cli.bundle.open import Bundle
from bleep_cli.errors import UsageError
from bleep_cli.outputs.formats import FORMATS


def gene_list(genes: str | None) -> tuple[str, ...] | None:
    """``--genes``: names separated by commas, or a file with one a line; None for all."""
    if genes is None:
        return None
    file = Path(genes)
    text = file.read_text(encoding="utf-8") if "," not in genes and file.is_file() else genes
    names = tuple(name for name in text.replace(",", "\n").split() if name)
    if not names:
        raise UsageError("--genes names no gene")
    return names


def shown_gene(bundle: Bundle, gene: str, genes: tuple[str, ...] | None) -> str:
    """The symbol of the picture's gene, checked before the work starts."""
    row = int(bundle.gene_rows([gene], "--gene")[0])
    if genes is not None and row not in bundle.gene_rows(genes):
        raise UsageError(f"--gene {gene} is not among --genes")
    return str(bundle.symbols[row])


def parse_formats(formats: str) -> list[str]:
    """``--format``: table formats and ``png``."""
    chosen = [name.strip() for name in formats.split(",") if name.strip()]
    known = [*FORMATS, PICTURE]
    unknown = [name for name in chosen if name not in known]
    if unknown or not chosen:
        raise UsageError(f"--format {formats}: choose among {', '.join(known)}")
    return chosen
