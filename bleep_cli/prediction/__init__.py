"""One slide to its expression: options, plan, neighbours, weights, expression in blocks, provenance.

The batch calls it for every slide of a command, the Python face for one.
"""
