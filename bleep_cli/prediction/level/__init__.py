"""The measured level of one's own sections, which predictions can be moved to.

The predictor calls it when it is made ready, where ``--level-of`` is asked for; receipts read what it wrote.
"""
