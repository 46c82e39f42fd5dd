"""Image networks by name behind one protocol: EfficientNet-Lite0, torchvision's, timm's, the user's own
code, the user's own ONNX model.

Towers, ST-Net and the feature cache build their backbone here.
"""
