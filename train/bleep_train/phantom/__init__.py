"""The synthetic liver section with a known truth: tissue, cells, genes, spots, and the files a scanner and a
sequencer would have written.

``bleep-train phantom``, the demo's maker and the tests call it; it calls nothing of training.
"""
