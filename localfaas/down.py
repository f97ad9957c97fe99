"""`localfaas down`: requests in flight finish, then everything stops, PostgreSQL last."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress

from localfaas.envoy import drain
from localfaas.settings import Settings
from localfaas.strays import end_strays, platform_processes
from localfaas.supervisor import Supervisor, SupervisorError

DRAIN_SECONDS = 20.0
STOP_SECONDS = 60.0
STATE = (
    "alertmanager",
    "benchmarks",
    "build",
    "envoy",
    "functions",
    "grafana",
    "logs",
    "ports.json",
    "postgres",
    "postgres-exporter",
    "prometheus",
    "run",
    "secrets",
    "secrets-of",
    "supervisor",
    "traces",
)
"""Everything the platform makes below the state directory."""


def down(settings: Settings) -> int:
    """Stop the platform; return how many processes had to be ended without supervisord (0 is the normal case)."""
    supervisor = Supervisor(settings)
    if supervisor.is_running():
        for node in ("edge", "gateway"):
            drain(settings.envoy_admin_socket(node), DRAIN_SECONDS)
        _stop_together(supervisor)
        supervisor.shutdown()
        deadline = time.monotonic() + STOP_SECONDS
        while platform_processes(settings) and time.monotonic() < deadline:
            time.sleep(0.1)
    return end_strays(settings)


def _stop_together(supervisor: Supervisor) -> None:
    """Stop everything but PostgreSQL at once: supervisord, told to end, takes a second for each program it knows.

    The API is stopped before the rest, which it would start again.
    """
    names = [name for name in supervisor.processes() if name != "postgres"]
    with suppress(SupervisorError):  # what is left is ended with supervisord
        supervisor.stop("api")
        supervisor.wait_stopped(["api"], STOP_SECONDS)
        for name in names:
            supervisor.stop(name)
        supervisor.wait_stopped(names, STOP_SECONDS)
        for name in names:
            supervisor.forget(name)


def reset(settings: Settings) -> None:
    """Stop the platform and delete all its state: data, secrets, builds and logs. Unpacked tools stay.

    Only what the platform made is deleted, whatever else the state directory holds.
    """
    down(settings)
    for name in STATE:
        path = settings.state / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
