"""Towers fitted in closed form to a cohort's own spots: regularised canonical correlation between features of a
frozen backbone and expression, in NumPy, in seconds, without a training stack.

The public face calls it for ``build-reference``, where neither encoders nor a base are given; training for ONNX
models that users hold.
"""
