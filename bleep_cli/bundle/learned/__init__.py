"""What is learned of a reference when it is built, and kept in its bundle: how well it predicts each gene, how far
predictions miss, what its tiles look like at which scale, and what corrects and projects predictions.

Building a reference fills it; whatever opens the bundle reads it from here.
"""
