"""`localfaas down`: requests in flight finish, then everything stops in order, PostgreSQL last."""

from __future__ import annotations

import re
import shutil
import time

from localfaas.envoy import admin_request
from localfaas.settings import Settings
from localfaas.supervisor import Supervisor, end_strays, platform_processes

DRAIN_SECONDS = 20.0
STOP_SECONDS = 60.0
STATE = (
    "alertmanager",
    "benchmarks",
    "build",
    "envoy",
    "functions",
    "logs",
    "ports.json",
    "postgres",
    "prometheus",
    "run",
    "secrets",
    "secrets-of",
    "supervisor",
)
"""Everything the platform makes below the state directory."""
_ACTIVE = re.compile(r"^http\.(?!admin\.)[^ ]+\.downstream_rq_active: (\d+)$", re.MULTILINE)


def down(settings: Settings) -> int:
    """Stop the platform; return how many processes had to be ended without supervisord (0 is the normal case)."""
    supervisor = Supervisor(settings)
    if supervisor.is_running():
        for node in ("edge", "gateway"):
            drain(settings, node)
        supervisor.shutdown()
        deadline = time.monotonic() + STOP_SECONDS
        while platform_processes(settings) and time.monotonic() < deadline:
            time.sleep(0.1)
    return end_strays(settings)


def drain(settings: Settings, node: str) -> None:
    """Have an Envoy close its idle connections and wait until it has no request in flight; an absent one is drained."""
    path, deadline = settings.envoy_admin_socket(node), time.monotonic() + DRAIN_SECONDS
    try:
        admin_request(path, "POST", "/drain_listeners?graceful&skip_exit")
        while time.monotonic() < deadline:
            active = _ACTIVE.findall(admin_request(path, "GET", "/stats?filter=downstream_rq_active"))
            if not any(int(count) for count in active):
                return
            time.sleep(0.05)
    except (OSError, RuntimeError):
        return


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
