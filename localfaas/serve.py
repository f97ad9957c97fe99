"""`localfaas serve`: the API process, run by supervisord. It is never on the data path.

One process holds the OpenFaaS API (on a Unix socket, behind the gateway Envoy), the edge's admin API (:8001), the
gateway's metrics (:8082), the reconciler and the schedules.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from waitress.server import create_server

from localfaas.api import ApiContext, create_app, create_metrics_app
from localfaas.cron import Schedules
from localfaas.edge import Edge, create_admin_app
from localfaas.gateway import write_gateway
from localfaas.images import resolve
from localfaas.registry import Registry
from localfaas.replicas import Reconciler
from localfaas.rotation import rotate_logs
from localfaas.settings import LOOPBACK, Settings
from localfaas.supervisor import Supervisor

API_THREADS = 32
"""Each `logs --follow` holds one."""
ADMIN_THREADS = 4
ROTATION_SECONDS = 30.0
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"

log = logging.getLogger("localfaas")


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format=LOG_FORMAT, stream=sys.stdout)
    logging.Formatter.converter = time.gmtime
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    registry, edge = Registry(settings.deployments), Edge(settings)
    reconciler = Reconciler(
        settings,
        registry,
        Supervisor(settings),
        publish=edge.update_membership,
        publish_gateway=lambda desired: write_gateway(settings, desired),
    )
    schedules = Schedules(settings.url("gateway"))
    threads = [threading.Thread(target=reconciler.run, name="reconciler", daemon=True)]
    threads += [
        threading.Thread(target=server.run, daemon=True)
        for server in _servers(settings, registry, edge, reconciler)
    ]
    for thread in threads:
        thread.start()
    schedules.start()
    schedules.follow(registry)
    log.info("ready")
    stopped = _stop_on_signals()
    while not stopped.wait(ROTATION_SECONDS):
        rotate_logs(settings.logs)
        edge.renew_certificate()
    schedules.stop()
    reconciler.stop()


def _servers(settings: Settings, registry: Registry, edge: Edge, reconciler: Reconciler) -> list[Any]:
    context = ApiContext(
        settings=settings,
        registry=registry,
        available=reconciler.available,
        replicas=reconciler.replicas,
        resolve_image=lambda image: resolve(settings.project, settings.builds, image),
        programs=reconciler.programs,
    )
    return [
        api_server(create_app(context), settings.api_socket),
        _on_loopback(create_admin_app(edge), settings.port("edge-admin")),
        _on_loopback(create_metrics_app(context), settings.port("gateway-metrics")),
    ]


def api_server(app: Any, path: Path) -> Any:
    """waitress on a Unix socket in place of whatever was there; it tells the application when a client has left."""
    path.unlink(missing_ok=True)
    return create_server(
        app,
        unix_socket=str(path),
        unix_socket_perms="600",
        threads=API_THREADS,
        channel_request_lookahead=1,  # with less, waitress does not look at the connection of a request that it serves
    )


def _on_loopback(app: Any, port: int) -> Any:
    return create_server(app, host=LOOPBACK, port=port, threads=ADMIN_THREADS, ident=None)


def _stop_on_signals() -> threading.Event:
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    return stopped
