"""A reader for each format that measured sections come in: one file here, one line in ``READERS``.

The cohort file takes its keys from them and opens its sections with them; nothing else calls a reader.
"""
