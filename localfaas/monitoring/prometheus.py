"""Prometheus on one machine: its configuration, computed, checked before it is used, and its program."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from localfaas import loopback
from localfaas.monitoring.refused import RefusedError
from localfaas.settings import LOOPBACK, Settings
from localfaas.supervisor import Program, Supervisor
from localfaas.tools import GOGC, Tool

TOOL = Tool("Prometheus", "prometheus", ("prometheus",))
SCRAPE_INTERVAL = "5s"
RETENTION = "2d"
PRIORITY = 700
RULES = Path("monitoring") / "prometheus" / "rules"
PARTS_WATCHED = {"alertmanager": "alertmanager", "postgres-exporter": "postgres"}
"""Parts that have metrics of their own, and the job that collects them."""
RELABELLED = {
    "postgres": [
        {"action": "labeldrop", "regex": "server"},  # there is one, whose address is nobody's concern
        {"source_labels": ["__name__"], "regex": "(shop_.+)_now", "target_label": "__name__"},
    ]
}
"""By job; why `_now` goes is said in monitoring/postgres_exporter/queries.yml."""
CHECK_SECONDS = 30
RELOAD_SECONDS = 10.0
RELOAD_POLL_SECONDS = 0.1
OWN_PAGES = r"https?://(localhost|127\.0\.0\.1)(:\d+)?"
"""Whose scripts may read what Prometheus answers; by its own default, any page's in a browser here."""
_LAST_RELOAD = re.compile(
    r"^prometheus_config_last_reload_(successful|success_timestamp_seconds) (\S+)$", re.MULTILINE
)


def configuration(settings: Settings, running: Collection[str]) -> dict[str, Any]:
    """Scrape the functions (found through localfaas, so that discovery follows scaling), both hops and what watches.

    `running` names the other monitoring parts that run: alerts go to Alertmanager where there is one.
    """
    result: dict[str, Any] = {
        "global": {
            "scrape_interval": SCRAPE_INTERVAL,
            "evaluation_interval": SCRAPE_INTERVAL,
            # Alerts lead to their runbooks by it: to the page, which has a port of its own where Grafana has :8011.
            "external_labels": {
                "dashboards": f"http://localhost:{settings.port('pages' if 'pages' in running else 'dashboards')}"
            },
        },
        "rule_files": ["rules/*.yml"],
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
            *(_static(job, settings.port(part)) for part, job in PARTS_WATCHED.items() if part in running),
        ],
    }
    if "alertmanager" in running:
        target = f"{LOOPBACK}:{settings.port('alertmanager')}"
        result["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [target]}]}]}
    return result


def program(settings: Settings, binary: Path, running: Collection[str]) -> Program:
    """Write Prometheus' configuration and rules, and return its program.

    Raises RefusedError when a file is faulty; what was written before is then as it was.
    """
    state = settings.state / "prometheus"
    state.mkdir(parents=True, exist_ok=True)
    present, candidate = state / "configuration", state / "candidate"
    made = Program(
        name="prometheus",
        command=[
            str(binary),
            f"--config.file={present / 'prometheus.yml'}",
            f"--storage.tsdb.path={state / 'data'}",
            f"--storage.tsdb.retention.time={RETENTION}",
            f"--web.listen-address={LOOPBACK}:{settings.port('prometheus')}",
            f"--web.cors.origin={OWN_PAGES}",
        ],
        directory=state,
        environment={"GOGC": GOGC},
        about={"port": settings.port("prometheus")},
        priority=PRIORITY,
    )
    _write(settings, candidate, running)
    if faults := _faults(candidate, binary):
        message = faults.replace(str(candidate / "rules"), str(RULES))
        raise RefusedError(
            f"{RULES.parent} was refused, Prometheus goes on with what it had:\n{message}",
            made if present.exists() else None,
        )
    _put_in_place(candidate, present)
    return made


def rules_in_force(settings: Settings) -> Path:
    """The folder with the rules that Prometheus was given last."""
    return settings.state / "prometheus" / "configuration" / "rules"


def reload(settings: Settings) -> None:
    """Have the running Prometheus read its files again. Raises RefusedError when it will not have them.

    One that does not answer is starting, and reads them then. It is told by a signal: over HTTP, any page in a browser
    on this machine could tell it too, or end it.
    """
    deadline = time.monotonic() + RELOAD_SECONDS
    while not (before := _last_reload(settings)):
        if time.monotonic() > deadline:
            return
        time.sleep(RELOAD_POLL_SECONDS)  # while it starts, there is nobody to wait for but its port
    Supervisor(settings).signal("prometheus", "HUP")
    while time.monotonic() < deadline:
        time.sleep(RELOAD_POLL_SECONDS)  # a signal has no answer: it tells by its metrics
        now = _last_reload(settings)
        if now and now.read_at > before.read_at:
            return
        if now and before.successful and not now.successful:
            break
    raise RefusedError("Prometheus goes on with what it had; `localfaas logs prometheus` says why")


@dataclass(frozen=True)
class _Reload:
    """Whether Prometheus took its files the last time, and when it last did (seconds since 1970)."""

    successful: bool
    read_at: float


def _last_reload(settings: Settings) -> _Reload | None:
    """What Prometheus says of itself; None while it does not answer."""
    try:
        with loopback.session() as session:
            text = session.get(settings.url("prometheus") + "/metrics", timeout=CHECK_SECONDS).text
    except requests.RequestException:
        return None
    found = {name: float(value) for name, value in _LAST_RELOAD.findall(text)}
    if len(found) < 2:
        return None
    return _Reload(found["successful"] == 1, found["success_timestamp_seconds"])


def _write(settings: Settings, folder: Path, running: Collection[str]) -> None:
    """The configuration with a copy of the rules: a fault in the project's file is then not yet Prometheus'."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "rules").mkdir(parents=True)
    for path in sorted((settings.project / RULES).glob("*.yml")):
        shutil.copyfile(path, folder / "rules" / path.name)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration(settings, running), sort_keys=False))


def _faults(folder: Path, binary: Path) -> str:
    """What promtool has against a configuration; nothing where there is no promtool, as Prometheus checks too."""
    promtool = binary.with_name("promtool")
    if not promtool.exists():
        return ""
    told = subprocess.run(
        [promtool, "check", "config", folder / "prometheus.yml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=CHECK_SECONDS,
    )
    lines = [line.strip() for line in (told.stderr or told.stdout).splitlines()]
    return "\n".join(line for line in lines if line and line != "FAILED:") if told.returncode else ""


def _put_in_place(candidate: Path, present: Path) -> None:
    """Two renames: whoever starts between them finds no file, and is started again."""
    former = present.with_name("former")
    shutil.rmtree(former, ignore_errors=True)
    if present.exists():
        present.rename(former)
    candidate.rename(present)
    shutil.rmtree(former, ignore_errors=True)


def _static(job: str, port: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "job_name": job,
        "static_configs": [{"targets": [f"{LOOPBACK}:{port}"]}],
    }
    if job in RELABELLED:
        found["metric_relabel_configs"] = RELABELLED[job]
    return found
