"""BLEEP: spatial gene expression from an H&E slide, offline and without a training stack.

The public names are those of ``__all__``; each is loaded when it is first used, so that importing the package
stays light. docs/api.md shows them at work. Whatever is not listed here may change without notice.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bleep_cli.base import privacy
from bleep_cli.errors import (
    BleepError,
    DeviceError,
    OutputError,
    ReferenceError,
    SlideError,
    UsageError,
)

privacy.switch_off()  # before anything of this package can load ONNX Runtime

if TYPE_CHECKING:
    from bleep_cli.api import (
        Built,
        Bundle,
        Neighbours,
        Prediction,
        PredictOptions,
        Predictor,
        Section,
        Slide,
        TileGrid,
        TileSpec,
        build_reference,
        describe,
        grow_reference,
        merge_references,
        open_bundle,
        open_result,
        open_slide,
        predict,
        read_cohort,
        shrink_reference,
        to_anndata,
        write,
    )
    from bleep_cli.base.version import __version__

__all__ = [
    "BleepError",
    "Built",
    "Bundle",
    "DeviceError",
    "Neighbours",
    "OutputError",
    "PredictOptions",
    "Prediction",
    "Predictor",
    "ReferenceError",
    "Section",
    "Slide",
    "SlideError",
    "TileGrid",
    "TileSpec",
    "UsageError",
    "__version__",
    "build_reference",
    "describe",
    "grow_reference",
    "merge_references",
    "open_bundle",
    "open_result",
    "open_slide",
    "predict",
    "read_cohort",
    "shrink_reference",
    "to_anndata",
    "write",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        home = "bleep_cli.base.version" if name == "__version__" else "bleep_cli.api"
        return getattr(import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
