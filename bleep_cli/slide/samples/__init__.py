"""Samples as a file stores them, to RGB of 8 bits: which of them are colours, and how many bits of them are used.

Every format calls it: when a picture is opened, to settle what its samples are, and for each block that is read.
"""
