"""A prediction for other programs: tables of CSV and Parquet, QuPath's GeoJSON, OME-TIFF,
SpatialData, CELLxGENE. Not read back.

``FORMATS`` of ``outputs`` calls them: when ``bleep predict`` has written its result, and for ``bleep convert``.
"""
