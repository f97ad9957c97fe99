"""The bad network does what it says, and a function whose PostgreSQL is behind it says so, and is well again with it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from functions.products.handler import create_app
from tests.support.bad_network import BadNetwork, bad_network
from tests.support.functions import Secrets
from tests.support.postgres import Database
from tests.support.waiting import wait_for

ASKED = b"x" * 1000


class Echo(BaseRequestHandler):
    def handle(self) -> None:
        with suppress(ConnectionResetError):
            while chunk := self.request.recv(65536):
                self.request.sendall(chunk)


class EchoServer(ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    server = EchoServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def line(echo: int) -> Iterator[BadNetwork]:
    with bad_network(echo) as line:
        yield line


@contextmanager
def client(line: BadNetwork, patience: float = 10.0) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", line.port), timeout=patience)) as connection:
        yield connection


def asked(connection: socket.socket) -> bytes:
    connection.sendall(ASKED)
    return answer(connection)


def answer(connection: socket.socket) -> bytes:
    """All of it, or what there was when the other side closed."""
    found = b""
    while len(found) < len(ASKED) and (chunk := connection.recv(65536)):
        found += chunk
    return found


def test_a_line_that_is_well_carries_all_and_ends_with_either_side(line: BadNetwork) -> None:
    with client(line) as connection:
        assert asked(connection) == ASKED
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""
    assert line.taken == 1


def test_a_slow_line_takes_its_time_each_way(line: BadNetwork) -> None:
    with client(line) as connection:
        assert asked(connection) == ASKED
        line.delay(0.05)
        started = time.monotonic()
        assert asked(connection) == ASKED
        assert time.monotonic() - started >= 0.1


def test_a_cut_answer_ends_in_its_middle_and_the_next_connection_is_whole_again(line: BadNetwork) -> None:
    with client(line) as connection:
        line.cut()
        assert len(asked(connection)) == len(ASKED) // 2
    line.mend()
    with client(line) as connection:
        assert asked(connection) == ASKED


def test_connections_are_reset_old_ones_and_new_ones(line: BadNetwork) -> None:
    with client(line) as connection:
        assert asked(connection) == ASKED
        line.reset()
        with pytest.raises(ConnectionResetError):
            asked(connection)
    # A new one may be reset before its client knows that it was there.
    with pytest.raises(ConnectionResetError), client(line) as connection:
        answer(connection)


def test_what_was_swallowed_arrives_once_the_line_is_mended(line: BadNetwork) -> None:
    with client(line, patience=0.1) as connection:
        line.blackhole()
        with pytest.raises(TimeoutError):
            asked(connection)
        line.mend()
        connection.settimeout(10)
        assert answer(connection) == ASKED


@pytest.mark.parametrize("how", ["delay", "cut", "reset", "blackhole"])
def test_what_a_bad_line_has_done_to_somebody_is_counted(line: BadNetwork, how: str) -> None:
    """Whatever passes when it is well, and a bad line that nobody uses, count nothing."""
    with client(line) as early:
        early.sendall(b"x")
        assert early.recv(1)
    wait_for(lambda: not line._ends, what="nobody on the line")
    line.delay(0.01) if how == "delay" else getattr(line, how)()
    assert line.touched == 0
    with suppress(OSError), client(line) as asking:  # a reset may come as early as that
        asking.sendall(b"x")
        wait_for(lambda: line.touched, what="somebody to be met")
    assert line.touched
    line.mend()


def test_a_line_to_nobody_closes(echo: int) -> None:
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        with bad_network(nobody.getsockname()[1]) as line, client(line) as connection:
            assert connection.recv(1) == b""


@pytest.fixture
def behind(database: Database, tmp_path: Path) -> Iterator[tuple[BadNetwork, Any]]:
    """Products, with the line between it and PostgreSQL."""
    with bad_network(database.server.port) as line:
        url = urlsplit(database.url("products"))
        address = url._replace(netloc=f"{url.username}:{url.password}@127.0.0.1:{line.port}").geturl()
        app = create_app({**Secrets.make(tmp_path, products_db=address).environ, "threads": "4"})
        yield line, app.test_client()
        app.service.database.close()


def status(client: Any) -> int:
    """Of a read; a refusal says when to come again."""
    response = client.get("/?limit=1")
    assert response.status_code == 200 or response.headers["Retry-After"] == "1", response.data
    return int(response.status_code)


@pytest.mark.parametrize("how", ["cut", "reset"])
def test_a_function_whose_database_is_lost_answers_503_and_is_well_when_the_line_is(
    behind: tuple[BadNetwork, Any], how: str
) -> None:
    line, client = behind
    assert status(client) == 200
    getattr(line, how)()
    assert status(client) == 503
    line.mend()
    wait_for(lambda: status(client) == 200, what="the function to be well")


def test_a_function_waits_for_a_database_that_is_silent_for_a_moment(behind: tuple[BadNetwork, Any]) -> None:
    line, client = behind
    assert status(client) == 200
    line.blackhole()
    later = threading.Timer(0.3, line.mend)
    later.start()
    assert status(client) == 200
    later.join()
