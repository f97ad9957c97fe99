"""Serve `function/handler.py` with granian: one process, no child, `threads` requests at once.

Environment: `PORT` (8080; 5000 is what the watchdog is told), `HOST`, `threads`, and what the handler reads itself.
Paths of its own, for whoever runs the function and not for its callers (404 once a gateway has handled the request):
`/_/health` the process lives, `/_/ready` requests can be answered, `/metrics` in Prometheus' text format.
"""

from __future__ import annotations

import errno
import importlib
import logging
import os
import re
import socket
import sys
import sysconfig
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from granian.constants import Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server import MTServer
from granian.server.common import AbstractServer
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

StartResponse = Callable[..., Any]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

DRAIN_SECONDS = 9.0
"""After the signal to stop, requests in flight have this long; whoever started us waits 10 s."""
IDLE_MS = 75_000
"""An idle connection is closed after this long: later than callers (Kong: 60 s) let go of theirs."""

log = logging.getLogger("function")


class Front:
    """WSGI: answers the operator's paths, and passes everything else to the application.

    `X-Duration-Seconds` is added where no watchdog is in front to add it.
    """

    def __init__(self, app: Application, ready: Callable[[], str | None], *, add_duration: bool) -> None:
        self._app = app
        self._ready = ready
        self._add_duration = add_duration
        self._operations = {"/_/health": self._health, "/_/ready": self._readiness, "/metrics": self._metrics}
        self.stopping = False

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        operation = self._operations.get(environ["PATH_INFO"])
        if operation is not None:
            return self._operate(operation, environ, start_response)
        if not self._add_duration:
            return self._app(environ, start_response)
        started = time.perf_counter()

        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            headers.append(("X-Duration-Seconds", f"{time.perf_counter() - started:.6f}"))
            return start_response(status, headers, exc_info)

        return self._app(environ, start)

    def _operate(
        self,
        operation: Callable[[], tuple[str, str, bytes]],
        environ: Mapping[str, Any],
        start_response: StartResponse,
    ) -> Iterable[bytes]:
        if any(name.startswith("HTTP_X_FORWARDED_") for name in environ):
            status, kind, body = "404 Not Found", "application/problem+json", _NOT_FOUND
        elif environ["REQUEST_METHOD"] not in {"GET", "HEAD"}:
            status, kind, body = "405 Method Not Allowed", "text/plain", b"GET only\n"
        else:
            status, kind, body = operation()
        start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def _health(self) -> tuple[str, str, bytes]:
        return "200 OK", "text/plain", b"OK"

    def _readiness(self) -> tuple[str, str, bytes]:
        fault = "stopping" if self.stopping else self._ready()
        if fault is None:
            return "200 OK", "text/plain", b"OK"
        return "503 Service Unavailable", "text/plain", f"not ready: {fault}\n".encode()

    def _metrics(self) -> tuple[str, str, bytes]:
        return "200 OK", CONTENT_TYPE_LATEST, generate_latest(REGISTRY)


_NOT_FOUND = b'{"type": "about:blank", "title": "Not Found", "status": 404, "code": "not_found"}'


class Server(MTServer):
    """granian with its worker as a thread of this process.

    Its usual server keeps a second process that does nothing but watch: 14 MB for each replica, and a `kill -9` of
    it leaves the worker behind, holding the port. Whoever started us watches us already.
    granian offers the threaded worker for interpreters without a lock; with the lock it works as well (the tests of
    the template hold this to every version), so only its check for such an interpreter is left out.
    """

    stop_delay_seconds = 0.0
    on_stop: Callable[[], None]

    def serve(self, *args: Any, **kwargs: Any) -> None:
        AbstractServer.serve(self, *args, **kwargs)

    def _check_gil(self) -> None:
        return None

    def signal_handler_interrupt(self, *_: Any) -> None:
        """Stop taking connections after `stop_delay_seconds`, finish what is in flight, then exit in any case."""
        self.on_stop()
        later = threading.Timer(self.stop_delay_seconds, super().signal_handler_interrupt)
        at_last = threading.Timer(self.stop_delay_seconds + DRAIN_SECONDS, os._exit, [1])
        for timer in (later, at_last):
            timer.daemon = True
            timer.start()


def stop_delay_seconds(environ: Mapping[str, str]) -> float:
    """How long to go on serving after SIGTERM.

    of-watchdog passes SIGTERM on at once and forwards requests for another `healthcheck_interval`
    (default: `write_timeout`, default 30 s). Without a watchdog in front, whoever stops us has sent callers elsewhere.
    """
    if "upstream_url" not in environ or environ.get("LOCALFAAS"):
        return 0.0
    return _seconds(environ.get("healthcheck_interval") or environ.get("write_timeout") or "30s") + 1.0


def _seconds(duration: str) -> float:
    """Seconds of a Go duration such as `1m30s`, or of a bare number."""
    units = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
    if not re.fullmatch(r"(\d+(\.\d+)?(ms|s|m|h))+|\d+", duration):
        raise SystemExit(f"{duration!r} is not a duration such as 10s")
    return sum(
        float(number) * units[unit] for number, unit in re.findall(r"(\d+(?:\.\d+)?)([a-z]*)", duration)
    )


def load_handler(
    environ: Mapping[str, str],
) -> tuple[Application, Callable[[], str | None], Callable[[], None]]:
    """The application of `function/handler.py`, its readiness and its warm-up; importing it also finds what lies beside it."""
    here = Path(__file__).resolve().parent
    # Python's own modules go first: a file beside the handler may well be called `numbers` or `queue`.
    own = [
        path for path in sys.path if path.startswith(sysconfig.get_path("stdlib")) and "-packages" not in path
    ]
    sys.path[:0] = [str(here), *own, str(here / "function")]
    handler = importlib.import_module("function.handler")
    app = handler.create_app(environ) if hasattr(handler, "create_app") else handler.app
    ready = getattr(handler, "ready", None) or getattr(app, "ready", None) or (lambda: None)
    warm_up = getattr(handler, "warm_up", None) or getattr(app, "warm_up", None) or (lambda: None)
    return app, _guarded(ready), warm_up


def warm(warm_up: Callable[[], None]) -> None:
    """Have the handler do what the first request would else wait for; that it fails keeps nobody from asking."""
    try:
        warm_up()
    except Exception:
        log.exception("the warm-up failed")


def _guarded(ready: Callable[[], str | None]) -> Callable[[], str | None]:
    def guarded() -> str | None:
        try:
            return ready()
        except Exception:
            log.exception("the readiness check failed")
            return "the readiness check failed"

    return guarded


def check_port(host: str, port: int) -> None:
    """Exit with one clear line when another process has the port (granian itself would share it)."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SystemExit(f"cannot listen on {host}:{port}: {error.strerror}") from error
            raise SystemExit(f"port {port} on {host} is taken by another process") from error


def main(environ: Mapping[str, str]) -> None:
    host, port = environ.get("HOST", "0.0.0.0"), int(environ.get("PORT") or "8080")  # noqa: S104 - a container's port
    check_port(host, port)
    try:
        app, ready, warm_up = load_handler(environ)
    except ValueError as error:
        raise SystemExit(str(error)) from error
    front = Front(app, ready, add_duration=bool(environ.get("LOCALFAAS")))
    server = Server(
        "function",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        blocking_threads=int(environ.get("threads") or "1"),
        backlog=1024,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_MS),
        log_level=LogLevels.error,
    )
    server.stop_delay_seconds = stop_delay_seconds(environ)
    server.on_stop = lambda: setattr(front, "stopping", True)
    warm(warm_up)
    server.serve(target_loader=lambda _: front)


if __name__ == "__main__":
    main(os.environ)
