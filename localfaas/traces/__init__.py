"""A store of spans that one person can open: OTLP over HTTP in, SQLite, and pages made on the server.

It runs as a process of its own (`python -m localfaas.traces`), only on this machine, and only while TRACES=on.
Whoever sends spans never waits for it: when it is away they drop them.
"""
