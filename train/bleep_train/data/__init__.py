"""Sections to what towers learn from: panel, log1p, Harmony, cached tiles, tissue between the spots.

Runs and studies prepare their sections here before training begins.
"""
