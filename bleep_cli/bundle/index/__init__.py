"""The indexes of a bundle: lists and an HNSW graph of a large reference, stored beside its arrays.

The bundle chooses one when it is opened, and makes both when it is written.
"""
