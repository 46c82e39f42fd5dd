"""What is chosen by name, each list stated once: options, checks and types are all derived from these.

Light on purpose: the command line reads it before anything else is loaded.
"""

from typing import Literal

Device = Literal["auto", "cpu", "cuda"]
"""Where the image tower is to run; ``auto`` is a GPU where this ONNX Runtime can use one."""

RunsOn = Literal["cpu", "cuda"]
"""Where it really runs."""

Precision = Literal["auto", "fp32", "int8", "fp16"]
"""Of the image tower; ``auto`` is the device's fast one where the bundle holds it at no cost."""

Aggregation = Literal["average", "corrected", "projected", "simple", "weighted", "published-weighted"]
"""How neighbours are combined (``impute.py``, ``correct.py`` and ``project.py`` in
``bleep_cli/prediction/expression``)."""

PLACED: tuple[Aggregation, ...] = ("corrected", "projected")
"""Those that look at where among its neighbours a tile lies, too."""

Key = Literal["expression", "image"]
"""Which embeddings of the reference a query is compared with."""

Plane = Literal["auto", "level0", "bounds"]
"""Where (0, 0) of a mask or of given positions lies: at the corner of the slide, or of its scanned part, as in
QuPath; ``auto`` looks where the tissue is."""

GeneRule = Literal["shared", "base"]
"""Which genes a grown reference holds: those that all of it measures, or all of the base, lacking ones counting as
not detected."""

WEIGHTED_TEMPERATURE = 0.05
"""Of the softmax over cosine that the aggregation ``weighted`` takes."""

MIN_TISSUE = 0.5
"""Least fraction of tissue in a tile."""

OOD_RATE = 0.05
"""Share of the tiles that belong to a reference and are called strange to it all the same."""

Scale = Literal["free", "shared"]
"""What the colours of several genes span in a figure: each its own values, or all the same."""
