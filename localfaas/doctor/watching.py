"""What watches: Prometheus has all its targets and works by the present rules; and what its alerts say now."""

from __future__ import annotations

import subprocess
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import requests

from localfaas import tools
from localfaas.doctor.finding import Finding, NotLookedAt, shortened, verdict, wrong
from localfaas.doctor.installation import Installation
from localfaas.monitoring import prometheus

LOOK = "`localfaas logs prometheus` says why; mend that, then `localfaas up`"
NEEDED_JOBS = ("functions", "openfaas", "edge", "prometheus")

Answer = Mapping[str, Any]


def targets(installation: Installation) -> list[Finding]:
    """Prometheus answers, has a target for each job, and each target answers Prometheus."""
    _running(installation)
    try:
        found = _ask(installation, "/api/v1/targets?state=active")["activeTargets"]
    except (requests.RequestException, ValueError, KeyError) as exc:
        return [wrong(f"Prometheus does not answer: {type(exc).__name__}", LOOK)]
    jobs = {
        *NEEDED_JOBS,
        *(job for part, job in prometheus.PARTS_WATCHED.items() if part in installation.processes),
    }
    if not any(one.deployment.scraped for one in installation.registry.all()):
        jobs.discard("functions")
    return verdict(_target_faults(found, jobs, installation.serving), f"{len(found)} are up")


def _target_faults(
    targets: Iterable[Answer], jobs: Iterable[str], serving: Container[str]
) -> Iterator[Finding]:
    """One that was not yet asked is `unknown`, which is no fault.

    Replicas that do not serve, or are gone since Prometheus last heard who there is, are left to the functions' check.
    """
    seen = set()
    for target in targets:
        seen.add(target["labels"]["job"])
        replica = target["labels"].get("replica")
        if target["health"] == "down" and (replica is None or replica in serving):
            yield wrong(
                f"{target['scrapeUrl']} (job {target['labels']['job']}) does not tell its metrics: {target['lastError']}",
                "`localfaas status`: is it running? docs/runbooks/TargetDown.md",
            )
    for job in sorted(set(jobs) - seen):
        yield wrong(
            f"Prometheus has no target for the job {job}", "docs/runbooks/NotWatched.md, then `localfaas up`"
        )


def rules(installation: Installation) -> list[Finding]:
    """The project's rule files are valid, in force, and can be evaluated."""
    settings = installation.settings
    files = sorted((settings.project / prometheus.RULES).glob("*.yml"))
    if not files:
        raise NotLookedAt("the project has none")
    faults = list(_rule_file_faults(_promtool(installation), files))
    if not faults and "prometheus" in installation.abouts:
        faults = list(_in_force_faults(files, prometheus.rules_in_force(settings)))
    if not faults and installation.supervisord is not None and "prometheus" in installation.processes:
        faults = list(_evaluation_faults(_groups(installation)))
    return verdict(faults, f"{len(files)} files")


def _promtool(installation: Installation) -> Path | None:
    binary = tools.find(prometheus.TOOL, installation.settings)
    promtool = binary.with_name("promtool") if binary else None
    return promtool if promtool and promtool.exists() else None


def _rule_file_faults(promtool: Path | None, files: Iterable[Path]) -> Iterator[Finding]:
    if promtool is None:
        return
    told = subprocess.run(
        [promtool, "check", "rules", *files],
        capture_output=True,
        text=True,
        check=False,
        timeout=prometheus.CHECK_SECONDS,
    )
    if told.returncode != 0:
        lines = (line.strip() for line in told.stderr.splitlines())
        faults = [line for line in lines if line and line != "FAILED:"]
        yield wrong(shortened(faults), "mend it, then `localfaas up`")


def _in_force_faults(files: Iterable[Path], folder: Path) -> Iterator[Finding]:
    present = {path.name: path.read_bytes() for path in files}
    used = {path.name: path.read_bytes() for path in folder.glob("*.yml")}
    changed = sorted(name for name in present.keys() | used.keys() if present.get(name) != used.get(name))
    if changed:
        yield wrong(f"Prometheus has others than the project: {', '.join(changed)}", "`localfaas up`")


def _groups(installation: Installation) -> list[Answer]:
    try:
        groups: list[Answer] = _ask(installation, "/api/v1/rules")["groups"]
    except (requests.RequestException, ValueError, KeyError):
        return []  # that Prometheus does not answer is said where its targets are
    return groups


def _evaluation_faults(groups: Iterable[Answer]) -> Iterator[Finding]:
    for group in groups:
        for rule in group["rules"]:
            if rule["health"] == "err":
                yield wrong(
                    f"{rule['name']} (group {group['name']}) cannot be evaluated: {rule.get('lastError', '')}",
                    "docs/runbooks/RulesFail.md",
                )


def alerts(installation: Installation) -> list[Finding]:
    """No alert for people fires; those that scale functions are not for people."""
    _running(installation)
    try:
        found = _ask(installation, "/api/v1/alerts")["alerts"]
    except (requests.RequestException, ValueError, KeyError) as exc:
        raise NotLookedAt("Prometheus does not answer") from exc
    pending = sorted(
        {one["labels"]["alertname"] for one in found if one["state"] == "pending"} - _scaling(found)
    )
    soon = f"; may soon: {', '.join(pending)}" if pending else ""
    return verdict(_alert_faults(found), f"none fires{soon}")


def _scaling(alerts: Iterable[Answer]) -> set[str]:
    return {one["labels"]["alertname"] for one in alerts if "scaling" in one["labels"]}


def _alert_faults(alerts: Iterable[Answer]) -> Iterator[Finding]:
    for one in alerts:
        labels = one["labels"]
        if one["state"] != "firing" or "scaling" in labels:
            continue
        name, since = labels["alertname"], one["activeAt"][:16].replace("T", " ")
        yield wrong(
            f"{name} since {since} UTC: {one['annotations'].get('summary', '')}", f"docs/runbooks/{name}.md"
        )


def _running(installation: Installation) -> None:
    if "prometheus" not in installation.processes:
        raise NotLookedAt("Prometheus does not run")


def _ask(installation: Installation, path: str) -> Answer:
    """The `data` of an answer. Raises requests.RequestException, or ValueError or KeyError for what is none."""
    answer: Answer = installation.get(installation.settings.url("prometheus") + path).json()["data"]
    return answer
