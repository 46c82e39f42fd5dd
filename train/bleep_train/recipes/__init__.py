"""Recipes for references of public data: where the files are, under which terms, how they become a reference.

``bleep-train recipe`` reads a manifest here, finds its files in a folder, or fetches them from their makers, and
reads the sections. Nothing is passed on: a manifest holds addresses, sizes and hashes, no data. Downloads go by
https, and only to a folder that was named for them.
"""
