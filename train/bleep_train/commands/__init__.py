"""The ``bleep-train`` commands: options in, words out.

``__main__.py`` registers them; each calls the rooms below it.
"""
