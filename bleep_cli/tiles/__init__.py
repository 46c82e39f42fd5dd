"""Where tiles lie (tissue, mask files, the grid, given positions, a section's spots) and the stream of their
pixels.

Embedding and planning call it, once a slide is open.
"""
