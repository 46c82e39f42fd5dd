"""Pictures as matplotlib figures; nothing here writes a file.

Outputs call it to draw a result; the paper's figures share its style.
"""
