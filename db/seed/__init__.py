"""What a shop needs before its first customer: keys, demonstration data, and a retailer's catalogue.

Commands, each with `--help`: `secrets`, `token`, `demo`, `online_retail`, `rotate_keys` (`python -m db.seed.<name>`).
Data is loaded through the public HTTP API, so that it passes the same checks as everyone's.
"""
