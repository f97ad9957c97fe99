"""Statements on a connection of the pool: sent, timed, traced, and read as rows by column name."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.extensions

from . import metrics, tracing
from .database import Connection
from .telemetry import current_trace

Row = dict[str, Any]

SLOW_SECONDS = 0.5
"""A statement that takes longer is told in the log."""


@dataclass(frozen=True)
class Prepared:
    """A statement that is parsed and planned once for each connection; parameters are `$1`, `$2`, …

    Worth it only where a millisecond counts: reading one row by its key takes a third less, and a statement of many
    parts that touches few rows takes longer to plan than to run.
    """

    name: str
    statement: str

    def fetch_one(self, connection: Connection, *parameters: Any) -> Row | None:
        """Its only row, or None when it has none."""
        with connection.cursor() as cursor:
            self._execute(connection, cursor, parameters)
            return _first(cursor)

    def fetch_all(self, connection: Connection, *parameters: Any) -> list[Row]:
        """Its rows as dictionaries by column name."""
        with connection.cursor() as cursor:
            self._execute(connection, cursor, parameters)
            return _all(cursor)

    def _execute(
        self, connection: Connection, cursor: psycopg2.extensions.cursor, parameters: Sequence[Any]
    ) -> None:
        if self.name not in connection.prepared:
            cursor.execute(f"PREPARE {self.name} AS {self.statement}")
            connection.prepared.add(self.name)
        marks = ", ".join(["%s"] * len(parameters))
        _run(cursor, f"EXECUTE {self.name} ({marks})", parameters)


def _run(cursor: psycopg2.extensions.cursor, statement: str, parameters: Any) -> None:
    """Every statement that a function asks for passes through here.

    One that PostgreSQL refuses, or that is slow, is told in the log by who asked for it: its values are nobody's concern.
    """
    trace, started = current_trace(), time.perf_counter()
    try:
        if trace is None or not trace.is_sampled:
            cursor.execute(statement, parameters)
        else:
            tracing.execute(trace, cursor, statement, parameters)
    except psycopg2.Error as error:
        if error.pgcode:
            refusal = {"sqlstate": error.pgcode, "constraint": error.diag.constraint_name}
            _log.info("statement refused", extra={"statement": tracing.asker(), **refusal})
        raise
    finally:
        seconds = time.perf_counter() - started
        metrics.QUERY_SECONDS.observe(metrics.operation(statement), seconds)
        if seconds > SLOW_SECONDS:
            slowness = {"statement": tracing.asker(), "milliseconds": round(seconds * 1000)}
            _log.warning("slow statement", extra=slowness)


def fetch_all(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
) -> list[Row]:
    """Run `statement`; its rows as dictionaries by column name."""
    with connection.cursor() as cursor:
        _run(cursor, statement, parameters)
        return _all(cursor)


def _all(cursor: psycopg2.extensions.cursor) -> list[Row]:
    names = [column[0] for column in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def fetch_one(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
) -> Row | None:
    """Run `statement`; its only row, or None when it has none."""
    with connection.cursor() as cursor:
        _run(cursor, statement, parameters)
        return _first(cursor)


def _first(cursor: psycopg2.extensions.cursor) -> Row | None:
    row = cursor.fetchone()
    if row is None:
        return None
    return dict(zip([column[0] for column in cursor.description or ()], row, strict=True))


def execute(
    connection: Connection, statement: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
) -> int:
    """Run `statement`; the number of rows that it changed."""
    with connection.cursor() as cursor:
        _run(cursor, statement, parameters)
        return int(cursor.rowcount)


_log = logging.getLogger("magasin")
