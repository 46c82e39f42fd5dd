"""A tissue mask that the user gives: GeoJSON polygons with their classes, or a picture, laid over a slide.

``read.read_mask_file`` is the door; ``tiles`` opens it once a slide is open and asked to use a mask.
"""
