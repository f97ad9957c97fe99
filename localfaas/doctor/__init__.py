"""`localfaas doctor`: what is wrong with an installation, and what to do next. It looks and changes nothing.

Each check is a small function of the installation; CHECKS is the one list of them. A check answers for its own
subject only: what it needs and does not find, it leaves to the check whose subject that is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from localfaas.commands import as_typed
from localfaas.doctor import books, database, edge, files, functions, machine, processes, watching
from localfaas.doctor.finding import Finding, NotLookedAt, State, wrong
from localfaas.doctor.installation import Installation
from localfaas.settings import Settings

PLAIN_COLUMNS = 400
"""The width where nobody looks at a terminal: each finding is one line, which can be searched."""
COLOURS = {State.WELL: "green", State.WRONG: "red", State.NOT_LOOKED_AT: "dim"}
MARKS = {State.WELL: "✓", State.WRONG: "✗", State.NOT_LOOKED_AT: "-"}


@dataclass(frozen=True)
class Check:
    """One subject; `look` returns at least one finding, or raises NotLookedAt."""

    name: str
    look: Callable[[Installation], Sequence[Finding]]


CHECKS = (
    Check("Python", machine.python),
    Check("memory", machine.memory),
    Check("disk", machine.disk),
    Check("open files", machine.open_files),
    Check("inotify", machine.inotify),
    Check("clock", machine.clock),
    Check("programs", files.programs),
    Check("programs that watch", files.watching_programs),
    Check("project's files", files.project_files),
    Check("state directory", files.state_directory),
    Check("secrets", files.secrets),
    Check("certificate", files.certificate),
    Check("data directory", files.data_directory),
    Check("supervisord", processes.supervisord),
    Check("processes", processes.programs),
    Check("stray processes", processes.strays),
    Check("ports", processes.ports),
    Check("answers", processes.answers),
    Check("database", database.reachable),
    Check("migrations", database.migrations),
    Check("connections", database.connections),
    Check("logins", database.logins),
    Check("books", books.hold),
    Check("functions", functions.replicas),
    Check("stack.yml", functions.deployed),
    Check("kong.yml", edge.configuration),
    Check("Prometheus' targets", watching.targets),
    Check("Prometheus' rules", watching.rules),
    Check("alerts", watching.alerts),
)
"""From the ground up: what comes first may be the cause of what follows."""


def examine(installation: Installation, checks: Sequence[Check]) -> Iterator[tuple[str, Finding]]:
    """Each finding with its check's name, in order."""
    for check in checks:
        for finding in _looked(check, installation):
            yield check.name, finding


def _looked(check: Check, installation: Installation) -> Sequence[Finding]:
    """A check that fails is a finding too: of a half broken installation, the others must still be told."""
    try:
        return check.look(installation)
    except NotLookedAt as exc:
        return [Finding(State.NOT_LOOKED_AT, str(exc))]
    except Exception as exc:  # whatever it was, it is in the table
        found = f"could not be looked at: {type(exc).__name__}: {' '.join(str(exc).split())[:200]}"
        return [wrong(found, "mend what it names, then `localfaas doctor` again")]


def run(
    settings: Settings,
    environ: Mapping[str, str],
    console: Console,
    as_json: bool,
    checks: Sequence[Check] = CHECKS,
) -> int:
    """Print the table (or JSON); return the exit code: 0 when all is well, 1 when something is wrong."""
    installation = Installation(settings, environ)
    try:
        found = [
            (name, _as_typed(finding, settings.project)) for name, finding in examine(installation, checks)
        ]
    finally:
        installation.close()
    if as_json:
        print(json.dumps([{"check": name, **asdict(finding)} for name, finding in found], indent=1))
    else:
        _print(found, console)
    return 1 if any(finding.state is State.WRONG for _, finding in found) else 0


def _as_typed(finding: Finding, project: Path) -> Finding:
    found, remedy = (as_typed(text, project) for text in (finding.found, finding.remedy))
    return replace(finding, found=found, remedy=remedy)


def _print(found: Sequence[tuple[str, Finding]], console: Console) -> None:
    if not console.is_terminal:
        console.width = PLAIN_COLUMNS
    console.print(_table(found))
    faults = sum(finding.state is State.WRONG for _, finding in found)
    unseen = sum(finding.state is State.NOT_LOOKED_AT for _, finding in found)
    told = f"{faults} wrong: begin with the first." if faults else "All is well."
    console.print(told + (f" {unseen} not looked at." if unseen else ""))


def _table(found: Sequence[tuple[str, Finding]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("check", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("what to do", overflow="fold")
    for name, finding in found:
        title = Text(f"{MARKS[finding.state]} {name}", style=COLOURS[finding.state])
        unseen = "not looked at: " if finding.state is State.NOT_LOOKED_AT else ""
        table.add_row(title, Text(unseen + finding.found), Text(finding.remedy))
    return table
