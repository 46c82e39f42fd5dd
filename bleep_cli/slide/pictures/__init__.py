"""Flat pictures (JPEG, PNG, ...) as slides: decoded whole, and kept in a temporary file for the next reader.

Called by ``slide.open`` for what is neither TIFF nor a vendor's format; a build keeps its sections' pictures.
"""
