"""The ``bleep`` commands: options in, words out; only here is anything printed.

``cli.py`` registers them; each calls the rooms below it once its options are read.
"""
