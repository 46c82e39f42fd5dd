"""How far a reference can be trusted, measured on spots that were left out of it: gene by gene, and how far
its own tissue lies from itself.

The Python face calls it once a reference is built, grown, cut down or merged, before it is written.
"""
