"""Measurements of a running platform, or of one of their own; README.md lists them.

Each prints one table and writes the figures to `<STATE_DIR>/benchmarks/`. Load is bounded and stays on 127.0.0.1.
"""
