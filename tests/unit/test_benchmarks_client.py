"""The measuring client: whole answers, one connection, and an error for anything that is not an answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from benchmarks.http_client import BadAnswerError, KeepAlive, render_request

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Served-By: products-1\r\n\r\nhello"
REQUEST = render_request("localhost", "GET", "/7")


@contextmanager
def server(*connections: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that serves one connection after another by the given functions; yields its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for serve_one in connections:
                connection, _ = listener.accept()
                with connection:
                    serve_one(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
        assert not thread.is_alive()


def answer(*parts: bytes) -> Callable[[socket.socket], None]:
    """Send each part as the answer to one request, then close."""

    def serve(connection: socket.socket) -> None:
        for part in parts:
            assert connection.recv(65536).endswith(b"\r\n\r\n")
            connection.sendall(part)

    return serve


def test_requests_share_one_connection() -> None:
    with server(answer(OK, OK)) as port, KeepAlive(port) as client:
        replies = [client.send(REQUEST) for _ in range(2)]
    assert [(reply.status, reply.body) for reply in replies] == [(200, b"hello")] * 2
    assert replies[0].header("x-served-by") == "products-1"
    assert replies[0].header("x-nothing") == ""
    assert all(reply.seconds > 0 for reply in replies)


def test_an_answer_in_pieces_is_read_to_its_end() -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        for byte in OK:
            connection.sendall(bytes([byte]))

    with server(drip) as port, KeepAlive(port) as client:
        assert client.send(REQUEST).body == b"hello"


def test_a_connection_that_was_closed_while_idle_is_replaced() -> None:
    with server(answer(OK), answer(OK)) as port, KeepAlive(port) as client:
        client.send(REQUEST)
        assert client._socket is not None
        assert client._socket.recv(1, socket.MSG_PEEK) == b""
        assert client.send(REQUEST).status == 200


def test_connection_close_is_followed() -> None:
    closing = OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with server(answer(closing), answer(OK)) as port, KeepAlive(port) as client:
        assert client.send(REQUEST).body == b"hello"
        assert client._socket is None
        assert client.send(REQUEST).body == b"hello"


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"", "ended after 0 bytes"),
        (OK[:-1], "ended after"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "without a Content-Length"),
        (b"nonsense\r\nContent-Length: 0\r\n\r\n", "no HTTP answer"),
    ],
)
def test_anything_else_is_an_error_and_ends_the_connection(sent: bytes, message: str) -> None:
    with server(answer(sent)) as port, KeepAlive(port) as client:
        with pytest.raises(BadAnswerError, match=message):
            client.send(REQUEST)
        assert client._socket is None


def test_a_request_with_a_body_says_how_long_it_is() -> None:
    request = render_request("shop", "PUT", "/items/7", b'{"a": 1}', {"X-Cart-Token": "t"})
    assert request == (
        b"PUT /items/7 HTTP/1.1\r\nHost: shop\r\nX-Cart-Token: t\r\n"
        b'Content-Type: application/json\r\nContent-Length: 8\r\n\r\n{"a": 1}'
    )
