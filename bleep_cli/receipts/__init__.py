"""Where a predicted value comes from: the measured spots behind it, and the value computed again from them.

Called by ``bleep explain`` with a result that was written and the bundle that it came from.
"""
