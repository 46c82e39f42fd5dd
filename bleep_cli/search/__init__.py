"""The nearest rows of a reference by cosine: exact, or by an HNSW graph that is built, kept and measured here.

The bundle chooses between the two when it is opened; prediction searches.
"""
