"""Prometheus and Alertmanager on one machine: their configuration, computed; their programs."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from localfaas.settings import LOOPBACK, Settings
from localfaas.supervisor import Program
from localfaas.tools import ToolMissingError

SCRAPE_INTERVAL = "5s"
RETENTION = "2d"
PRIORITY = 700
GATEWAY_IN_CLUSTER = "gateway.openfaas:8080"
PASSWORD_IN_CLUSTER = "/var/secrets/basic-auth-password"  # noqa: S105  a path


def prometheus_configuration(settings: Settings, alerting: bool) -> dict[str, Any]:
    """Scrape the functions (found through localfaas, so that discovery follows scaling), both hops and itself."""
    configuration: dict[str, Any] = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": [str(settings.project / "monitoring" / "prometheus" / "rules" / "*.yml")],
        "scrape_configs": [
            {
                "job_name": "functions",
                "http_sd_configs": [
                    {
                        "url": settings.url("gateway-metrics") + "/system/localfaas/targets",
                        "refresh_interval": SCRAPE_INTERVAL,
                    }
                ],
            },
            _static("openfaas", settings.port("gateway-metrics")),
            _static("edge", settings.port("edge-admin")),
            _static("prometheus", settings.port("prometheus")),
        ],
    }
    if alerting:
        target = f"{LOOPBACK}:{settings.port('alertmanager')}"
        configuration["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}
    return configuration


def alertmanager_configuration(settings: Settings, shared: str) -> str:
    """The cluster's file with this machine's addresses in place of the cluster's."""
    return shared.replace(GATEWAY_IN_CLUSTER, f"{LOOPBACK}:{settings.port('gateway')}").replace(
        PASSWORD_IN_CLUSTER, str(settings.secrets / "basic-auth-password")
    )


def prometheus_program(settings: Settings, binary: Path, alerting: bool) -> Program:
    """Write Prometheus' configuration and return its program."""
    state = settings.state / "prometheus"
    state.mkdir(parents=True, exist_ok=True)
    file = state / "prometheus.yml"
    file.write_text(yaml.safe_dump(prometheus_configuration(settings, alerting), sort_keys=False))
    return Program(
        name="prometheus",
        command=[
            str(binary),
            f"--config.file={file}",
            f"--storage.tsdb.path={state / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address={LOOPBACK}:{settings.port('prometheus')}",
            "--web.enable-lifecycle",
        ],
        directory=state,
        about={"port": settings.port("prometheus")},
        priority=PRIORITY,
    )


def templates_prefix(settings: Settings, binary: Path) -> list[str]:
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


def alertmanager_program(settings: Settings, binary: Path) -> Program | None:
    """Write Alertmanager's configuration and return its program; None when the project has no such file.

    Raises ToolMissingError when it cannot run here.
    """
    shared = settings.project / "monitoring" / "alertmanager" / "alertmanager.yml"
    if not shared.exists():
        return None
    state = settings.state / "alertmanager"
    state.mkdir(parents=True, exist_ok=True)
    file = state / "alertmanager.yml"
    file.write_text(alertmanager_configuration(settings, shared.read_text()))
    return Program(
        name="alertmanager",
        command=[
            *templates_prefix(settings, binary),
            str(binary),
            f"--config.file={file}",
            f"--storage.path={state / 'data'}",
            f"--web.listen-address={LOOPBACK}:{settings.port('alertmanager')}",
            "--cluster.listen-address=",
        ],
        directory=state,
        about={"port": settings.port("alertmanager")},
        priority=PRIORITY,
    )


def _static(job: str, port: int) -> dict[str, Any]:
    return {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
