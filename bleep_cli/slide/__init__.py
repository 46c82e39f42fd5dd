"""A slide of any format as RGB u8 at any scale, or a refusal that says what is wrong with the file.

``open.open_slide`` is the door; it returns a :class:`bleep_cli.types.Slide`. Behind it a format only brings
levels of whole pixels (``vendor`` by OpenSlide, ``tiff`` by a reader of its own, ``flat`` for pictures decoded
whole) and says what else is known of them (``facts``, which ``bleep inspect`` tells). ``turn`` follows an
orientation tag, ``look`` looks whether there is a coloured picture at all, ``raster`` resamples all of them alike,
``mpp`` settles how large a pixel is, ``depth`` how many bits of a sample are used, ``pixels`` makes RGB on white
of the samples a file stores, ``series`` puts the files of one DICOM slide together; ``limits`` and ``jpeg_header``
stand before the decoders.

Rooms that read pixels call it: tiles, prediction, batch and checks, and training's figures.
"""
