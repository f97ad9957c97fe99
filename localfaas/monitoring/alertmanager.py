"""Alertmanager on one machine: the cluster's configuration with this machine's addresses, and its program."""

from __future__ import annotations

import subprocess
from collections.abc import Collection
from pathlib import Path

from localfaas.settings import LOOPBACK, Settings
from localfaas.supervisor import Program
from localfaas.tools import GOGC, Tool, ToolMissingError

TOOL = Tool("Alertmanager", "prometheus-alertmanager", ("alertmanager", "prometheus-alertmanager"))
PRIORITY = 700
SNAPSHOT_INTERVAL = "1m"
"""How often it writes down whom it has told what. An Alertmanager that is killed tells again what it has forgotten,
and a notice told again is a step (its own default is 15 min)."""
SHARED_FILE = Path("monitoring") / "alertmanager" / "alertmanager.yml"
GATEWAY_IN_CLUSTER = "gateway.openfaas:8080"
PASSWORD_IN_CLUSTER = "/var/secrets/basic-auth-password"  # noqa: S105  a path


def configuration(settings: Settings, shared: str) -> str:
    """The cluster's file with this machine's addresses in place of the cluster's."""
    return shared.replace(GATEWAY_IN_CLUSTER, f"{LOOPBACK}:{settings.port('gateway')}").replace(
        PASSWORD_IN_CLUSTER, str(settings.secrets / "basic-auth-password")
    )


def program(settings: Settings, binary: Path, running: Collection[str]) -> Program | None:
    """Write Alertmanager's configuration and return its program; None when the project has no such file.

    Raises ToolMissingError when it cannot run here.
    """
    shared = settings.project / SHARED_FILE
    if not shared.exists():
        return None
    state = settings.state / "alertmanager"
    state.mkdir(parents=True, exist_ok=True)
    file = state / "alertmanager.yml"
    file.write_text(configuration(settings, shared.read_text()))
    return Program(
        name="alertmanager",
        command=[
            *_templates_prefix(settings, binary),
            str(binary),
            f"--config.file={file}",
            f"--storage.path={state / 'data'}",
            f"--web.listen-address={LOOPBACK}:{settings.port('alertmanager')}",
            "--cluster.listen-address=",
            f"--data.maintenance-interval={SNAPSHOT_INTERVAL}",
        ],
        directory=state,
        environment={"GOGC": GOGC},
        about={"port": settings.port("alertmanager")},
        reads=(file,),
        priority=PRIORITY,
    )


def _templates_prefix(settings: Settings, binary: Path) -> list[str]:
    """The command prefix under which Debian's Alertmanager finds its templates.

    Debian's build reads them from /usr/share and nowhere else. An unpacked package has its own /usr/share, which is
    laid over the system's for this one process, in a mount namespace. Raises ToolMissingError where that is refused.
    """
    if not binary.is_relative_to(settings.tools):
        return []
    share = binary.parents[1] / "share"
    prefix = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    prefix += ['mount --bind "$0" /usr/share && exec "$@"', str(share)]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode != 0:
        raise ToolMissingError(
            "Alertmanager: this machine refuses the namespace in which an unpacked package runs; "
            "install prometheus-alertmanager"
        )
    return prefix
