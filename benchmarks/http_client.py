"""A keep-alive HTTP/1.1 client that adds as little time as Python allows: one socket, no library.

The same client measures every arm, so what it costs is in all of them and nothing is subtracted.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

TIMEOUT_SECONDS = 10.0
_READ_BYTES = 65536


class BadAnswerError(RuntimeError):
    """What came back is not an HTTP answer with a length, or the connection ended in it."""


@dataclass(frozen=True)
class Reply:
    """One answer; `seconds` from the first byte sent to the last one received."""

    status: int
    head: bytes
    body: bytes
    seconds: float

    def header(self, name: str) -> str:
        """The first header of that name, or an empty text."""
        return _header(self.head, name)


def render_request(
    host: str, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> bytes:
    """The bytes of a request; made once and sent many times."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


class KeepAlive:
    """One connection to 127.0.0.1:`port`, opened at first use and again after it was lost."""

    def __init__(self, port: int, timeout: float = TIMEOUT_SECONDS) -> None:
        self._address = ("127.0.0.1", port)
        self._timeout = timeout
        self._socket: socket.socket | None = None

    def __enter__(self) -> KeepAlive:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, request: bytes) -> Reply:
        """Raises OSError or BadAnswerError; the connection is closed then."""
        try:
            connection = self._connected()
            started = time.perf_counter()
            connection.sendall(request)
            head, body = _read_answer(connection)
            reply = Reply(_status(head), head, body, time.perf_counter() - started)
        except BaseException:
            self.close()
            raise
        if b"\r\nconnection: close" in head.lower():
            self.close()
        return reply

    def _connected(self) -> socket.socket:
        """An open connection; one that the other side has closed meanwhile is replaced, as every HTTP library does."""
        if self._socket is not None and select.select([self._socket], [], [], 0)[0]:
            self.close()
        if self._socket is None:
            self._socket = socket.create_connection(self._address, self._timeout)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._socket


def _read_answer(connection: socket.socket) -> tuple[bytes, bytes]:
    data = connection.recv(_READ_BYTES)
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _more(connection, data)
    head, body = data[:end], data[end + 4 :]
    length_text = _header(head, "content-length")
    if not length_text.isdecimal():
        raise BadAnswerError(f"an answer without a Content-Length: {head[:80]!r}")
    length = int(length_text)
    while len(body) < length:
        body += _more(connection, data)
    return head, body


def _more(connection: socket.socket, so_far: bytes) -> bytes:
    chunk = connection.recv(_READ_BYTES)
    if not chunk:
        raise BadAnswerError(f"the connection ended after {len(so_far)} bytes")
    return chunk


def _header(head: bytes, name: str) -> str:
    start = head.lower().find(b"\r\n" + name.lower().encode() + b":")
    if start < 0:
        return ""
    return head[start + len(name) + 3 :].split(b"\r\n", 1)[0].decode("latin-1").strip()


def _status(head: bytes) -> int:
    version, _, rest = head.partition(b"\r\n")[0].partition(b" ")
    if not version.startswith(b"HTTP/1.") or not rest[:3].isdigit():
        raise BadAnswerError(f"no HTTP answer: {head[:80]!r}")
    return int(rest[:3])
