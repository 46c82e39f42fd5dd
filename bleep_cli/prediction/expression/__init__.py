"""Neighbours to expression: weights, the mean, how far they spread around it, the
correction, the projection on components, and draws.

The prediction calls it once a slide's tiles have their neighbours; reliability and fitting for spots left out.
"""
