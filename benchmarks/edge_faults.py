"""What a sick replica of cart costs: `python -m benchmarks.edge_faults`, `make edge-faults`.

An edge of its own with the project's kong.yml, and three small replicas behind its upstream `cart`.
Under an open load one replica at a time is killed, frozen, slowed or made to answer 500, and made well again.
Counted are the requests that were lost, and how long it took until `GET /upstreams/cart/health` of the Admin API
said that the replica had left the rotation, and that it was back.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.open_load import OpenLoad, Outcome
from benchmarks.own_edge import OwnEdge, own_edge
from benchmarks.replicas import Replica, three_replicas
from benchmarks.report import (
    PROJECT,
    BenchmarkError,
    load_settings,
    table_console,
    whole_number,
    write_result,
)
from localfaas.settings import SettingsError

UPSTREAM = "cart"
REQUESTS: Mapping[str, str] = {"GET": "/api/cart", "POST": "/api/cart/items"}
REQUESTS_PER_SECOND = 40
"""Of each kind."""
OUT_SECONDS = 5.5
"""What kong.yml promises, two probes of an interval of 1 s and a timeout of 1.5 s each, and half a second to see it."""
BACK_SECONDS = 3.0
"""The first probe that succeeds: an interval, and the timeout of one that was still waiting."""
PATIENCE_SECONDS = 15.0
SETTLE_SECONDS = 1.0
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Fault:
    """A way to be sick; `hold_seconds` is how long it lasts at least."""

    name: str
    begin: Callable[[Replica], None]
    end: Callable[[Replica], None]
    hold_seconds: float = 3.0
    lost_answers: int = 0
    """Answers of the replica that a client may see before it is out: the file's `http_failures`."""


FAULTS = (
    Fault("killed", Replica.kill, Replica.restart),
    # Longer than the edge waits for an answer, so that what was caught is seen to its end.
    Fault("frozen", Replica.freeze, Replica.thaw, hold_seconds=24.0),
    Fault("slow, + 2 s", lambda replica: replica.slow(2.0), lambda replica: replica.slow(0.0)),
    Fault("answers 500", lambda replica: replica.answer(500), lambda replica: replica.answer(200), lost_answers=3),
    Fault(
        "answers 500, health check well",
        lambda replica: replica.answer(500, health=200),
        lambda replica: replica.answer(200),
        lost_answers=3,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Trial:
    """One replica that was sick for a while; None where the health did not change in time."""

    fault: Fault
    out_seconds: float | None
    back_seconds: float | None
    relapses: int
    """Times that it came back while it was still sick."""
    outcomes: Sequence[Outcome]
    in_flight: Mapping[str, int]
    """By method, requests that were on their way when it fell sick; no more than a third of them on this replica."""

    def lost(self, method: str) -> int:
        return sum(item.status != 200 for item in self.outcomes if item.method == method)


def try_fault(own: OwnEdge, load: OpenLoad, fault: Fault, replica: Replica) -> Trial:
    """Make `replica` sick and well again while `load` runs."""
    begun = time.monotonic()
    fault.begin(replica)
    out = _wait(lambda: own.health(UPSTREAM)[replica.port] != "HEALTHY")
    relapses = _relapses(own, replica.port, begun + fault.hold_seconds)
    ended = time.monotonic()
    fault.end(replica)
    back = _wait(lambda: own.health(UPSTREAM)[replica.port] == "HEALTHY")
    time.sleep(SETTLE_SECONDS)
    outcomes = _since(load, begun)
    in_flight = Counter(item.method for item in outcomes if item.started < begun)
    return Trial(
        fault,
        None if out is None else out - begun,
        None if back is None else back - ended,
        relapses,
        outcomes,
        in_flight,
    )


def _wait(condition: Callable[[], bool]) -> float | None:
    """When `condition` came true; None when it did not in PATIENCE_SECONDS."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if condition():
            return time.monotonic()
        time.sleep(POLL_SECONDS)
    return None


def _relapses(own: OwnEdge, port: int, until: float) -> int:
    """How often the sick replica was taken back before `until`."""
    count, well = 0, False
    while time.monotonic() < until:
        now = own.health(UPSTREAM)[port] == "HEALTHY"
        count += now and not well
        well = now
        time.sleep(POLL_SECONDS)
    return count


def _since(load: OpenLoad, moment: float) -> list[Outcome]:
    return [item for item in load.outcomes() if item.ended >= moment]


def run(faults: Sequence[Fault], rate: float, report: Callable[[str], None]) -> list[Trial]:
    """Every fault once, the next replica each time. Raises BenchmarkError when the edge is not well before one."""
    text = (PROJECT / "kong" / "kong.yml").read_text()
    trials = []
    with own_edge() as own, three_replicas() as replicas:
        own.load(text, {UPSTREAM: [("127.0.0.1", replica.port) for replica in replicas]})
        with OpenLoad(own.port, REQUESTS, rate) as load:
            for number, fault in enumerate(faults):
                report(f"{fault.name} ({number + 1} of {len(faults)})")
                if _wait(lambda: set(own.health(UPSTREAM).values()) == {"HEALTHY"}) is None:
                    raise BenchmarkError(f"not all replicas are healthy: {own.health(UPSTREAM)}")
                time.sleep(SETTLE_SECONDS)
                trials.append(try_fault(own, load, fault, replicas[number % 3]))
    return trials


def verdict(trial: Trial) -> str:
    """Whether the replica left and came back in time, and no more was lost than had to be."""
    out, back = trial.out_seconds, trial.back_seconds
    if out is None or out > OUT_SECONDS or back is None or back > BACK_SECONDS:
        return "missed: too late"
    answers = trial.fault.lost_answers * (1 + trial.relapses)
    if not answers and trial.lost("GET"):
        return "missed: lost GETs"
    if answers and trial.lost("GET") + trial.lost("POST") > answers + sum(trial.in_flight.values()):
        return "missed: more than the threshold"
    return "met"


def show(console: Console, trials: Sequence[Trial]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("one of three replicas")
    for title in (
        "left after s",
        "back after s",
        "back while sick",
        "GET lost",
        "POST lost",
        "slowest GET s",
    ):
        table.add_column(title, justify="right")
    table.add_column("how lost")
    table.add_column("goal")
    for trial in trials:
        statuses = Counter(str(item.status or "no answer") for item in trial.outcomes if item.status != 200)
        slowest = max((item.seconds for item in trial.outcomes if item.method == "GET"), default=0.0)
        table.add_row(
            trial.fault.name,
            _seconds(trial.out_seconds),
            _seconds(trial.back_seconds),
            str(trial.relapses),
            *(f"{trial.lost(method)} of {_sent(trial, method):,}" for method in REQUESTS),
            f"{slowest:.2f}",
            ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items())),
            verdict(trial),
        )
    console.print(table)


def _sent(trial: Trial, method: str) -> int:
    return sum(item.method == method for item in trial.outcomes)


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.2f}"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge_faults",
        description="Kill, freeze, slow and fail one of three replicas behind an edge of its own.",
    )
    parser.add_argument(
        "--rate",
        type=whole_number(1, 200),
        default=REQUESTS_PER_SECOND,
        metavar="N",
        help=f"GETs and POSTs a second ({REQUESTS_PER_SECOND} of each)",
    )
    parser.add_argument(
        "--only", action="append", choices=[fault.name for fault in FAULTS], help="this fault alone"
    )
    return parser


def main(arguments: list[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    console = table_console()
    chosen = [fault for fault in FAULTS if not options.only or fault.name in options.only]
    try:
        settings = load_settings()
        with console.status("") as status:
            trials = run(chosen, options.rate, status.update)
    except KeyboardInterrupt:
        print("edge-faults: interrupted, nothing written", file=sys.stderr)
        return 130
    except (BenchmarkError, SettingsError) as exc:
        print(f"edge-faults: {exc}", file=sys.stderr)
        return 1
    show(console, trials)
    path = write_result(settings, "edge-faults", as_result(trials, options.rate))
    console.print(f"Written to {path}", soft_wrap=True)
    return 0 if all(verdict(trial) == "met" for trial in trials) else 1


def as_result(trials: Sequence[Trial], rate: float) -> dict[str, object]:
    return {
        "requests_per_second_and_method": rate,
        "trials": [
            {"fault": trial.fault.name, "out_seconds": trial.out_seconds, "back_seconds": trial.back_seconds,
             "relapses": trial.relapses, "verdict": verdict(trial), "in_flight": dict(trial.in_flight),
             "lost": [asdict(item) | {"body": ""} for item in trial.outcomes if item.status != 200],
             "requests": {method: _sent(trial, method) for method in REQUESTS}}
            for trial in trials
        ],
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
