"""A reference made from sections and two towers, or grown from a bundle; no training stack.

``bleep build-reference``, the Python face and ``bleep-train export`` call it.
"""
