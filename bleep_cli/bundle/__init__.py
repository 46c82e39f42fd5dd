"""THE reference format (docs/bundle-format.md): what a bundle holds, and how it is opened, read in part, written
and verified.

Whatever needs a reference opens it here; ``build-reference`` and export write it here.
"""
