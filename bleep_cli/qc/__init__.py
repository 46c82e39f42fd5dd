"""A slide judged before it is predicted: scale, stain, focus, ink, and how much of it looks like the reference.

``bleep qc`` calls it, with a slide and, where there is one, the reference that is to predict it.
"""
