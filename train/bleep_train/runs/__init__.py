"""A run folder from its beginning: trained, distilled, exported, recorded.

``bleep-train train``, ``distill`` and ``export`` call it.
"""
