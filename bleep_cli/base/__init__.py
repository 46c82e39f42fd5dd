"""What knows neither slides nor genes: files that appear whole, tables read by rows, hashes, other libraries'
errors, this machine, and what keeps dependencies quiet.

Every other room calls it; it calls none.
"""
