"""`localfaas dashboards`: the process behind :8011, run by supervisord where no Grafana is installed."""

from __future__ import annotations

from waitress import serve as run

from localfaas.dashboards.app import create_app
from localfaas.settings import LOOPBACK, Settings

THREADS = 8
"""A page asks for six panels at a time, which is what a browser opens to one host."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM."""
    run(create_app(settings), host=LOOPBACK, port=settings.port("dashboards"), threads=THREADS, ident=None)
