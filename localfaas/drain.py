"""Serve a WSGI application with waitress until SIGTERM; what is in flight then is finished first.

Used by the watchdog and, as a copy beside their `index.py`, by the templates python3-http and python3-flask: it needs
waitress and nothing of localfaas.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

from waitress import wasyncore
from waitress.server import create_server

DRAIN_SECONDS = 9.0
"""After the signal to stop, requests in flight have this long; whoever started us waits 12 s."""
CONNECTIONS = 1000


def serve(app: Callable[..., Any], host: str, port: int, threads: int) -> None:
    """Answer at `host:port`, `threads` requests at once; returns when stopped."""
    server: Any = create_server(
        app,
        host=host,
        port=port,
        threads=threads,
        connection_limit=CONNECTIONS,
        asyncore_use_poll=True,
        ident=None,
        # X-Forwarded-For and its like are for the function to see: only the gateway can reach this port.
        clear_untrusted_proxy_headers=False,
    )
    stopped: list[int] = []

    def stop(number: int, _: Any) -> None:
        stopped.append(number)
        server.pull_trigger()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stopped:
        _turn(server, 1.0)
    # The listener alone: the server's own `close` would also end the wake-ups that send answers.
    wasyncore.dispatcher.close(server)
    deadline = time.monotonic() + DRAIN_SECONDS
    while _in_flight(server) and time.monotonic() < deadline:
        _turn(server, 0.1)


def _turn(server: Any, seconds: float) -> None:
    wasyncore.loop(timeout=seconds, use_poll=True, map=server._map, count=1)


def _in_flight(server: Any) -> bool:
    return any(
        channel.request or channel.requests or channel.total_outbufs_len
        for channel in list(server.active_channels.values())
    )
