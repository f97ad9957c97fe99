"""The floor: the least that reading one row over HTTP can take here, with the same server and the same database.

Two parts, each measured by itself: a granian server with one fixed answer, and the statement alone, prepared,
by pgbench over the same TCP port.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg2.extensions

from benchmarks.http_client import BadAnswerError, KeepAlive, render_request
from benchmarks.ports import free_port
from benchmarks.report import PROJECT, BenchmarkError
from localfaas.postgres import PostgresError, programs_directory
from localfaas.settings import Settings

START_SECONDS = 15.0
BODY_VARIABLE = "FLOOR_BODY"

READ_STATEMENT = """\
SELECT product_id, sku, name, description, category, price_cents, currency, active, version, created_at, updated_at
FROM products.products
WHERE product_id = {product_id};
"""


@contextmanager
def fixed_answer(body: bytes) -> Iterator[int]:
    """A granian WSGI server that answers everything with `body`; yields its port."""
    environment = {BODY_VARIABLE: base64.b64encode(body).decode()}
    with served("benchmarks.floor_app:application", environment) as (port, _):
        yield port


@contextmanager
def served(target: str, environment: Mapping[str, str], *options: str) -> Iterator[tuple[int, int]]:
    """A WSGI application under granian, with one thread as in the functions; yields its port and its (parent) process.

    `options` are granian's, such as `--factory`. Raises BenchmarkError when it does not answer.
    """
    port = free_port()
    command = [
        sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port),
        "--workers", "1", "--blocking-threads", "1", "--no-ws", "--http", "1", "--log-level", "error", *options, target,
    ]  # fmt: skip
    server = subprocess.Popen(
        command, env={**os.environ, **environment, "PYTHONPATH": str(PROJECT)}, cwd=PROJECT
    )
    try:
        _wait_until_answering(server, port)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait(10)


def _wait_until_answering(server: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    request = render_request("localhost", "GET", "/")
    with KeepAlive(port) as client:
        while time.monotonic() < deadline and server.poll() is None:
            try:
                client.send(request)
            except (OSError, BadAnswerError):
                time.sleep(0.02)
            else:
                return
    raise BenchmarkError("a server of the floor (granian) did not start")


@dataclass(frozen=True)
class Pgbench:
    """pgbench on the products function's own database address, reading one row by a prepared statement."""

    program: Path
    environment: Mapping[str, str]
    statement: str

    @classmethod
    def of(cls, settings: Settings, product_id: int) -> Pgbench:
        """Raises BenchmarkError when there is no pgbench or no address."""
        try:
            program = programs_directory(settings) / "pgbench"
            address = (settings.secrets / "products-db").read_text().strip()
        except (PostgresError, OSError) as exc:
            raise BenchmarkError(f"the database cannot be measured: {exc}") from exc
        if not program.exists():
            raise BenchmarkError(f"no pgbench in {program.parent}; unset PG_BIN to use the pinned one")
        return cls(program, connection_variables(address), READ_STATEMENT.format(product_id=product_id))

    def read(self, count: int) -> list[float]:
        """Seconds of `count` reads on one connection; the first one, which prepares, is left out."""
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "read.sql"
            script.write_text(self.statement)
            command = [
                str(self.program), "--no-vacuum", "--protocol=prepared", "--client=1", "--log",
                f"--log-prefix={folder}/log", f"--transactions={count + 1}", f"--file={script}",
            ]  # fmt: skip
            done = subprocess.run(
                command, env=dict(self.environment), capture_output=True, text=True, check=False
            )
            if done.returncode != 0:
                raise BenchmarkError(f"pgbench failed: {done.stderr.strip()}")
            lines = "".join(log.read_text() for log in Path(folder).glob("log*"))
        return parse_log(lines)[1:]


def parse_log(text: str) -> list[float]:
    """Seconds of each transaction in pgbench's log, whose third column is microseconds."""
    return [int(line.split()[2]) / 1e6 for line in text.splitlines()]


def connection_variables(address: str) -> dict[str, str]:
    """libpq's environment variables for an address, so that no password is in a list of processes."""
    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    parts = psycopg2.extensions.parse_dsn(address)
    return {names[key]: value for key, value in parts.items() if key in names}
