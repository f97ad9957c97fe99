"""The lower rungs: the least that answers, the least with Flask, and the least with Flask and a read; and a naive one.

Run as a program it is the naive one under the server that comes with Flask for development, on the port `PORT`.
"""

from __future__ import annotations

import base64
import os
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import psycopg2
from flask import Flask, Response

from benchmarks.floor import BODY_VARIABLE, READ_STATEMENT

ADDRESS_FILE = "LADDER_DATABASE"
KEPT = "LADDER_KEPT"
"""Set: the naive application keeps its connection to the database."""
PRODUCT_ID = 7


def flask_fixed() -> Flask:
    """Answers with a text that is always the same."""
    app, body = Flask("fixed"), base64.b64decode(os.environ[BODY_VARIABLE])

    @app.get("/<int:product_id>")
    def product(product_id: int) -> Response:
        return Response(body, content_type="application/json")

    return app


def flask_read() -> Flask:
    """Reads the product by one prepared statement on one connection, and answers with what it found."""
    app = Flask("read")
    connection = _connection()
    cursor = connection.cursor()
    cursor.execute(f"PREPARE read AS {READ_STATEMENT.format(product_id='$1')}")

    @app.get("/<int:product_id>")
    def product(product_id: int) -> Any:
        cursor.execute("EXECUTE read (%s)", (product_id,))
        row = cursor.fetchone()
        assert row is not None and cursor.description is not None
        return dict(zip((column.name for column in cursor.description), row, strict=True))

    return app


def naive() -> Flask:
    """As a first attempt reads it: a connection to the database for each request, unless it is to be kept."""
    app = Flask("naive")
    kept = nullcontext(_connection()) if KEPT in os.environ else None

    @app.get("/<int:product_id>")
    def product(product_id: int) -> Any:
        with kept or closing(_connection()) as connection, connection.cursor() as cursor:
            cursor.execute(READ_STATEMENT.format(product_id="%s"), (product_id,))
            row = cursor.fetchone()
            assert row is not None and cursor.description is not None
            return dict(zip((column.name for column in cursor.description), row, strict=True))

    return app


def _connection() -> Any:
    connection = psycopg2.connect(Path(os.environ[ADDRESS_FILE]).read_text().strip())
    connection.autocommit = True
    return connection


if __name__ == "__main__":
    naive().run("127.0.0.1", int(os.environ["PORT"]), threaded=True)
