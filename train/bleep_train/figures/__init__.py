"""The paper's figures from a study's saved predictions.

``bleep-train figures`` calls it, after a study.
"""
