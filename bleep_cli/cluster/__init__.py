"""The same work on the workers of a Dask scheduler that somebody runs (docs/cluster.md).

Only the commands call it, where ``--scheduler`` is given.
"""
