"""Plain and OME TIFF, read strictly: directories, pages, the pyramid and its tiles.

``open_slide`` calls it for TIFF files that OpenSlide does not know.
"""
