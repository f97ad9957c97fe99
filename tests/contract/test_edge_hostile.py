"""Clients that mean harm: each is refused within its limit, nothing ambiguous reaches an upstream, memory returns."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import resource
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from localfaas.edge import limits
from localfaas.edge.limits import LIMITS
from localfaas.envoy import admin_request
from tests.support.edge import RunningEdge, raw, running_edge
from tests.support.waiting import wait_for

MEGABYTE = 1024 * 1024
QUICK = dataclasses.replace(
    LIMITS, headers_seconds=0.4, request_seconds=0.8, silence_seconds=0.6, idle_seconds=1.0, connections=40
)
SHOP = """
_format_version: "3.0"
services:
- {{name: a, url: "http://127.0.0.1:{port}", retries: 0, read_timeout: 2000,
   routes: [{{name: a, paths: ["~/api/a($|/)"], strip_path: false}}]}}
plugins: [{{name: request-size-limiting, config: {{allowed_payload_size: 2}}}}]
"""


class Recorder:
    """An upstream that keeps every byte of a request's head and answers once a whole request is there."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.heads: list[bytes] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            data = b""
            while not _is_whole(data):
                part = connection.recv(65536)
                if not part:
                    return
                data += part
            self.heads.append(data.partition(b"\r\n\r\n")[0])
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def _is_whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head:
        return body.endswith(b"0\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(found) and len(body) >= int(length[1] if length else 0)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.listener.close()


@contextlib.contextmanager
def edge_before(upstream: Recorder) -> Iterator[RunningEdge]:
    state = Path(tempfile.mkdtemp(prefix="edge-"))
    with running_edge(state) as running:
        running.load(SHOP.format(port=upstream.port))
        yield running
    shutil.rmtree(state)


@pytest.fixture(scope="module")
def edge(upstream: Recorder) -> Iterator[RunningEdge]:
    """With its own limits."""
    with edge_before(upstream) as running:
        yield running


@pytest.fixture(scope="module")
def quick(upstream: Recorder) -> Iterator[RunningEdge]:
    """With limits that are soon reached."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "LIMITS", QUICK)
        with edge_before(upstream) as running:
            yield running


@pytest.fixture(autouse=True)
def nothing_seen(upstream: Recorder) -> None:
    upstream.heads.clear()


CLOSE = b"Connection: close"


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def post(*headers: bytes, body: bytes = b"0\r\n\r\n") -> bytes:
    return b"\r\n".join([b"POST /api/a HTTP/1.1", b"Host: shop", *headers, CLOSE, b"", b""]) + body


def get(*lines: bytes, path: bytes = b"/api/a") -> bytes:
    return b"\r\n".join([b"GET " + path + b" HTTP/1.1", b"Host: shop", *lines, CLOSE, b"", b""])


TE = b"Transfer-Encoding: chunked"
REFUSED = {
    "CL and TE": (post(b"Content-Length: 6", TE, body=b"0\r\n\r\nG"), 400),
    "TE and CL": (post(TE, b"Content-Length: 6", body=b"0\r\n\r\nG"), 400),
    "CL and CL": (post(b"Content-Length: 5", b"Content-Length: 6", body=b"hello!"), 400),
    "CL twice the same": (post(b"Content-Length: 5", b"Content-Length: 5", body=b"hello"), 400),
    "list of CL": (post(b"Content-Length: 5, 5", body=b"hello"), 400),
    "CL with a sign": (post(b"Content-Length: +5", body=b"hello"), 400),
    "CL in hexadecimal": (post(b"Content-Length: 0x5", body=b"hello"), 400),
    "CL below zero": (post(b"Content-Length: -5"), 400),
    "CL beyond all numbers": (post(b"Content-Length: 99999999999999999999999"), 400),
    "CL empty": (post(b"Content-Length:"), 400),
    "TE with a space before the colon": (post(b"Transfer-Encoding : chunked"), 400),
    "TE with a vertical tab": (post(b"Transfer-Encoding: \x0bchunked"), 400),
    "TE unknown": (post(b"Transfer-Encoding: xchunked"), 501),
    "TE quoted": (post(b'Transfer-Encoding: "chunked"'), 501),
    "TE of two, chunked first": (post(b"Transfer-Encoding: chunked, identity"), 501),
    "TE of two, chunked last": (post(b"Transfer-Encoding: gzip, chunked"), 501),
    "TE twice": (post(TE, b"Transfer-Encoding: identity"), 501),
    "TE folded, and CL": (post(b"Content-Length: 5", b"Transfer-Encoding:\r\n chunked"), 400),
    "fold in the first header": (b"GET /api/a HTTP/1.1\r\n Host: x\r\nHost: shop\r\n\r\n", 400),
    "chunk size that is none": (post(TE, body=b"zz\r\n\r\n"), 400),
    "chunk size beyond all numbers": (post(TE, body=b"f" * 18 + b"\r\n\r\n"), 400),
    "chunk ended by a bare LF": (post(TE, body=b"5\nhello\n0\n\n"), 400),
    "chunk extension ended by a bare LF": (post(TE, body=b"5;a\nhello\r\n0\r\n\r\n"), 400),
    "chunk longer than it says": (post(TE, body=b"5\r\nhelloX0\r\n\r\n"), 400),
    "NUL in a value": (get(b"X-A: b\x00c"), 400),
    "NUL in a name": (get(b"X\x00A: b"), 400),
    "NUL in the path": (get(path=b"/api/a\x00b"), 400),
    "control character in a value": (get(b"X-A: b\x01c"), 400),
    "space in a name": (get(b"X A: b"), 400),
    "no name": (get(b": b"), 400),
    "no colon": (get(b"XA"), 400),
    "space in the path": (get(path=b"/api/a b"), 400),
    "half an escape": (get(path=b"/api/a%zz"), 400),
    "no host": (b"GET /api/a HTTP/1.1\r\n\r\n", 400),
    "two hosts": (get(b"Host: other"), 400),
    "TLS on the plain port": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"a" * 40, 400),
    "no HTTP at all": (b"\x00\x01\x02\x03\r\n\r\n", 400),
    "a tunnel": (b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: 127.0.0.1:22\r\n\r\n", 404),
    "one header above the limit": (get(b"X-A: " + b"a" * LIMITS.headers_kb * 1024), 400),
    "headers above the limit together": (get(*(b"X-%d: " % i + b"a" * 1000 for i in range(40))), 400),
    "too many headers": (get(*(b"X-%d: a" % i for i in range(LIMITS.header_count + 1))), 400),
    "climbing out": (get(path=b"/api/a/%2e%2e/b"), 404),
    "climbing out of an absolute path": (get(path=b"http://shop/api/a/../../b"), 404),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_and_no_upstream_hears_of_it(edge: RunningEdge, upstream: Recorder, name: str) -> None:
    data, expected = REFUSED[name]
    answer = edge.raw(data)
    assert status(answer) == expected
    assert answer.count(b"HTTP/1.1 ") == 1
    assert upstream.heads == []


MADE_PLAIN = {
    "folded header": get(b"X-A: b\r\n c: d"),
    "TE folded": post(b"Transfer-Encoding:\r\n chunked"),
    "TE in capitals": post(b"Transfer-Encoding: CHUNKED"),
    "bare LF": b"GET /api/a HTTP/1.1\nHost: shop\nConnection: close\n\n",
    "bare LF within": get(b"X-A: b\nX-B: c"),
    "bare CR within": get(b"X-A: b\rX-B: c"),
    "absolute path": get(path=b"http://evil.example/api/a"),
    "request inside of a body": b"GET /api/a HTTP/1.1\r\nHost: shop\r\nContent-Length: 25\r\n\r\n"
    b"GET /x HTTP/1.1\r\nA: b\r\n\r\n",
}


@pytest.mark.parametrize("name", MADE_PLAIN)
def test_what_is_passed_on_can_be_read_in_one_way_only(
    edge: RunningEdge, upstream: Recorder, name: str
) -> None:
    assert status(edge.raw(MADE_PLAIN[name])) == 200
    [head] = upstream.heads
    lines = head.split(b"\r\n")
    assert re.fullmatch(rb"(GET|POST) /api/a HTTP/1\.1", lines[0])
    assert all(re.fullmatch(rb"[a-z0-9-]+: [^\r\n\x00]*", line) for line in lines[1:])
    framing = [line for line in lines if line.startswith((b"content-length:", b"transfer-encoding:"))]
    assert len(framing) <= 1
    assert sum(line.startswith(b"host:") for line in lines) == 1


def test_slow_headers_are_given_up(quick: RunningEdge, upstream: Recorder) -> None:
    with socket.create_connection(("127.0.0.1", quick.port), timeout=5) as client:
        client.sendall(b"GET /api/a HTTP/1.1\r\nHost: shop\r\nX-A: ")
        assert status(client.recv(65536)) == 408
        assert client.recv(65536) == b""
    assert upstream.heads == []


def test_drip_of_headers_does_not_hold_off_the_end(quick: RunningEdge) -> None:
    with socket.create_connection(("127.0.0.1", quick.port), timeout=0.05) as client:
        client.sendall(b"GET /api/a HTTP/1.1\r\n")
        answer = wait_for(lambda: _dripped(client), 5, "the end of a slow request")
    assert status(answer) == 408


def _dripped(client: socket.socket) -> bytes:
    """One more byte, and what came back within a moment."""
    with contextlib.suppress(OSError):
        client.sendall(b"x")
    with contextlib.suppress(TimeoutError):
        return client.recv(65536)
    return b""


def test_slow_body_is_given_up(quick: RunningEdge, upstream: Recorder) -> None:
    with socket.create_connection(("127.0.0.1", quick.port), timeout=0.05) as client:
        client.sendall(post(b"Content-Length: 1000", body=b"x"))
        answer = wait_for(lambda: _dripped(client), 5, "the end of a slow body")
    assert status(answer) == 408
    assert upstream.heads == []


def test_silent_connection_is_closed(quick: RunningEdge) -> None:
    with socket.create_connection(("127.0.0.1", quick.port), timeout=5) as client:
        assert client.recv(1) == b""


@pytest.mark.parametrize("chunked", [False, True])
def test_large_body_is_refused_before_it_is_sent(
    edge: RunningEdge, upstream: Recorder, *, chunked: bool
) -> None:
    """Of 100 MB no more is taken than the limit and what is under way; memory stays where it was."""
    before = rss(edge)
    framing = TE if chunked else b"Content-Length: %d" % (100 * MEGABYTE)
    piece = b"%x\r\n%s\r\n" % (65536, b"x" * 65536) if chunked else b"x" * 65536
    sent, answer = 0, b""
    with socket.create_connection(("127.0.0.1", edge.port), timeout=5) as client:
        client.sendall(post(framing, body=b""))
        with contextlib.suppress(OSError):
            while sent < 100 * MEGABYTE:
                client.sendall(piece)
                sent += len(piece)
        with contextlib.suppress(OSError):
            answer = client.recv(65536)
    assert sent < 20 * MEGABYTE
    assert not answer or status(answer) == 413
    assert upstream.heads == []
    assert rss(edge) < before + 30 * MEGABYTE


def test_connections_above_the_limit_are_closed_and_the_others_served(quick: RunningEdge) -> None:
    with contextlib.ExitStack() as stack:
        held = [
            stack.enter_context(socket.create_connection(("127.0.0.1", quick.port), timeout=5))
            for _ in range(QUICK.connections)
        ]
        wait_for(
            lambda: quick.stat("http.edge.downstream_cx_active") >= QUICK.connections - 1, what="all of them"
        )
        with socket.create_connection(("127.0.0.1", quick.port), timeout=5) as late:
            assert _closed(late)
        held[0].sendall(get())
        assert status(held[0].recv(65536)) == 200
    wait_for(lambda: quick.stat("http.edge.downstream_cx_active") == 0, what="no connection")
    assert quick.get("/api/a").status == 200


def _closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_memory_of_a_thousand_connections_returns(edge: RunningEdge) -> None:
    """Each with half a request of 16 kB; `make edge-hostile` shows ten thousand."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = min(1000, soft // 3)
    if count < 200:
        pytest.skip(f"this process may open {soft} files only")
    half = b"GET /api/a HTTP/1.1\r\nHost: shop\r\nX-A: " + b"a" * 16_000
    before = allocated(edge)
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", edge.port), timeout=5))
            client.sendall(half)
        assert edge.get("/api/a").status == 200
        wait_for(lambda: allocated(edge) > before + count * 16_000, what="what was sent in memory")
        assert allocated(edge) < before + count * 100_000
    wait_for(lambda: allocated(edge) < before + MEGABYTE, 15, "the memory back")


def allocated(edge: RunningEdge) -> int:
    """What Envoy has a use for; what it keeps to use again is left out."""
    socket_path = edge.settings.envoy_admin_socket("edge")
    return int(json.loads(admin_request(socket_path, "GET", "/memory"))["allocated"])


def rss(edge: RunningEdge) -> int:
    return int(psutil.Process(edge.processes[-1].pid).memory_info().rss)


def test_limits_leave_room_for_the_upstreams_of_every_connection() -> None:
    assert limits.most_connections(LIMITS, 65_536) == LIMITS.connections
    assert limits.most_connections(LIMITS, 4_096) * 2 < 4_096


def test_raw_helper_sees_what_an_upstream_would(upstream: Recorder) -> None:
    """The recorder must be able to show an ambiguous head, or the tests above could not fail."""
    raw(upstream.port, get(b"X-A: b\r\n c: d"))
    assert b"\r\n c: d" in upstream.heads[0]
