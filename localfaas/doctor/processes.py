"""What runs: supervisord, its programs, what runs without it, the ports, and whether the platform answers."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping

import psutil
import requests

from localfaas.doctor.finding import Finding, verdict, well, wrong
from localfaas.doctor.installation import Installation
from localfaas.ports import holder, is_taken, listeners, wanted_ports
from localfaas.scaffold import KONG_FILE
from localfaas.status import rate_limits_hold
from localfaas.strays import platform_processes
from localfaas.supervisor import Process, restarts

OWN_PROGRAMS = ("api", "edge", "gateway")
MANY_RESTARTS = 5
YOUNG_SECONDS = 20
"""A program that has come back so often and is no older dies again and again."""
SETTLING_SECONDS = 0.5
"""Children of a replica that is being replaced outlive it for a moment."""


def supervisord(installation: Installation) -> list[Finding]:
    """It runs; without it nothing else does for long."""
    settings = installation.settings
    if installation.supervisord is not None:
        return [well(f"runs (pid {installation.supervisord})")]
    if not installation.exists:
        return [wrong("the platform was never started here", "`localfaas up`")]
    if (settings.run / "supervisord.pid").exists():
        log = settings.logs / "supervisord.log"
        return [
            wrong("supervisord is gone without having been stopped", f"`localfaas up`; {log} may say why")
        ]
    return [wrong("the platform is not running", "`localfaas up`")]


def programs(installation: Installation) -> list[Finding]:
    """Every program that is written down is known to supervisord and runs."""
    known = installation.processes
    names = {*OWN_PROGRAMS, *installation.abouts, *known}
    return verdict(
        (fault for name in sorted(names) for fault in _program_faults(installation, name, known.get(name))),
        f"{len(names)} run",
    )


def _program_faults(installation: Installation, name: str, process: Process | None) -> Iterator[Finding]:
    function = installation.abouts.get(name, {}).get("function")
    again = f"`localfaas deploy {function}`" if function else "`localfaas up`"
    look = f"`localfaas logs {name}` says why; mend that, then {again}"
    if process is None:
        yield wrong(f"{name} is unknown to supervisord", again)
    elif not _is_well(installation, process):
        reason = f" ({process.error})" if process.error else ""
        yield wrong(
            f"{name} is {process.state.lower()}{reason}; its log ends: {installation.log_end(name)}", look
        )
    elif process.state == "RUNNING":
        times = restarts(installation.settings, name)
        if times >= MANY_RESTARTS and process.uptime_seconds < YOUNG_SECONDS:
            yield wrong(
                f"{name} has come back {times} times, last {process.uptime_seconds} s ago;"
                f" its log ends: {installation.log_end(name)}",
                look,
            )


def _is_well(installation: Installation, process: Process) -> bool:
    """One that starts for the first time, or is being stopped, is where it should be."""
    first = process.state == "STARTING" and not restarts(installation.settings, process.name)
    return first or process.state in {"RUNNING", "STOPPING"}


def strays(installation: Installation) -> list[Finding]:
    """Nothing of this platform runs without its supervisord."""
    found = _strays(installation)
    if found and installation.supervisord is not None:
        time.sleep(SETTLING_SECONDS)
        later = {process.pid for process in _strays(installation)}
        found = [process for process in found if process.pid in later]
    if not found:
        return [well("none")]
    named = ", ".join(_named(found))
    if installation.supervisord is None:
        return [
            wrong(
                f"{len(found)} processes run without supervisord: {named}",
                "`localfaas up` ends them and starts anew; `localfaas down` only ends them",
            )
        ]
    pids = " ".join(str(process.pid) for process in found)
    return [wrong(f"{len(found)} processes run beside supervisord: {named}", f"`kill {pids}`")]


def _strays(installation: Installation) -> list[psutil.Process]:
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    return [
        process
        for process in platform_processes(installation.settings)
        if process.pid not in own and not _is_below(process, installation.supervisord)
    ]


def _is_below(process: psutil.Process, ancestor: int | None) -> bool:
    """Whether a process is `ancestor` or descends from it; one that is gone is no stray."""
    try:
        return ancestor in {process.pid, *(parent.pid for parent in process.parents())}
    except psutil.Error:
        return True


def _named(processes: Iterable[psutil.Process]) -> Iterator[str]:
    for process in processes:
        try:
            yield f"{process.name()} (pid {process.pid})"
        except psutil.Error:
            yield f"pid {process.pid}"


def ports(installation: Installation) -> list[Finding]:
    """Each port is free, or one of the platform's own processes listens there."""
    settings = installation.settings
    wanted = wanted_ports(settings, installation.stack) | {
        int(about["port"]): name for name, about in installation.abouts.items() if "port" in about
    }
    ours = {process.pid for process in platform_processes(settings)}
    faults = list(_port_faults(wanted, ours))
    return verdict(faults, f"{len(wanted)} are free or ours")


def _port_faults(wanted: Mapping[int, str], ours: set[int]) -> Iterator[Finding]:
    listening = listeners()
    for port, name in sorted(wanted.items()):
        if is_taken(port) and not listening.get(port, set()) & ours:
            yield wrong(
                f"port {port} ({name}) is taken{holder(port)}",
                "stop that process, then `localfaas up`; or choose other ports: `PORT_OFFSET=1000 localfaas up`",
            )


def answers(installation: Installation) -> list[Finding]:
    """The function gateway, the edge's admin port, and the path that `localfaas up` waits for."""
    settings, _ = installation.settings, installation.processes
    asked = {f"{settings.url('gateway')}/healthz": "api and gateway"}
    if (settings.project / KONG_FILE).exists():
        asked[f"{settings.url('edge-admin')}/status"] = "api"
    if installation.hooks.check:
        asked[settings.url("edge") + installation.hooks.check] = "edge"
    limits = "" if rate_limits_hold(settings) else "; rate limits are off (RATE_LIMITS=off)"
    return verdict(
        (fault for url, who in asked.items() for fault in _answer_faults(installation, url, who)),
        f"{', '.join(asked)}{limits}",
    )


def _answer_faults(installation: Installation, url: str, who: str) -> Iterator[Finding]:
    look = " and ".join(f"`localfaas logs {name}`" for name in who.split(" and "))
    try:
        answer = installation.get(url)
    except requests.RequestException as exc:
        yield wrong(f"{url} does not answer: {type(exc).__name__}", f"{look} say why, then `localfaas up`")
        return
    if answer.status_code not in (
        200,
        429,
    ):  # which says that this address has asked too much, and is an answer
        yield wrong(f"{url} answers {answer.status_code}: {' '.join(answer.text.split())[:120]}", look)
