"""An open load: requests leave at a fixed pace on connections of their own, however long the earlier ones take.

A closed load would stop asking as soon as each of its clients waits for a target that hangs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType

from benchmarks.http_client import render_request

ANSWER_TIMEOUT_SECONDS = 50.0
"""More than two of the edge's attempts of 20 s, so that the edge's answer is seen and not our impatience."""


@dataclass(frozen=True)
class Outcome:
    """One request, in seconds of the monotonic clock; status 0 means that no answer came."""

    method: str
    started: float
    ended: float
    status: int
    body: bytes

    @property
    def seconds(self) -> float:
        return self.ended - self.started


class OpenLoad:
    """`rate` requests a second of each of `requests` (method to path) while the block runs."""

    def __init__(self, port: int, requests: Mapping[str, str], rate: float) -> None:
        self._port = port
        self._requests = {method: _request(method, path) for method, path in requests.items()}
        self._interval = 1 / rate
        self._done = threading.Event()
        self._ended: list[Outcome] = []
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> OpenLoad:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Send no more, and wait for every answer that is still to come."""
        self._done.set()
        self._thread.join(ANSWER_TIMEOUT_SECONDS + 5)

    def outcomes(self) -> list[Outcome]:
        """What has ended by now, in that order."""
        return self._ended.copy()

    async def _run(self) -> None:
        waiting: set[asyncio.Task[None]] = set()
        due = time.monotonic()
        while not self._done.is_set():
            for method, request in self._requests.items():
                task = asyncio.create_task(self._send(method, request))
                waiting.add(task)
                task.add_done_callback(waiting.discard)
            due += self._interval
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        if waiting:
            await asyncio.wait(waiting)

    async def _send(self, method: str, request: bytes) -> None:
        started = time.monotonic()
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_SECONDS):
                status, body = await self._exchange(request)
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError):
            status, body = 0, b""
        self._ended.append(Outcome(method, started, time.monotonic(), status, body))

    async def _exchange(self, request: bytes) -> tuple[int, bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            answer = await reader.read(-1)
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        return int(head.split(b" ", 2)[1]), body


def _request(method: str, path: str) -> bytes:
    body = b"{}" if method == "POST" else b""
    return render_request("localhost", method, path, body, {"Connection": "close"})
