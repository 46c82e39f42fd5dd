"""The commands that take results: what is made of predictions that are written already.

``cli.py`` registers them beside the others.
"""
