"""The nearest rows of a reference by cosine: exact, by lists of what lies together, or by an HNSW graph.

The bundle chooses between the two when it is opened; prediction searches.
"""
