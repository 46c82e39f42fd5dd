"""Files: results that appear whole or not at all, arrays kept on disk, TOML, JSON and tables as people write them.

Called by every room that reads or writes a file of a user's, at the moment it does.
"""
