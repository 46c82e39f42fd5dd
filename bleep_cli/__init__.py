"""BLEEP runtime: spatial gene expression from an H&E slide, without a training stack."""

from importlib.metadata import PackageNotFoundError, version

from bleep_cli.base import privacy

privacy.switch_off()  # before anything of this package can load ONNX Runtime

try:
    __version__ = version("bleep-cli")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
