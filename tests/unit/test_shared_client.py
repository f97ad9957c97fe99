"""Calls to other functions: within the deadline, with the ids, repeated only where that is safe."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, repeat
from typing import Any

import pytest
from flask import Flask

from functions.shared import Unavailable, UpstreamTimeout
from functions.shared.client import ATTEMPTS, LARGEST_ANSWER_BYTES, ServiceClient
from functions.shared.telemetry import Telemetry, begin_trace
from tests.support.metrics import growth


class Gateway:
    """A gateway that answers from a list of statuses (the last one for ever) and remembers what it got."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.delay_seconds = 0.0
        self.seen: list[dict[str, str]] = []
        self.released = threading.Event()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                gateway.seen.append({"path": self.path, "method": self.command, **dict(self.headers.items())})
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                gateway.released.wait(gateway.delay_seconds)
                status = gateway.statuses.pop(0) if len(gateway.statuses) > 1 else gateway.statuses[0]
                self.send_response(status)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            do_POST = do_PUT = do_GET  # noqa: N815 - http.server names them so

            def log_message(self, *_: Any) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    gateway = Gateway()
    yield gateway
    gateway.close()


@pytest.fixture
def client(gateway: Gateway) -> Iterator[ServiceClient]:
    client = ServiceClient(gateway.url, lambda: "the-token", default_budget_seconds=5.0)
    yield client
    client.close()


def test_a_call_goes_through_the_gateway_with_token_and_time_left(
    gateway: Gateway, client: ServiceClient
) -> None:
    response = client.get("products", "/prices", params={"sku": ["a b", "é"]})
    assert response.status_code == 200
    seen = gateway.seen[0]
    assert seen["path"] == "/function/products/prices?sku=a+b&sku=%C3%A9"
    assert seen["Authorization"] == "Bearer the-token"
    assert 4000 < int(seen["X-Timeout"].removesuffix("ms")) < 5000


def test_request_id_and_trace_are_passed_on(gateway: Gateway, client: ServiceClient) -> None:
    app = Flask("x")
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"

    @app.get("/")
    def call() -> str:
        client.get("products", "/7")
        return ""

    app.wsgi_app = Telemetry(app.wsgi_app, "cart", "cart-1", 2.0)  # type: ignore[method-assign]
    headers = {"X-Request-Id": "r1", "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01", "X-Timeout": "1s"}
    app.test_client().get("/", headers=headers)
    seen = {name.lower(): value for name, value in gateway.seen[0].items()}
    assert seen["x-request-id"] == "r1"
    assert seen["traceparent"].startswith(f"00-{trace_id}-")
    assert "00f067aa0ba902b7" not in seen["traceparent"]
    assert int(seen["x-timeout"].removesuffix("ms")) < 1000


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_what_may_be_repeated_is_repeated(gateway: Gateway, client: ServiceClient, status: int) -> None:
    gateway.statuses = [status, status, 200]
    assert client.get("products", "/7").status_code == 200
    assert len(gateway.seen) == 3


def test_a_post_is_sent_once_unless_it_bears_a_key(gateway: Gateway, client: ServiceClient) -> None:
    gateway.statuses = [503, 200]
    with pytest.raises(Unavailable):
        client.call("POST", "orders", "/", json={})
    gateway.statuses = [503, 200]
    response = client.call("POST", "orders", "/", json={}, idempotency_key="k1")
    assert response.status_code == 200
    assert [seen.get("Idempotency-Key") for seen in gateway.seen] == [None, "k1", "k1"]


@pytest.mark.parametrize("status", [200, 302, 404, 409, 500])
def test_an_answer_is_handed_over_as_it_is(gateway: Gateway, client: ServiceClient, status: int) -> None:
    gateway.statuses = [status]
    assert client.get("products", "/7").status_code == status
    assert len(gateway.seen) == 1


def test_the_deadline_holds_over_all_attempts(gateway: Gateway) -> None:
    gateway.delay_seconds = 5.0
    client = ServiceClient(gateway.url, lambda: "", default_budget_seconds=0.6)
    started = time.monotonic()
    with pytest.raises(UpstreamTimeout):
        client.get("products", "/7")
    assert time.monotonic() - started < 4, "the answer would take five seconds"
    client.close()


def test_a_call_may_have_less_time_than_the_request_and_never_more(
    gateway: Gateway, client: ServiceClient
) -> None:
    for timeout_seconds in (2.0, 60.0):
        client.get("products", "/7", timeout_seconds=timeout_seconds)
    shortened, bounded = (int(seen["X-Timeout"].removesuffix("ms")) for seen in gateway.seen)
    assert 1000 < shortened < 2000
    assert 4000 < bounded < 5000


def test_a_call_ends_when_its_own_time_has_passed(gateway: Gateway, client: ServiceClient) -> None:
    gateway.delay_seconds = 60.0
    with pytest.raises(UpstreamTimeout):
        client.call("POST", "payments", "/7", idempotency_key="k1", timeout_seconds=0.1)
    assert len(gateway.seen) == 1


def test_nothing_is_sent_when_there_is_no_time_for_an_answer(gateway: Gateway) -> None:
    client = ServiceClient(gateway.url, lambda: "", default_budget_seconds=0.1)
    with pytest.raises(UpstreamTimeout):
        client.get("products", "/7")
    assert gateway.seen == []


def test_a_gateway_that_is_away_is_a_503(client: ServiceClient) -> None:
    away = ServiceClient("http://127.0.0.1:9", lambda: "", default_budget_seconds=5.0)
    with pytest.raises(Unavailable) as caught:
        away.get("products", "/7")
    assert caught.value.code == "upstream_unavailable"


def test_sequential_calls_share_one_connection(gateway: Gateway, client: ServiceClient) -> None:
    for _ in range(5):
        client.get("products", "/7")
    assert client.idle_sessions() == 1


def test_a_caller_can_shorten_the_deadline_and_never_lengthen_it() -> None:
    def left(header: str) -> float:
        return begin_trace({"HTTP_X_TIMEOUT": header}, 10.0).seconds_left()

    assert left("2s") == pytest.approx(2.0, abs=0.1)
    for header in ("60s", "soon", "-1s", "", "0s"):
        assert left(header) == pytest.approx(10.0, abs=0.1)


def test_each_attempt_is_timed_by_callee_and_status_and_each_repetition_counted(
    gateway: Gateway, client: ServiceClient
) -> None:
    name, labels = "function_call_duration_seconds_count", {"callee": "toys", "method": "GET"}
    gateway.statuses = [503, 200]
    with (
        growth(name, **labels, status="503") as failed,
        growth(name, **labels, status="200") as done,
        growth("function_call_retries_total", callee="toys") as repeated,
    ):
        client.get("toys", "/7")
    assert (failed.by, done.by, repeated.by) == (1, 1, 1)


def test_an_attempt_without_an_answer_has_no_status(gateway: Gateway, client: ServiceClient) -> None:
    name, labels = "function_call_duration_seconds_count", {"callee": "toys", "status": "none"}
    gateway.delay_seconds = 60.0
    with growth(name, **labels, method="POST") as late, pytest.raises(UpstreamTimeout):
        client.call("POST", "toys", "/", timeout_seconds=0.1)
    away = ServiceClient("http://127.0.0.1:9", lambda: "", default_budget_seconds=5.0)
    with growth(name, **labels, method="GET") as refused, pytest.raises(Unavailable):
        away.get("toys", "/")
    assert (late.by, refused.by) == (1, 3)


class Hostile:
    """Sends to each caller the bytes that `sends` yields, whatever was asked, and counts who came."""

    def __init__(self, sends: Callable[[], Iterable[bytes]]) -> None:
        self.callers = 0
        self.sent_bytes = 0
        self.cookies: list[str] = []
        self._sends = sends
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self.callers += 1
                with caller, suppress(OSError):
                    asked = caller.recv(65536).decode()
                    self.cookies += [
                        line for line in asked.split("\r\n") if line.lower().startswith("cookie:")
                    ]
                    for piece in self._sends():
                        caller.sendall(piece)
                        self.sent_bytes += len(piece)


@contextmanager
def hostile(
    sends: Callable[[], Iterable[bytes]], seconds: float = 5.0
) -> Iterator[tuple[Hostile, ServiceClient]]:
    there = Hostile(sends)
    client = ServiceClient(there.url, None, default_budget_seconds=seconds)
    try:
        yield there, client
    finally:
        client.close()
        there.close()


HEAD = b"HTTP/1.1 200 OK\r\n"
ONE_MEGABYTE = b"x" * 1024 * 1024


def endless(head: bytes) -> Callable[[], Iterator[bytes]]:
    """A body of a hundred megabytes: more than is read before the connection is closed."""
    return lambda: chain(
        [head], repeat(b"100000\r\n" + ONE_MEGABYTE + b"\r\n" if b"chunked" in head else ONE_MEGABYTE, 100)
    )


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"\r\n",
        HEAD + b"Content-Length: 104857600\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_an_answer_without_end_is_not_kept_and_asked_for_no_more_than_thrice(head: bytes) -> None:
    with hostile(endless(head)) as (there, client), pytest.raises(Unavailable):
        client.get("payments", "/authorisations/1")
    assert there.callers == ATTEMPTS
    assert there.sent_bytes < ATTEMPTS * (LARGEST_ANSWER_BYTES + 16 * len(ONE_MEGABYTE))


def test_an_answer_that_trickles_in_ends_with_the_time_for_it() -> None:
    """Byte by byte, each long before the socket's own timeout."""

    def trickle() -> Iterator[bytes]:
        yield HEAD + b"Content-Length: 4000\r\n\r\n"
        for _ in range(400):
            time.sleep(0.01)
            yield b"x"

    with hostile(trickle, seconds=0.75) as (there, client), pytest.raises(UpstreamTimeout):
        client.get("payments", "/authorisations/1")
    assert there.sent_bytes < 400
    assert there.callers == 1


def test_a_bomb_of_compressed_zeros_is_not_unpacked() -> None:
    packed = gzip.compress(bytes(4 * LARGEST_ANSWER_BYTES))
    head = HEAD + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed)
    with hostile(lambda: [head, packed]) as (_, client), pytest.raises(Unavailable):
        client.call("POST", "payments", "/authorisations")


def test_a_redirect_is_not_followed_and_a_cookie_not_kept() -> None:
    def answer() -> list[bytes]:
        return [
            b"HTTP/1.1 307 Temporary Redirect\r\nLocation: " + elsewhere.url.encode() + b"/stolen\r\n"
            b"Set-Cookie: cart_token=theirs; Path=/\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
        ]

    with hostile(lambda: []) as (elsewhere, _), hostile(answer) as (there, client):
        answers = [client.get("payments", "/authorisations/1") for _ in range(2)]
    assert [found.status_code for found in answers] == [307, 307]
    assert (there.callers, there.cookies, elsewhere.callers) == (2, [], 0)


@pytest.mark.parametrize(
    "answer",
    [b"", b"\x00\xff\xfe", b"HTTP/1.1", b"HTTP/9.9 okay\r\n\r\n", HEAD + b"Content-Length: 10\r\n\r\n{}",
     HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", HEAD + b"Content-Encoding: gzip\r\n\r\nno gzip"],
)  # fmt: skip
def test_what_is_no_answer_is_none(answer: bytes) -> None:
    with hostile(lambda: [answer]) as (_, client), pytest.raises(Unavailable):
        client.get("payments", "/authorisations/1")
