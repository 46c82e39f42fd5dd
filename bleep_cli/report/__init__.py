"""A result as one HTML page that needs no network: its maps, its reference, what was noticed, how it was made.

The batch and the command ``report`` call it once a prediction is there. What the page does in a browser lies in
``assets/``, plain JavaScript and CSS.
"""
