"""Torch towers to ONNX, proved equal; their lower precisions, and what these cost.

Runs call it when they are exported, the feature cache for frozen backbones.
"""
