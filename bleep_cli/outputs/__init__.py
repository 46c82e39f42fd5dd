"""A prediction as files: h5ad, Zarr, a picture; every format is one file here and one line in ``FORMATS``.

The batch writes through it once a slide is predicted.
"""
