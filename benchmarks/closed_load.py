"""Many requests from a few connections, as fast as they are answered: one thread, no library."""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass, field

from benchmarks.http_client import BadAnswerError

TIMEOUT_SECONDS = 30.0
_READ_BYTES = 65536


@dataclass
class _Line:
    """One connection, and what has come of the answer that it waits for."""

    socket: socket.socket
    started: float = 0.0
    received: bytearray = field(default_factory=bytearray)


def ask(port: int, request: bytes, *, connections: int, count: int, fresh: bool = False) -> list[float]:
    """Send `count` times `request` and return the seconds of each, in the order of the answers.

    Each connection sends its next request when the last is answered; `fresh` opens a new one for each.
    Raises BadAnswerError for anything but a 200 with a length, OSError when a connection fails.
    """
    return _Run(port, request, count, fresh).answered(connections)


class _Run:
    def __init__(self, port: int, request: bytes, count: int, fresh: bool) -> None:
        self._address = ("127.0.0.1", port)
        self._request = request
        self._left = count
        self._fresh = fresh
        self._selector = selectors.DefaultSelector()
        self._seconds: list[float] = []

    def answered(self, connections: int) -> list[float]:
        deadline = time.monotonic() + TIMEOUT_SECONDS
        with self._selector:
            for _ in range(min(connections, self._left)):
                self._send(self._opened())
            while self._selector.get_map():
                ready = self._selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise BadAnswerError(f"{len(self._selector.get_map())} answers did not come in time")
                for key, _ in ready:
                    self._receive(key.data)
        return self._seconds

    def _opened(self) -> _Line:
        opened = socket.create_connection(self._address, TIMEOUT_SECONDS)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line = _Line(opened)
        self._selector.register(opened, selectors.EVENT_READ, line)
        return line

    def _send(self, line: _Line) -> None:
        self._left -= 1
        line.received.clear()
        line.started = time.perf_counter()
        line.socket.sendall(self._request)

    def _receive(self, line: _Line) -> None:
        part = line.socket.recv(_READ_BYTES)
        if not part:
            raise BadAnswerError(f"the connection ended after {len(line.received)} bytes")
        line.received += part
        if not _is_whole(line.received):
            return
        self._seconds.append(time.perf_counter() - line.started)
        if self._fresh or not self._left:
            self._selector.unregister(line.socket)
            line.socket.close()
        if self._left:
            self._send(self._opened() if self._fresh else line)


def _is_whole(received: bytearray) -> bool:
    end = received.find(b"\r\n\r\n")
    if end < 0:
        return False
    if received[9:12] != b"200":
        raise BadAnswerError(f"an answer other than 200: {bytes(received[:200])!r}")
    start = received.lower().find(b"\r\ncontent-length:", 0, end)
    if start < 0:
        raise BadAnswerError(f"an answer without a Content-Length: {bytes(received[:200])!r}")
    length = int(received[start + 17 : received.find(b"\r\n", start + 17)])
    return len(received) >= end + 4 + length
