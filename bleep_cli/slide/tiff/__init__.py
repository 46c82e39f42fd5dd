"""Plain and OME TIFF, read strictly: directories, pages, the pyramid and its tiles, decoded once.

What it may be asked for: ``raster.TiffRaster(path, cache_bytes)``, the levels and claims of one file, from
``slide.open`` alone. A contract in pyproject.toml keeps all but the room ``slide`` from importing it.

Why a reader of its own:

- A general TIFF library guesses its way through broken tags, and its errors are those of whatever line stumbled.
  Of the 74 damaged files of the tests, tifffile 2026.3.3 turned 23 into an array, most of them empty, and
  stopped at others with TypeError, IndexError or ZeroDivisionError. Here a file that would need guessing is a
  ``SlideError`` of one line: a wrong image gives predictions that look right.
- The limits are this project's: directories, entries, bytes of a tag, bytes decoded, decoded to stored (``ifd``,
  ``page``, ``slide.claimed``). They are checked before a decoder sees a byte: no small file claims all memory.
- The LZW decoder of imagecodecs (2025.11.11) kills the process on damaged data; LZW goes through libtiff instead
  (``codec``). The other codecs are imagecodecs', as in tifffile.
- Native tiles, decoded once per band and kept for every field of view that touches them, are what the rates of
  reading in docs/performance.md come from; directories held as arrays make finding one a look-up.

That its pixels are those of tifffile and of libtiff, on files that other programs wrote, is a test:
tests/runtime/slide/test_tiff_differential.py.
"""
