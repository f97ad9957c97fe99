"""Small replicas that can be killed, frozen, slowed and made to fail, each a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.sharedctypes import Synchronized
from typing import Any

from benchmarks.ports import free_port

START_SECONDS = 20.0
_CONTEXT = multiprocessing.get_context("spawn")


class Replica:
    """An HTTP server on a port that stays its own; each answer names the port.

    Health checks are answered like everything else, unless told otherwise.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self._delay: Synchronized[float] = _CONTEXT.Value("d", 0.0)
        self._status: Synchronized[int] = _CONTEXT.Value("i", 200)
        self._health: Synchronized[int] = _CONTEXT.Value("i", 200)
        self._taken: Synchronized[int] = _CONTEXT.Value("i", 0)
        self._process = self._started()

    def kill(self) -> None:
        """As `kill -9` does; whoever was being answered is cut off."""
        self._process.kill()
        self._process.join()

    def restart(self) -> None:
        """Come back on the same port, well."""
        self._process = self._started()

    def freeze(self) -> None:
        """Stop running without letting go of anything: connections are still accepted, and nothing is answered."""
        os.kill(self._pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self._pid, signal.SIGCONT)

    def slow(self, seconds: float) -> None:
        """Answer that much later from now on."""
        self._delay.value = seconds

    def answer(self, status: int, health: int | None = None) -> None:
        """Answer requests with this status from now on, and health checks with the same or with `health`."""
        self._status.value = status
        self._health.value = status if health is None else health

    @property
    def taken(self) -> int:
        """Requests taken so far, health checks left out."""
        return self._taken.value

    def stop(self) -> None:
        """End the process in whatever state it is."""
        if self._process.is_alive():
            self.thaw()
        self.kill()

    @property
    def _pid(self) -> int:
        return int(self._process.pid)

    def _started(self) -> Any:
        state = (self._delay, self._status, self._health, self._taken)
        process = _CONTEXT.Process(target=_serve, args=(self.port, *state), daemon=True)
        process.start()
        deadline = time.monotonic() + START_SECONDS
        while not _accepts(self.port):
            if not process.is_alive() or time.monotonic() > deadline:
                raise RuntimeError("a replica did not start")
            time.sleep(0.01)
        return process


@contextmanager
def three_replicas() -> Iterator[tuple[Replica, Replica, Replica]]:
    """Three that are ended in any case."""
    with contextlib.ExitStack() as stack:
        replicas = []
        for _ in range(3):
            replica = Replica()
            stack.callback(replica.stop)
            replicas.append(replica)
        one, two, three = replicas
        yield one, two, three


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _serve(
    port: int,
    delay: Synchronized[float],
    status: Synchronized[int],
    health: Synchronized[int],
    taken: Synchronized[int],
) -> None:
    """The process: HTTP/1.1 with keep-alive, as little of it as the edge needs."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    async def answer_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(_content_length(head))
        probe = b" /_/health " in head
        taken.value += not probe
        if delay.value:
            await asyncio.sleep(delay.value)
        writer.write(_response(health.value if probe else status.value, port))
        await writer.drain()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await answer_one(reader, writer)
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    asyncio.run(run())


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


def _response(status: int, port: int) -> bytes:
    body = str(port).encode()
    return b"HTTP/1.1 %d -\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )
