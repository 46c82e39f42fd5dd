"""A result as a person looks at it: one HTML page that needs no network, or a figure of several genes.

The batch and the commands ``report`` and ``plot`` call it once a prediction is there. What the page does in a
browser lies in ``assets/``, plain JavaScript and CSS.
"""
