"""What every function exposes of itself: its requests, its database, its calls of others. docs/metrics.md has a row for each.

A request pays for little: figures are added up later, and what can be read when Prometheus asks is not counted before
(docs/decisions/0051-telemetry-that-costs-little.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from functools import lru_cache

import prometheus_client
from prometheus_client import REGISTRY, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

from . import later
from .histogram import QuickHistogram

# When a counter began is a series more for each; Prometheus sees a restart without it.
prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class _Settled(Collector):
    """Asked before all others, it sees to it that they know of every request that has been answered."""

    def collect(self) -> Iterable[Metric]:
        later.settle()
        return ()


REGISTRY.register(_Settled())

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_STATEMENT_SECONDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)

REQUEST_SECONDS = QuickHistogram(
    "http_request_duration_seconds",
    "Time until a request's answer begins, by route template; _count counts requests.",
    ["route", "method", "status"],
    buckets=_SECONDS,
)
IN_FLIGHT = Gauge("http_requests_in_flight", "Requests being worked on.")
QUEUE_SECONDS = Histogram(
    "http_request_queue_seconds",
    "Time between the gateway taking a request and the function beginning with it, by their two clocks.",
    buckets=_SECONDS,
)
FIRST_SECONDS = Gauge("http_first_request_duration_seconds", "Time that the replica's first request took.")
THREADS = Gauge("function_threads", "Requests that the replica works on at once, at most.")

POOL_SIZE = Gauge("database_pool_size", "Connections to the database that the replica may have.")
POOL_CONNECTIONS = Gauge(
    "database_pool_connections", "Connections of the pool that are open and idle, or in use.", ["state"]
)
POOL_WAITING = Gauge("database_pool_waiting", "Requests that wait for a connection of the pool.")
POOL_WAIT_SECONDS = Histogram(
    "database_pool_wait_seconds",
    "Time that requests waited for a connection of the pool; those that need not wait are not in it.",
    buckets=_SECONDS[1:],
)
QUERY_SECONDS = QuickHistogram(
    "database_query_duration_seconds",
    "Time of a statement until its rows are here (of a report the first), failed ones too, by its first word.",
    ["operation"],
    buckets=_STATEMENT_SECONDS,
)
CONNECT_FAILURES = Counter(
    "database_connect_failures_total", "Attempts to connect to the database that failed."
)
REPEATED = Counter(
    "database_transactions_repeated_total",
    "Transactions begun again after a deadlock or serialization failure.",
)

CALL_SECONDS = QuickHistogram(
    "function_call_duration_seconds",
    'Time of each attempt to call another function; status "none" when no answer came.',
    ["callee", "method", "status"],
    buckets=_SECONDS[1:],
)
CALL_RETRIES = Counter(
    "function_call_retries_total", "Calls of another function that were repeated.", ["callee"]
)

OPERATIONS = frozenset({"select", "insert", "update", "delete", "with", "execute", "commit"})
"""First words of statements that are told apart; any other is `other`."""

_FIRST_WORD = re.compile(r"(?:\s+|--[^\n]*\n|/\*.*?\*/)*([A-Za-z]+)", re.DOTALL)

in_flight: set[int] = set()
"""One entry for each request being worked on. Adding to a set is cheaper than counting up and down under a lock."""
IN_FLIGHT.set_function(lambda: len(in_flight))


@lru_cache(maxsize=1024)
def operation(statement: str) -> tuple[str]:
    """The label of a statement."""
    found = _FIRST_WORD.match(statement)
    word = found[1].lower() if found else ""
    return (word if word in OPERATIONS else "other",)


def watch_pool(size: int, idle: Collection[object], in_use: Callable[[], int]) -> None:
    """Let Prometheus see a pool; of several in one process, the last."""
    POOL_SIZE.set(size)
    POOL_CONNECTIONS.labels("idle").set_function(lambda: len(idle))
    POOL_CONNECTIONS.labels("used").set_function(in_use)
