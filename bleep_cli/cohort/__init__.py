"""Measured sections: the cohort file and a reader for each format they come in, all to ``Section``.

Building a reference, training and evaluation read their sections here, before anything else.
"""
