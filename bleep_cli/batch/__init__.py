"""Many slides in one call: targets checked before the first slide is read, one bad slide not costing the others,
and what ``--resume`` may leave out.

The commands and the cluster's workers call it.
"""
