"""The protocols of held-out evaluation: what is left out at a time, and what may be seen of it."""

from __future__ import annotations

from typing import Literal

By = Literal["section", "donor"]
"""What is left out at a time."""

DataProtocol = Literal["leak-free", "paper"]
"""What training sees of a held-out section: nothing, or what it sees in the published code (docs/results.md)."""

Truth = Literal["leak-free", "paper", "hest-bench"]
"""What a fold is: a ``DataProtocol``, or a split of HEST-Bench on its genes and its scale."""

BENCH = "hest-bench"

StudyProtocol = Literal["leave-one-section-out", "leave-one-donor-out", "paper", "hest-bench"]
"""Both together, by the name that ``bleep-train evaluate --protocol`` takes."""

LEFT_OUT: dict[StudyProtocol, tuple[By, Truth]] = {
    "leave-one-section-out": ("section", "leak-free"),
    "leave-one-donor-out": ("donor", "leak-free"),
    "paper": ("section", "paper"),
    "hest-bench": ("section", "hest-bench"),  # what its splits name, whole sections
}
