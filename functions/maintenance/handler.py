"""Housekeeping on a schedule: owns no tables, and calls each function's own housekeeping.

What is to be done is decided by the function that owns the data, in short transactions of its own.
So a run may be killed half-way, or overlap with another: what is left is done by the next.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import Counter, Gauge, Histogram
from pydantic import BaseModel, Field

from functions.shared import (
    Api,
    FunctionApp,
    Problem,
    ServiceKeySettings,
    Unavailable,
    UpstreamTimeout,
    current,
    setting,
)
from functions.shared import (
    create_app as build,
)
from functions.shared.telemetry import current_trace

from .erasures import EraseCustomers

Outcome = Literal["done", "unfinished", "failed"]

RUNS = Counter("maintenance_runs_total", "Runs of a task, by outcome.", ["task", "outcome"])
HANDLED = Counter("maintenance_handled_total", "Things that a task has dealt with.", ["task"])
RUN_SECONDS = Histogram(
    "maintenance_run_duration_seconds",
    "Time that one run of a task took.",
    ["task"],
    buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5),
)
LAST_DONE = Gauge(
    "maintenance_last_done_timestamp_seconds", "When a task was last done to the end.", ["task"]
)

_log = logging.getLogger("magasin")


@dataclass(frozen=True, kw_only=True)
class MaintenanceSettings(ServiceKeySettings):
    run_seconds: float = setting(
        "A run ends after this long and leaves the rest to the next; less than the schedule's interval, "
        "and long enough for a recovery to hear the payment provider out.",
        default=4.0,
    )


@dataclass(frozen=True)
class Task:
    """A function's own housekeeping: a POST that answers `{<count>: n, "more": bool}` and may be repeated."""

    name: str
    function: str
    path: str
    count: str

    def batches(self) -> Iterator[int]:
        """Do it batch by batch until there is no more, yielding how many were dealt with."""
        more = True
        while more:
            count, more = _call(self)
            yield count


TASKS: tuple[Task | EraseCustomers, ...] = (
    Task("recover_checkouts", function="checkout", path="/recover", count="recovered"),
    Task("recover_sales", function="sales", path="/recover", count="recovered"),
    Task("recover_orders", function="orders", path="/recover", count="recovered"),
    Task("expire_reservations", function="inventory", path="/expire", count="expired"),
    Task("refresh_reports", function="reports", path="/refresh", count="refreshed"),
    Task("expire_carts", function="cart", path="/expire", count="expired"),
    EraseCustomers(),
)


class TaskResult(BaseModel):
    task: str
    outcome: Outcome = Field(description="unfinished: time was up, the next run goes on")
    handled: int


class Summary(BaseModel):
    """What one run did."""

    tasks: list[TaskResult]
    duration_seconds: float


api = Api("maintenance", title="Housekeeping")


@api.post("/", answers={200: Summary})
def run_tasks() -> dict[str, Any]:
    """Do what is due, for a few seconds at most.

    All tasks at once, as each waits for functions of its own: one that fails or hangs takes nothing from the others.
    Its outcome says so.
    """
    started = time.monotonic()
    _end_within(current().settings(MaintenanceSettings).run_seconds)
    with ThreadPoolExecutor(len(TASKS)) as pool:
        # Each task belongs to this request, whichever thread does it.
        runs = [pool.submit(copy_context().run, _run, task) for task in TASKS]
    results = [run.result() for run in runs]
    return {"tasks": results, "duration_seconds": round(time.monotonic() - started, 3)}


def _end_within(seconds: float) -> None:
    """The calls that this request makes end by then."""
    trace = current_trace()
    if trace is not None:
        trace.deadline = min(trace.deadline, time.monotonic() + seconds)


def _run(task: Task | EraseCustomers) -> dict[str, Any]:
    handled = 0
    outcome: Outcome = "done"
    with RUN_SECONDS.labels(task.name).time():
        try:
            for count in task.batches():
                handled += count
        except UpstreamTimeout:
            outcome = "unfinished"
        except Problem as problem:
            outcome = "failed"
            _log.warning("%s failed: %s", task.name, problem.detail)
    RUNS.labels(task.name, outcome).inc()
    HANDLED.labels(task.name).inc(handled)
    if outcome == "done":
        LAST_DONE.labels(task.name).set_to_current_time()
    return {"task": task.name, "outcome": outcome, "handled": handled}


def _call(task: Task) -> tuple[int, bool]:
    """One batch: how many were dealt with, and whether there may be more."""
    response = current().client.call("POST", task.function, task.path)
    if response.status_code != 200:
        raise Unavailable(f"{task.function}{task.path} answered {response.status_code}.")
    try:
        answer = response.json()
        return int(answer[task.count]), bool(answer["more"])
    except (ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"{task.function}{task.path} answered something else.") from error


def create_app(environ: Mapping[str, str]) -> FunctionApp:
    """The maintenance function in `environ`; the template calls this once."""
    return build(api, MaintenanceSettings, environ)
