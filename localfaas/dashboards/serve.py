"""`localfaas dashboards`: the process behind :8011, run by supervisord where no Grafana is installed."""

from __future__ import annotations

from waitress import serve as run

from localfaas.dashboards.app import create_app
from localfaas.settings import LOOPBACK, Settings

THREADS = 8
"""A page asks for six panels at a time, which is what a browser opens to one host."""


def serve(settings: Settings, port: int) -> None:
    """Serve on 127.0.0.1 at `port` until SIGTERM."""
    run(create_app(settings), host=LOOPBACK, port=port, threads=THREADS, ident=None)
