"""Tiles of a slide, or around the spots of sections, through the image tower, reading and computing overlapped.

Prediction calls it for slides, building a reference for sections.
"""
