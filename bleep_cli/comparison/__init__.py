"""Groups of patients compared by the results of their slides, the patient being the unit: tables and one page.

The command ``cohort`` calls it once the slides are predicted; ``compare.compare_groups`` is the door.
"""
