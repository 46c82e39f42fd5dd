"""BLEEP training: learns the two towers, exports them to ONNX and packs the reference bundle."""
