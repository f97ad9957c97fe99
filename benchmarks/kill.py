"""What `kill -9` of each kind of process costs: `python -m benchmarks.kill`, `make bench-kill`.

Under a constant load on the edge, one process at a time is killed; counted are the requests that failed
(no answer, or any status but 2xx), by method, and how long it took until requests succeeded and the process was back.
Nobody helps: what comes back, comes back by itself. Trials that do not recover in time are reported as such.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.flows import prepare_flows
from benchmarks.load import ConstantLoad, Event, Flow
from benchmarks.report import (
    BenchmarkError,
    load_unlimited_settings,
    table_console,
    whole_number,
    write_result,
)
from localfaas.settings import Settings, SettingsError
from localfaas.status import Row, rows
from localfaas.supervisor import SupervisorError

KINDS: Mapping[str, str] = {
    "one of the cart replicas": "cart-",
    "the products replica": "products-",
    "edge": "edge",
    "function gateway": "gateway",
    "API": "api",
    "PostgreSQL": "postgres",
    "Prometheus": "prometheus",
}
"""What is killed, and how the names of its programs begin (a replica is `<function>-<slot>`)."""

REQUESTS_PER_SECOND = 40
"""Of each flow, unless told otherwise: five flows leave two processors room to recover."""
RECOVERY_SECONDS = 45.0
QUIET_SECONDS = 1.5
"""The load has recovered when no request failed for so long and each flow succeeded."""
POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Trial:
    """One kill. Times are seconds after it; None where nothing came back within RECOVERY_SECONDS."""

    kind: str
    program: str
    killed_at: float
    process_back: float | None
    recovered: bool
    events: Sequence[Event]


@dataclass(frozen=True)
class Line:
    """The trials of one kind, for one flow."""

    kind: str
    flow: Flow
    requests: int
    failed: int
    faults: Mapping[str, int]
    longest_outage_seconds: float
    slowest_seconds: float


def targets(found: Iterable[Row], prefix: str) -> list[Row]:
    """The running programs of a kind, by name."""
    return [
        row
        for row in found
        if row.state == "RUNNING"
        and row.pid
        and (row.program == prefix or (prefix.endswith("-") and row.program.startswith(prefix)))
    ]


def kill_once(settings: Settings, load: ConstantLoad, kind: str, target: Row) -> Trial:
    """Kill one process and watch until all is well again, or time is up."""
    killed_at = time.monotonic()
    os.kill(target.pid, signal.SIGKILL)
    process_back: float | None = None
    deadline = killed_at + RECOVERY_SECONDS
    recovered = False
    while time.monotonic() < deadline and not (recovered and process_back is not None):
        time.sleep(POLL_SECONDS)
        if process_back is None and is_back(rows(settings), target):
            process_back = time.monotonic() - killed_at
        recovered = has_recovered(load.events_since(killed_at), load.flows, killed_at, time.monotonic())
    return Trial(kind, target.program, killed_at, process_back, recovered, load.events_since(killed_at))


def is_back(found: Iterable[Row], killed: Row) -> bool:
    """Whether the program runs again as another process, and a replica takes traffic again."""
    return any(
        row.program == killed.program
        and row.state == "RUNNING"
        and row.pid not in (0, killed.pid)
        and row.traffic != "no"
        for row in found
    )


def has_recovered(events: Sequence[Event], flows: Iterable[Flow], since: float, now: float) -> bool:
    """Whether every flow succeeded lately and none has failed for QUIET_SECONDS."""
    quiet_from = now - QUIET_SECONDS
    if quiet_from < since or any(event.failed and event.ended > quiet_from for event in events):
        return False
    succeeded = {event.flow for event in events if not event.failed and event.started > quiet_from}
    return set(flows) <= succeeded


def summarize(trials: Sequence[Trial], flows: Sequence[Flow]) -> list[Line]:
    """One line for each kind and flow, kinds in the order they were killed."""
    return [
        _line(kind, flow, [trial for trial in trials if trial.kind == kind])
        for kind in dict.fromkeys(trial.kind for trial in trials)
        for flow in flows
    ]


def _line(kind: str, flow: Flow, trials: Sequence[Trial]) -> Line:
    events = [(trial, event) for trial in trials for event in trial.events if event.flow == flow]
    failures = [(trial, event) for trial, event in events if event.failed]
    faults = Counter(str(event.status) if event.status else "no answer" for _, event in failures)
    return Line(
        kind=kind,
        flow=flow,
        requests=len(events),
        failed=len(failures),
        faults=dict(faults),
        longest_outage_seconds=max((event.ended - trial.killed_at for trial, event in failures), default=0.0),
        slowest_seconds=max((event.ended - event.started for _, event in events), default=0.0),
    )


def carts_goal(lines: Iterable[Line]) -> str:
    """No failed GET when one of three carts dies."""
    gets = [line for line in lines if line.kind == "one of the cart replicas" and line.flow.method == "GET"]
    failed = sum(line.failed for line in gets)
    if not gets:
        return "not measured"
    return "met" if failed == 0 else f"missed ({failed} of {sum(line.requests for line in gets):,})"


def show(console: Console, lines: Sequence[Line], trials: Sequence[Trial]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("killed", "request"):
        table.add_column(title)
    for title in ("requests", "failed", "failing for s", "slowest s", "process back s"):
        table.add_column(title, justify="right")
    table.add_column("how they failed")
    shown = ""
    for line in lines:
        first = line.kind != shown
        shown = line.kind
        table.add_row(
            line.kind if first else "",
            f"{line.flow.method} {line.flow.path}",
            f"{line.requests:,}",
            str(line.failed),
            f"{line.longest_outage_seconds:.2f}",
            f"{line.slowest_seconds:.2f}",
            _back(trials, line.kind) if first else "",
            ", ".join(f"{count} × {fault}" for fault, count in line.faults.items()),
        )
    console.print(table)


def _back(trials: Iterable[Trial], kind: str) -> str:
    times = [trial.process_back for trial in trials if trial.kind == kind]
    if any(seconds is None for seconds in times):
        return "not back"
    return f"{max(seconds for seconds in times if seconds is not None):.1f}"


def run(
    settings: Settings, options: argparse.Namespace, console: Console
) -> tuple[list[Trial], tuple[Flow, ...]]:
    """All trials. Raises BenchmarkError when the platform is not well before a kill."""
    flows = prepare_flows(settings)
    trials: list[Trial] = []
    with (
        ConstantLoad(settings.port("edge"), flows, options.rate) as load,
        console.status("") as status,
    ):
        for kind, prefix in KINDS.items():
            for number in range(options.rounds):
                found = targets(_calm(settings, load), prefix)
                if not found or (options.only and prefix.rstrip("-") not in options.only):
                    break
                target = found[number % len(found)]
                status.update(f"kill -9 {target.program} ({number + 1} of {options.rounds})")
                trials.append(kill_once(settings, load, kind, target))
    return trials, load.flows


def _calm(settings: Settings, load: ConstantLoad) -> list[Row]:
    """Wait until everything runs and no request fails, so that each trial begins from health."""
    since = time.monotonic()
    while time.monotonic() < since + RECOVERY_SECONDS:
        found = rows(settings)
        running = all(row.state == "RUNNING" and row.traffic != "no" for row in found)
        if running and has_recovered(load.events_since(since), load.flows, since, time.monotonic()):
            return found
        time.sleep(POLL_SECONDS)
    raise BenchmarkError("the platform did not become healthy; `make status` and `make logs f=…` say more")


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.kill",
        description="Kill each kind of process under load (kill -9) and count the requests that fail.",
    )
    parser.add_argument(
        "--rounds", type=whole_number(1, 10), default=3, metavar="N", help="kills of each (3)"
    )
    parser.add_argument(
        "--rate",
        type=whole_number(1, 200),
        default=REQUESTS_PER_SECOND,
        metavar="N",
        help=f"requests a second of each flow ({REQUESTS_PER_SECOND})",
    )
    names = [prefix.rstrip("-") for prefix in KINDS.values()]
    parser.add_argument(
        "--only", action="append", choices=names, help="kill only this; give it again for more"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = table_console()
    try:
        settings = load_unlimited_settings()
        trials, flows = run(settings, options, console)
    except KeyboardInterrupt:
        print("bench-kill: interrupted, nothing written", file=sys.stderr)
        return 130
    except (BenchmarkError, SettingsError) as exc:
        print(f"bench-kill: {exc}", file=sys.stderr)
        return 1
    except SupervisorError:
        print("bench-kill: the platform is not running; `make up` starts it", file=sys.stderr)
        return 1
    lines = summarize(trials, flows)
    show(console, lines, trials)
    goal = carts_goal(lines)
    console.print(f"Goal: no failed GET when one of the carts dies: {goal}")
    path = write_result(
        settings, "kill", {"requests_per_second_and_flow": options.rate, **as_result(trials, lines, goal)}
    )
    console.print(f"Written to {path}", soft_wrap=True)
    return 0 if all(trial.recovered and trial.process_back is not None for trial in trials) else 1


def as_result(trials: Sequence[Trial], lines: Sequence[Line], goal: str) -> dict[str, object]:
    return {
        "goal": goal,
        "trials": [
            {"kind": t.kind, "program": t.program, "process_back_seconds": t.process_back, "recovered": t.recovered,
             "faults": dict(Counter(event.fault for event in t.events if event.fault))}
            for t in trials
        ],
        "lines": [
            {"kind": line.kind, "method": line.flow.method, "path": line.flow.path, "requests": line.requests,
             "failed": line.failed, "faults": line.faults, "outage_seconds": line.longest_outage_seconds,
             "slowest_seconds": line.slowest_seconds}
            for line in lines
        ],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
