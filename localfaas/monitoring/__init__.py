"""What watches the platform: one table of parts. Each may be missing on a machine, which `up` then says out loud."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

from localfaas.monitoring import alertmanager, dashboards, postgres_exporter, prometheus, traces
from localfaas.monitoring.refused import RefusedError
from localfaas.progress import Steps
from localfaas.settings import Settings
from localfaas.supervisor import Program, Supervisor
from localfaas.tools import Tool, ToolMissingError, fetch


@dataclass(frozen=True)
class Part:
    """A process that watches; without it the platform runs, but without what `gives` says.

    `program(settings, binary, running)` writes its configuration, given which parts before it run, and is None when
    the project or a setting has no use for it; it raises ToolMissingError when it cannot run here, and RefusedError
    when a file of the project's is faulty. One without a `tool` is a Python program of ours: its binary is this
    interpreter. `path` leads to what a person would open in a browser.
    `secrets(settings)` names the secrets of the platform that it needs; `<role>-db` is a login to the database.
    `reload(settings)` makes one that runs already read its files again; without it, it is restarted if its program changed.
    """

    name: str
    title: str
    gives: str
    tool: Tool | None
    program: Callable[[Settings, Path, Collection[str]], Program | None]
    path: str = ""
    secrets: Callable[[Settings], Collection[str]] = lambda settings: ()
    reload: Callable[[Settings], None] = lambda settings: None


PARTS = (
    Part("traces", "traces", "traces", None, traces.program),
    Part("alertmanager", "Alertmanager", "alerts", alertmanager.TOOL, alertmanager.program),
    Part(
        postgres_exporter.NAME,
        "PostgreSQL's exporter",
        "metrics of PostgreSQL",
        postgres_exporter.TOOL,
        postgres_exporter.program,
        path="/metrics",
        secrets=postgres_exporter.secrets,
    ),
    Part("pages", "runbooks", "runbooks beside Grafana", None, dashboards.pages_program, path="/runbooks/"),
    Part(
        "prometheus", "Prometheus", "metrics", prometheus.TOOL, prometheus.program, reload=prometheus.reload
    ),
    Part("dashboards", "dashboards", "dashboards", None, dashboards.program),
)
"""In the order in which they start: Prometheus is told who of those before it runs."""

Fetched = Mapping[str, Path | ToolMissingError]


@dataclass
class Watching:
    """The parts that run, as title by name, and what was refused, each with every fault."""

    running: dict[str, str] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)


def secret_names(settings: Settings) -> set[str]:
    """The secrets that the parts need in this project."""
    return {name for part in PARTS for name in part.secrets(settings)}


def fetch_tools(settings: Settings) -> Fetched:
    """The program of every part, downloaded if need be, or why it cannot be had."""
    found: dict[str, Path | ToolMissingError] = {}
    for part in PARTS:
        try:
            found[part.name] = fetch(part.tool, settings) if part.tool else Path(sys.executable)
        except ToolMissingError as exc:
            found[part.name] = exc
    return found


def start(settings: Settings, supervisor: Supervisor, fetched: Future[Fetched], steps: Steps) -> Watching:
    """Start what could be had, have what runs take what changed, and say plainly what is missing.

    What is refused is returned, and not raised: the platform is of use without it.
    """
    tools, watching = fetched.result(), Watching()
    for part in PARTS:
        try:
            program = part.program(settings, _present(tools[part.name]), watching.running)
        except ToolMissingError as missing:
            steps.warn(f"{missing}. The platform runs without {part.gives}.")
            continue
        except RefusedError as refused:
            watching.refused.append(str(refused))
            program = refused.last_good
        if program:
            _run(settings, supervisor, part, program, watching)
        else:
            supervisor.remove(part.name)
    return watching


def _run(
    settings: Settings, supervisor: Supervisor, part: Part, program: Program, watching: Watching
) -> None:
    watching.running[part.name] = part.title
    if supervisor.replace(program):
        try:
            part.reload(settings)
        except RefusedError as refused:
            watching.refused.append(str(refused))


def _present(found: Path | ToolMissingError) -> Path:
    if isinstance(found, ToolMissingError):
        raise found
    return found
