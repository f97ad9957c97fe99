"""Prometheus on one machine: its configuration, computed, and its program."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from localfaas.settings import LOOPBACK, Settings
from localfaas.supervisor import Program
from localfaas.tools import Tool

TOOL = Tool("Prometheus", "prometheus", ("prometheus",))
SCRAPE_INTERVAL = "5s"
RETENTION = "2d"
PRIORITY = 700
RULES = Path("monitoring") / "prometheus" / "rules"


def configuration(settings: Settings, running: Collection[str]) -> dict[str, Any]:
    """Scrape the functions (found through localfaas, so that discovery follows scaling), both hops and itself.

    `running` names the other monitoring parts that run: alerts go to Alertmanager where there is one.
    """
    result: dict[str, Any] = {
        "global": {"scrape_interval": SCRAPE_INTERVAL, "evaluation_interval": SCRAPE_INTERVAL},
        "rule_files": [str(settings.project / RULES / "*.yml")],
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
    if "alertmanager" in running:
        target = f"{LOOPBACK}:{settings.port('alertmanager')}"
        result["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}
    return result


def program(settings: Settings, binary: Path, running: Collection[str]) -> Program:
    """Write Prometheus' configuration and return its program."""
    state = settings.state / "prometheus"
    state.mkdir(parents=True, exist_ok=True)
    file = state / "prometheus.yml"
    file.write_text(yaml.safe_dump(configuration(settings, running), sort_keys=False))
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


def _static(job: str, port: int) -> dict[str, Any]:
    return {"job_name": job, "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}]}
