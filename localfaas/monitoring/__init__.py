"""What watches the platform: one table of parts. Each may be missing on a machine, which `up` then says out loud."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from localfaas.monitoring import alertmanager, prometheus, traces
from localfaas.progress import Steps
from localfaas.settings import Settings
from localfaas.supervisor import Program, Supervisor
from localfaas.tools import Tool, ToolMissingError, fetch


@dataclass(frozen=True)
class Part:
    """A process that watches; without it the platform runs, but without what `gives` says.

    `program(settings, binary, running)` writes its configuration, given which parts before it run, and is None when
    the project or a setting has no use for it; it raises ToolMissingError when it cannot run here. One without a
    `tool` is a Python program of ours: its binary is this interpreter. `path` leads to what a person would open in a
    browser.
    """

    name: str
    title: str
    gives: str
    tool: Tool | None
    program: Callable[[Settings, Path, Collection[str]], Program | None]
    path: str = ""


PARTS = (
    Part("traces", "traces", "traces", None, traces.program),
    Part("alertmanager", "Alertmanager", "alerts", alertmanager.TOOL, alertmanager.program),
    Part("prometheus", "Prometheus", "metrics", prometheus.TOOL, prometheus.program),
)
"""In the order in which they start: Prometheus last, as it is told who else runs."""

Fetched = Mapping[str, Path | ToolMissingError]


def fetch_tools(settings: Settings) -> Fetched:
    """The program of every part, downloaded if need be, or why it cannot be had."""
    found: dict[str, Path | ToolMissingError] = {}
    for part in PARTS:
        try:
            found[part.name] = fetch(part.tool, settings) if part.tool else Path(sys.executable)
        except ToolMissingError as exc:
            found[part.name] = exc
    return found


def start(settings: Settings, supervisor: Supervisor, fetched: Future[Fetched], steps: Steps) -> list[str]:
    """Start what could be had and say plainly what is missing; the titles of what runs."""
    tools, running = fetched.result(), dict[str, str]()
    for part in PARTS:
        try:
            program = part.program(settings, _present(tools[part.name]), running)
        except ToolMissingError as missing:
            steps.warn(f"{missing}. The platform runs without {part.gives}.")
            continue
        if program:
            supervisor.replace(program)
            running[part.name] = part.title
        else:
            supervisor.remove(part.name)
    return list(running.values())


def _present(found: Path | ToolMissingError) -> Path:
    if isinstance(found, ToolMissingError):
        raise found
    return found
