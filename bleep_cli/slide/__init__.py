"""A slide of any format as RGB u8 at any scale, or a refusal that says what is wrong with the file:
``open_slide``.

Rooms that read pixels call it: tiles, prediction, checks.
"""
