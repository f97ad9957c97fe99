"""The load of end-to-end tests: it asks for what it was told, and says so when it was over too soon."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.support import platform
from tests.support.platform import steady_load
from tests.support.waiting import wait_for


@dataclass
class Server:
    """Answers everything with 200, and remembers what it was asked."""

    url: str = ""
    asked: set[str] = field(default_factory=set)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            state.asked.add(self.path)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    state.url = f"http://127.0.0.1:{listening.server_port}"
    yield state
    listening.shutdown()
    listening.server_close()


def test_a_load_asks_with_its_query_string(server: Server) -> None:
    with steady_load(f"{server.url}/slow?ms=5") as load:
        wait_for(lambda: load.statuses[200] > 1, 10, "two answers")
    assert server.asked == {"/slow?ms=5"}
    assert load.failed == 0, load.failures


def test_a_load_that_is_over_before_its_block_has_failed(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "LOAD_SECONDS", 0)
    with steady_load(server.url, workers=1) as load:
        wait_for(lambda: load.failures, 10, "the end of the load")
    assert (load.failed, load.failures) == (1, ["the load was over before the block"])
