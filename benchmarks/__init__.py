"""Measurements of a running platform: `hops` (latency), `memory`, `kill` (what a killed process costs).

Each prints one table and writes the figures to `<STATE_DIR>/benchmarks/`. Load is bounded and stays on 127.0.0.1.
"""
