"""A reference made from sections and two towers, or of bundles: grown, cut down, merged; no training stack.

``bleep build-reference`` and ``bleep reference``, the Python face and ``bleep-train export`` call it.
"""
