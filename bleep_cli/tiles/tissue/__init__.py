"""What a slide shows: tissue, pen ink and glass, found on its overview.

The mask calls it when tiles are laid, and so does whatever judges a slide.
"""
