"""Held-out evaluation: protocols × methods × folds × seeds, saved predictions, tables, ablations, a bundle's
own.

``bleep-train evaluate`` and ``ablate`` call it; the figures read what it saved.
"""
