"""How well predicted and measured expression agree, gene by gene, with intervals, and the tables that tell it.

Studies and evaluations call it once predictions are there.
"""
