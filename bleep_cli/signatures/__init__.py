"""How a reference's tissue looks at its own scale and at wrong ones, and a slide weighed against that.

Building and growing a reference make the signature, every plan of a slide weighs the slide by it.
"""
