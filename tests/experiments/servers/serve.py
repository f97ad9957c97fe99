"""One arm as a process: `python -m tests.experiments.servers.serve SERVER APPLICATION THREADS POOL`.

The environment is a replica's, with PORT for this arm. The application has the template's front, as a replica has it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.report import PROJECT
from functions.products import handler
from tests.experiments.servers.one_row import application_of

Application = Callable[..., Iterable[bytes]]
Make = Callable[[], Application]
HOST = "127.0.0.1"
CONNECTIONS = 1000
"""More than k6 opens; waitress' own limit is a hundred."""
IDLE_SECONDS = 75


def template() -> Any:
    """The module with which replicas are served."""
    path = PROJECT / "template" / "python3-flask-granian" / "index.py"
    spec = importlib.util.spec_from_file_location("served_by", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_application(application: str, pool: int, environ: Mapping[str, str]) -> Application:
    if application != "products":
        url = (Path(environ["secret_mount_path"]) / "products-db").read_text().strip()
        return application_of(application, url, pool)
    # The pool is one larger than what the application takes for its threads; nothing else of it depends on them.
    app = handler.create_app({**environ, "threads": str(pool - 1)})
    front: Application = template().Front(app, app.ready, add_duration=True)
    return front


def waitress(make: Make, port: int, threads: int) -> None:
    from waitress import serve

    serve(
        make(), host=HOST, port=port, threads=threads, backlog=1024, connection_limit=CONNECTIONS,
        channel_timeout=IDLE_SECONDS, asyncore_use_poll=True,
    )  # fmt: skip


def gunicorn(kind: str) -> Callable[[Make, int, int], None]:
    def serve(make: Make, port: int, threads: int) -> None:
        from gunicorn.app.base import BaseApplication

        class Gunicorn(BaseApplication):  # type: ignore[misc]
            def load_config(self) -> None:
                settings = {
                    "bind": f"{HOST}:{port}", "worker_class": kind, "workers": 1, "threads": threads, "backlog": 1024,
                    "worker_connections": CONNECTIONS, "keepalive": IDLE_SECONDS, "control_socket_disable": True,
                    "loglevel": "error",
                }  # fmt: skip
                for name, value in settings.items():
                    self.cfg.set(name, value)

            def load(self) -> Application:
                return make()

        Gunicorn().run()

    return serve


def granian(make: Make, port: int, threads: int) -> None:
    from granian.constants import Interfaces
    from granian.http import HTTP1Settings
    from granian.log import LogLevels

    server = template().Server(
        "arm", address=HOST, port=port, interface=Interfaces.WSGI, blocking_threads=threads, backlog=1024,
        websockets=False, http1_settings=HTTP1Settings(header_read_timeout=1000 * IDLE_SECONDS), log_level=LogLevels.error,
    )  # fmt: skip
    server.on_stop = lambda: None
    app = make()
    server.serve(target_loader=lambda _: app)


SERVERS: Mapping[str, Callable[[Make, int, int], None]] = {
    "waitress": waitress,
    "sync": gunicorn("sync"),
    "gthread": gunicorn("gthread"),
    "granian": granian,
}


def main(arguments: list[str]) -> None:
    server, application, threads, pool = arguments
    SERVERS[server](
        lambda: make_application(application, int(pool), os.environ), int(os.environ["PORT"]), int(threads)
    )


if __name__ == "__main__":
    main(sys.argv[1:])
