"""The files of a bundle, in a folder or a zip, as arrays: everything checked before a value is used.

Whatever opens a bundle begins here; above it everything that is read is of a known kind, shape and size.
"""
