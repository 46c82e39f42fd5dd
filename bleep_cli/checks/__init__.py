"""Is it sound? This installation, a bundle, a slide, the demo against its known truth.

``bleep doctor``, ``bleep inspect`` and ``bleep demo`` call it.
"""
