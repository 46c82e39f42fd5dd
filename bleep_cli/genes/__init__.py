"""Gene names, the columns that two gene lists share, and counts to log1p: one definition of each.

Reading a cohort, building and growing a reference, and evaluation call it.
"""
