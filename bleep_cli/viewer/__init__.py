"""A slide at full resolution with its predicted genes over it, in a browser on this machine.

The command ``view`` calls it, after everything else: with a result that was written and the slide that it is of.
What the page does lies in ``assets/``, plain JavaScript and CSS; OpenSeadragon is put beside it by the build.
"""
