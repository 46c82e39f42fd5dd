"""The indexes of a bundle: lists and an HNSW graph of a large reference, stored beside its arrays.

The bundle chooses one when it is opened; when it is written it makes lists, and a graph where they find too little.
"""
