"""`localfaas status`: every process of the platform, read from supervisord and the kernel, not from the API."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from localfaas.commands import as_typed
from localfaas.envoy import EnvoyFiles
from localfaas.replicas import endpoints
from localfaas.settings import LOOPBACK, Settings, Traces
from localfaas.supervisor import Supervisor, SupervisorError, abouts, restarts
from localfaas.usage import Usage, usage

LIMITS_OFF = (
    "Rate limits are off (RATE_LIMITS=off); `localfaas up` without it puts those of kong.yml in force again."
)


@dataclass(frozen=True)
class Row:
    """One process. `state` is supervisord's word; `traffic` is "yes" or "no" for replicas, empty for the rest."""

    program: str
    state: str
    traffic: str
    pid: int
    port: int
    uptime_seconds: int
    restarts: int
    rss_bytes: int


def rows(settings: Settings) -> list[Row]:
    """Every program, replicas last. Raises SupervisorError when supervisord is away."""
    programs, processes = abouts(settings), Supervisor(settings).processes()
    used = usage({name: process.pid for name, process in processes.items() if process.pid})
    found = []
    for name, process in processes.items():
        about = programs.get(name, {})
        port = int(about.get("port", 0))
        function = about.get("function", "")
        found.append(
            Row(
                program=name,
                state=process.state,
                traffic=_traffic(settings, function, port) if function else "",
                pid=process.pid,
                port=port,
                uptime_seconds=process.uptime_seconds,
                restarts=restarts(settings, name),
                rss_bytes=used.get(name, Usage()).resident_bytes,
            )
        )
    return sorted(found, key=lambda row: (row.traffic != "", row.program))


def show(settings: Settings, console: Console, as_json: bool) -> int:
    """Print the table (or JSON); return the exit code: 1 when something is not running."""
    try:
        found = rows(settings)
    except SupervisorError:
        if as_json:
            console.print("[]")
        else:
            console.print(
                as_typed("The platform is not running. Start it with `localfaas up`.", settings.project)
            )
        return 1
    if as_json:
        print(json.dumps([asdict(row) for row in found], indent=1))
    else:
        console.print(_table(found))
        if found and not rate_limits_hold(settings):
            console.print(f"[yellow]{as_typed(LIMITS_OFF, settings.project)}[/yellow]", soft_wrap=True)
    return 0 if all(row.state == "RUNNING" for row in found) else 1


def rate_limits_hold(settings: Settings) -> bool:
    """Whether the platform was started, if it was, with the rate limits of kong.yml."""
    api = abouts(settings).get("api")
    return bool(api and api.get("rate_limits", True))


def traces_sent(settings: Settings) -> Traces | None:
    """Where spans go on the platform as it was started; as `settings` say where none was."""
    api = abouts(settings).get("api")
    if api is None:
        return settings.traces
    sent = api.get("traces") or {}
    return Traces(sent["TRACES_URL"], float(sent["TRACES_RATIO"])) if sent else None


def _table(found: list[Row]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("process", "state", "traffic"):
        table.add_column(title)
    for title in ("pid", "port", "uptime", "restarts", "RSS MiB"):
        table.add_column(title, justify="right")
    for row in found:
        colour = "green" if row.state == "RUNNING" else "red"
        table.add_row(
            row.program,
            f"[{colour}]{row.state.lower()}[/{colour}]",
            row.traffic,
            str(row.pid or "-"),
            str(row.port or "-"),
            _duration(row.uptime_seconds),
            str(row.restarts),
            f"{row.rss_bytes / 2**20:.0f}",
        )
    table.add_row(
        "total", "", "", "", "", "", "", f"{sum(row.rss_bytes for row in found) / 2**20:.0f}", style="bold"
    )
    return table


def _traffic(settings: Settings, function: str, port: int) -> str:
    serving = endpoints(EnvoyFiles(settings.envoy("gateway")).eds_path(function))
    return "yes" if (LOOPBACK, port) in serving else "no"


def _duration(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
