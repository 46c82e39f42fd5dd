"""What the readers of sections have in common: what a reader is, counts joined with positions, pieces of formats.

The readers call it, and nothing else but the registry and the cohort file, which ask what a reader declares.
"""
