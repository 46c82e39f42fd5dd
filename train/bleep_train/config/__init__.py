"""What a run is: frozen dataclasses, and the TOML that they are read from and written to.

Every command reads it first; runs keep it beside their weights.
"""
