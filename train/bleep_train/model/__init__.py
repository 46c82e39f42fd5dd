"""The two towers as torch modules, and the contrastive objectives between them.

Training, export and the paper's methods build them here.
"""
