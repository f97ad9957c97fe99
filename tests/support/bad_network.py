"""A line to a server on this machine that can be made bad: slow, cut off, reset, or swallowing what it is given.

    with bad_network(5432) as line:      # clients are told line.port in place of 5432
        line.delay(0.05)                 # each way
        line.blackhole()                 # nothing passes, nobody is told
        line.mend()                      # and what was swallowed arrives after all, as TCP has it

It is TCP's view of a bad network, not a network's: no packet is lost, as the kernel's loopback loses none.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from socket import SO_LINGER, SOL_SOCKET

CHUNK_BYTES = 64 * 1024
DO_SECONDS = 10.0
_AT_ONCE = struct.pack("ii", 1, 0)


class BadNetwork:
    """A proxy in a thread of its own, from `port` (a free one, unless told) to `target`, both on 127.0.0.1."""

    def __init__(self, target: int, port: int = 0) -> None:
        self.port = port
        self.taken = 0
        """Connections so far."""
        self.touched = 0
        """Pieces that were delayed, cut or held back, and connections that were reset or held back, so far."""
        self._target = target
        self._delay_seconds = 0.0
        self._cuts = self._resets = self._stops = False
        self._passing = asyncio.Event()
        self._ends: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="bad network", daemon=True)
        self._server: asyncio.Server | None = None

    def start(self) -> None:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(DO_SECONDS)

    def stop(self) -> None:
        """Close every connection, and the port."""
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(DO_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(DO_SECONDS)
        self._loop.close()

    def delay(self, seconds: float) -> None:
        """Whatever arrives from now on waits so long, each way."""
        self._do(lambda: setattr(self, "_delay_seconds", seconds))

    def cut(self) -> None:
        """Each connection ends in the middle of its next answer, in order (FIN)."""
        self._do(lambda: setattr(self, "_cuts", True))

    def reset(self) -> None:
        """All connections are reset (RST), and new ones as soon as they are there."""
        self._do(self._reset)

    def blackhole(self) -> None:
        """Nothing passes; connections stay, and new ones are taken and never answered."""
        self._do(self._passing.clear)

    def mend(self) -> None:
        self._do(self._mend)

    def _do(self, act: Callable[[], object]) -> None:
        """In the loop's thread, and done when this returns."""

        async def done() -> None:
            act()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(DO_SECONDS)

    def _reset(self) -> None:
        self._resets = True
        for end in list(self._ends):
            _break(end)
            self.touched += 1

    def _mend(self) -> None:
        self._delay_seconds = 0.0
        self._cuts = self._resets = False
        self._passing.set()

    async def _listen(self) -> None:
        self._passing.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._stops = True
        if self._server:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, to its end."""
        self.taken += 1
        ends = {writer}
        self._ends.add(writer)
        try:
            if self._resets:
                self.touched += 1
                return
            await self._passed()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
            ends.add(far_writer)
            self._ends.add(far_writer)
            if self._resets:
                return
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pass_on(reader, far_writer))
                both.create_task(self._pass_on(far_reader, writer, is_answer=True))
        except* OSError:
            pass  # whoever of the two is gone, the other is let go as well
        finally:
            for end in ends:
                self._ends.discard(end)
                self._let_go(end)

    def _let_go(self, end: asyncio.StreamWriter) -> None:
        """What was passed on is sent first, unless all is over."""
        if self._resets:
            _break(end)
        elif self._stops:
            end.transport.abort()
        else:
            end.close()

    async def _pass_on(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        while chunk := await source.read(CHUNK_BYTES):
            if self._delay_seconds:
                self.touched += 1
                await asyncio.sleep(self._delay_seconds)
            await self._passed()
            cut = is_answer and self._cuts
            self.touched += cut
            sink.write(chunk[: len(chunk) // 2] if cut else chunk)
            await sink.drain()
            if cut:
                await _closed(sink)
                raise ConnectionAbortedError("cut")
        await self._passed()
        if sink.can_write_eof():
            sink.write_eof()

    async def _passed(self) -> None:
        """When nothing is swallowed any more."""
        self.touched += not self._passing.is_set()
        await self._passing.wait()


async def _closed(end: asyncio.StreamWriter) -> None:
    """What was written is sent first."""
    end.close()
    with contextlib.suppress(OSError):
        await end.wait_closed()


def _break(end: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    if (raw := end.get_extra_info("socket")) is not None and raw.fileno() >= 0:
        raw.setsockopt(SOL_SOCKET, SO_LINGER, _AT_ONCE)
    end.transport.abort()


@contextmanager
def bad_network(target: int, port: int = 0) -> Iterator[BadNetwork]:
    """A line to `target` that is well until it is told otherwise."""
    line = BadNetwork(target, port)
    line.start()
    try:
        yield line
    finally:
        line.stop()
