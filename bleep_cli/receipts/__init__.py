"""Where a predicted value comes from: the measured spots behind it, and the value computed again from them.

``bleep explain`` calls it, after everything else: with a result that was written and the bundle that it came from.
"""
