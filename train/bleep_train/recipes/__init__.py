"""Recipes for references of public data: where the files are, under which terms, how they become a reference.

``bleep-train recipe`` reads a manifest here, finds its files in a folder, or fetches them from their makers, and reads the
sections. Nothing is passed on: a manifest holds addresses, sizes and hashes, no data. This is the only room of either
package that opens a network connection, and only when a folder to download to is named.
"""
