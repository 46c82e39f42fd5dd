"""The indexes of a bundle: lists and an HNSW graph of a large reference, stored beside its arrays.

The bundle chooses one when it is opened; writing makes lists, and a graph where these find too little.
"""
