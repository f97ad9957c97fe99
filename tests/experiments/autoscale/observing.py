"""Watching a run: replicas and processors every second, and afterwards what Prometheus recorded."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import requests

from localfaas.settings import Settings
from tests.experiments.common.quiet import Processors

RECORDED = (
    "function:load_ratio", "function:offered_threads", "function:replicas_wanted", "function:busy_ratio:rate15s",
    "function:queue_seconds:p90_15s", "function:service_seconds:mean1m",
)  # fmt: skip
PERIOD_SECONDS = 0.5


@dataclass(frozen=True)
class Seen:
    """One look: Unix time, (wanted, ready) replicas by function, shares of processor time since the last look."""

    at: float
    replicas: dict[str, tuple[int, int]]
    busy: float
    steal: float


class Watch:
    """Looks twice a second while the block runs; `seen` is complete afterwards."""

    def __init__(self, settings: Settings, functions: Sequence[str]) -> None:
        self.seen: list[Seen] = []
        self._settings, self._functions = settings, functions
        self._session = session(settings)
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join(10)

    def _watch(self) -> None:
        before, due = Processors.now(), time.monotonic()
        while not self._done.wait(max(0.0, due - time.monotonic())):
            due += PERIOD_SECONDS
            replicas = {name: replicas_of(self._settings, self._session, name) for name in self._functions}
            now = Processors.now()
            self.seen.append(Seen(time.time(), replicas, now.busy_since(before), now.steal_since(before)))
            before = now


def session(settings: Settings) -> requests.Session:
    """A session that may ask the gateway's API."""
    opened = requests.Session()
    opened.auth = ("admin", (settings.secrets / "basic-auth-password").read_text())
    return opened


def replicas_of(settings: Settings, opened: requests.Session, name: str) -> tuple[int, int]:
    """(wanted, ready) replicas of a function."""
    answer = opened.get(f"{settings.url('gateway')}/system/function/{name}", timeout=10).json()
    return answer.get("replicas", 0), answer.get("availableReplicas", 0)


def recorded(settings: Settings, start: float, end: float) -> dict[str, list[dict[str, Any]]]:
    """What Prometheus recorded between two Unix times: by query, its series."""
    queries = [*RECORDED, 'ALERTS{alertstate="firing"}', "up"]
    return {query: query_range(settings, query, start, end) for query in queries}


def query_range(settings: Settings, query: str, start: float, end: float) -> list[dict[str, Any]]:
    answer = requests.get(
        settings.url("prometheus") + "/api/v1/query_range",
        params={"query": query, "start": str(start), "end": str(end), "step": "1"},
        timeout=30,
    )
    answer.raise_for_status()
    return list(answer.json()["data"]["result"])
