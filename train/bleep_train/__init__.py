"""BLEEP training: learns the two towers, exports them to ONNX and packs the reference bundle."""

import bleep_cli  # noqa: F401 - it switches dependencies' telemetry off, before any of them is loaded
