"""A small WSGI application for the question of drivers: one product by its id, as JSON, with psycopg2 or psycopg 3.

Everything but the driver is the same: the statement, prepared once for each connection; a queue of connections that a
request waits for; rows as dictionaries; the JSON of the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any

import psycopg
import psycopg2

from benchmarks.floor import READ_STATEMENT
from functions.shared.app import to_json

Read = Callable[[int], dict[str, Any]]
"""One product by its id, on a connection of its own."""
WAIT_SECONDS = 2.0
_STATEMENT = READ_STATEMENT.rstrip().rstrip(";")


def application_of(driver: str, url: str, size: int) -> Callable[..., Iterable[bytes]]:
    """Opens `size` connections at once."""
    connect = {"psycopg2": _with_psycopg2, "psycopg 3": _with_psycopg3}[driver]
    idle: SimpleQueue[Read] = SimpleQueue()
    for _ in range(size):
        idle.put(connect(url))

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        read = idle.get(timeout=WAIT_SECONDS)
        try:
            row = read(int(environ["PATH_INFO"].strip("/")))
        finally:
            idle.put(read)
        body = to_json(row)
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]

    return application


def _with_psycopg2(url: str) -> Read:
    connection = psycopg2.connect(url)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(f"PREPARE one_row AS {_STATEMENT.format(product_id='$1')}")

    def read(product_id: int) -> dict[str, Any]:
        with connection.cursor() as cursor:
            cursor.execute("EXECUTE one_row (%s)", (product_id,))
            names = [column[0] for column in cursor.description or ()]
            return dict(zip(names, cursor.fetchone() or (), strict=True))

    return read


def _with_psycopg3(url: str) -> Read:
    connection = psycopg.connect(url, autocommit=True)
    statement = _STATEMENT.format(product_id="%s").encode()

    def read(product_id: int) -> dict[str, Any]:
        with connection.cursor() as cursor:
            # Prepared by the protocol, as its users do it; the first of a connection prepares.
            cursor.execute(statement, (product_id,), prepare=True)
            names = [column.name for column in cursor.description or ()]
            return dict(zip(names, cursor.fetchone() or (), strict=True))

    return read
