"""The two towers as encoders, on ONNX Runtime: device, precision, uint8 tiles or log1p in, unit vectors out.

Embedding, building a reference and ``bleep doctor`` call it with the bytes of a bundle's towers.
"""
