"""Spans in SQLite: written by one, read by many, and never more than so many bytes and hours of them."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localfaas.traces.otlp import Span

MOST_BYTES = 256 * 1024 * 1024
LONGEST_SECONDS = 24 * 3600
SHARE_DROPPED = 10
"""When there is too much, one of so many traces goes, the oldest."""
LOCK_SECONDS = 5.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS traces (
    trace_id TEXT PRIMARY KEY,
    started_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL,
    spans INTEGER NOT NULL,
    failures INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS traces_started ON traces (started_ns);
CREATE TABLE IF NOT EXISTS spans (
    trace_id TEXT NOT NULL,
    span_id TEXT NOT NULL,
    parent_id TEXT NOT NULL,
    service TEXT NOT NULL,
    instance TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    started_ns INTEGER NOT NULL,
    ended_ns INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    attributes TEXT NOT NULL,
    PRIMARY KEY (trace_id, span_id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS spans_request ON spans (request_id) WHERE request_id <> '';
CREATE TABLE IF NOT EXISTS services (
    service TEXT PRIMARY KEY
) WITHOUT ROWID;
"""
_PUT_SPAN = """
INSERT OR IGNORE INTO spans VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_PUT_TRACE = """
INSERT INTO traces VALUES (?, ?, ?, ?, ?)
ON CONFLICT (trace_id) DO UPDATE SET
    started_ns = min(started_ns, excluded.started_ns),
    ended_ns = max(ended_ns, excluded.ended_ns),
    spans = spans + excluded.spans,
    failures = failures + excluded.failures
"""
_LIST = """
SELECT traces.trace_id, traces.started_ns, traces.ended_ns, traces.spans, traces.failures, root.service, root.name
FROM traces
JOIN spans AS root ON root.trace_id = traces.trace_id AND root.span_id = (
    SELECT span_id FROM spans AS first WHERE first.trace_id = traces.trace_id
    ORDER BY parent_id <> '', started_ns LIMIT 1
)
WHERE traces.ended_ns - traces.started_ns >= :least_ns
  AND (NOT :failed OR traces.failures > 0)
  AND (:service = '' OR EXISTS (
      SELECT 1 FROM spans AS one WHERE one.trace_id = traces.trace_id AND one.service = :service))
  AND (:id = '' OR traces.trace_id = :id OR traces.trace_id IN (SELECT trace_id FROM spans WHERE request_id = :id))
ORDER BY traces.started_ns DESC
LIMIT :limit
"""


@dataclass(frozen=True)
class Wanted:
    """Which traces to list; what is empty does not matter. `id` is that of a trace or of a request."""

    service: str = ""
    least_ms: float = 0
    failed: bool = False
    id: str = ""
    limit: int = 50


@dataclass(frozen=True)
class Listed:
    """One trace in a list, named by its first span."""

    trace_id: str
    started_ns: int
    ended_ns: int
    spans: int
    failures: int
    service: str
    name: str

    @property
    def milliseconds(self) -> float:
        return (self.ended_ns - self.started_ns) / 1e6


class Store:
    """The spans of a platform in one file; safe to share between threads."""

    def __init__(
        self, path: Path, most_bytes: int = MOST_BYTES, clock: Callable[[], float] = time.time
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._most_bytes = most_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._writer = self._connect()
        self._writer.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;" + _SCHEMA)

    def add(self, spans: Sequence[Span]) -> None:
        """Keep spans; one that is known already changes nothing."""
        with self._lock, self._writer:
            traces: dict[str, list[Span]] = defaultdict(list)
            for span in spans:
                if self._writer.execute(_PUT_SPAN, _row(span)).rowcount:
                    traces[span.trace_id].append(span)
            services = {(span.service,) for span in spans}
            self._writer.executemany("INSERT OR IGNORE INTO services VALUES (?)", services)
            self._writer.executemany(_PUT_TRACE, [_trace_row(key, one) for key, one in traces.items()])

    def drop_old(self) -> int:
        """Forget what is too old, and the oldest traces while there is too much; how many traces went."""
        dropped = self._drop("started_ns < ?", int((self._clock() - LONGEST_SECONDS) * 1e9))
        while self.bytes_used() > self._most_bytes and (count := self.count()):
            share = max(1, count // SHARE_DROPPED)
            dropped += self._drop(
                "trace_id IN (SELECT trace_id FROM traces ORDER BY started_ns LIMIT ?)", share
            )
        return dropped

    def _drop(self, which: str, value: int) -> int:
        with self._lock, self._writer:
            chosen = f"SELECT trace_id FROM traces WHERE {which}"  # noqa: S608 - one of the two texts above
            self._writer.execute(f"DELETE FROM spans WHERE trace_id IN ({chosen})", (value,))  # noqa: S608
            return self._writer.execute(f"DELETE FROM traces WHERE {which}", (value,)).rowcount  # noqa: S608

    def bytes_used(self) -> int:
        """Bytes of the file that hold something; those that are free are used again."""
        with self._lock:
            pages, free, size = (
                self._writer.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("page_count", "freelist_count", "page_size")
            )
        return int((pages - free) * size)

    def count(self) -> int:
        """How many traces there are."""
        with closing(self._connect()) as reader:
            return int(reader.execute("SELECT count(*) FROM traces").fetchone()[0])

    def traces(self, wanted: Wanted) -> list[Listed]:
        """The newest traces that are wanted."""
        values = {
            "service": wanted.service,
            "least_ns": int(wanted.least_ms * 1e6),
            "failed": wanted.failed,
            "id": wanted.id,
            "limit": wanted.limit,
        }
        with closing(self._connect()) as reader:
            return [Listed(*row) for row in reader.execute(_LIST, values)]

    def services(self) -> list[str]:
        """The names of all that ever sent spans."""
        with closing(self._connect()) as reader:
            return [name for (name,) in reader.execute("SELECT service FROM services ORDER BY service")]

    def spans(self, trace_id: str) -> list[Span]:
        """The spans of one trace, in the order in which they began."""
        statement = "SELECT * FROM spans WHERE trace_id = ? ORDER BY started_ns, ended_ns DESC"
        with closing(self._connect()) as reader:
            return [_span(row) for row in reader.execute(statement, (trace_id,))]

    def close(self) -> None:
        with self._lock:
            self._writer.close()

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=LOCK_SECONDS, check_same_thread=False)


def _row(span: Span) -> tuple[object, ...]:
    return (
        span.trace_id, span.span_id, span.parent_id, span.service, span.instance, span.name, span.kind,
        span.started_ns, span.ended_ns, span.failed, str(span.attributes.get("request.id", "")),
        json.dumps(span.attributes),
    )  # fmt: skip


def _trace_row(trace_id: str, spans: Iterable[Span]) -> tuple[object, ...]:
    spans = list(spans)
    started, ended = min(span.started_ns for span in spans), max(span.ended_ns for span in spans)
    return trace_id, started, ended, len(spans), sum(span.failed for span in spans)


_PLAIN = (
    "trace_id", "span_id", "parent_id", "service", "instance", "name", "kind", "started_ns", "ended_ns",
)  # fmt: skip


def _span(row: tuple[Any, ...]) -> Span:
    *plain, failed, _, attributes = row
    values: dict[str, Any] = dict(zip(_PLAIN, plain, strict=True))
    return Span(**values, failed=bool(failed), attributes=json.loads(attributes))
