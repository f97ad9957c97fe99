"""A server whose answers are known beforehand, and which writes down what it did: a process of its own.

`/delay/<seconds>` answers that much later, `/fail` with 500; `/stall/<seconds>` stops the whole process for so long, so
that nobody is answered or even taken in. `/record` tells, in Unix seconds, when each delayed request came and was
answered, and when each stall began and ended; `/asked`, how many delayed requests that are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import multiprocessing
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.http_client import KeepAlive, render_request
from benchmarks.ports import free_port
from benchmarks.report import BenchmarkError

START_SECONDS = 20.0
_CONTEXT = multiprocessing.get_context("spawn")


@contextmanager
def known_server() -> Iterator[int]:
    """The port of a running one."""
    port = free_port()
    process = _CONTEXT.Process(target=_serve, args=(port,), daemon=True)
    process.start()
    try:
        _wait_for(port)
        yield port
    finally:
        process.kill()
        process.join()


def recorded(port: int) -> dict[str, list[list[float]]]:
    """`delays` and `stalls` since this was last asked, each a pair of moments."""
    with KeepAlive(port) as client:
        record: dict[str, list[list[float]]] = json.loads(
            client.send(render_request("localhost", "GET", "/record")).body
        )
    return record


def asked(port: int) -> int:
    """How many delayed requests were answered since `recorded` was last asked."""
    with KeepAlive(port) as client:
        return int(client.send(render_request("localhost", "GET", "/asked")).body)


def stall(port: int, seconds: float) -> None:
    """Have it stop for so long, now; comes back when it goes on."""
    with KeepAlive(port, timeout=seconds + 10) as client:
        client.send(render_request("localhost", "GET", f"/stall/{seconds}"))


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise BenchmarkError("the server that proves the harness did not start")


def _serve(port: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    done: dict[str, list[tuple[float, float]]] = {"delays": [], "stalls": []}

    async def answer_one(path: str) -> tuple[int, Any]:
        _, verb, *rest = path.split("/")
        came = time.time()
        if verb == "record":
            told = {name: list(pairs) for name, pairs in done.items()}
            for pairs in done.values():
                pairs.clear()
            return 200, told
        if verb == "asked":
            return 200, len(done["delays"])
        if verb == "fail":
            return 500, {}
        if verb == "stall":
            time.sleep(float(rest[0]))
            done["stalls"].append((came, time.time()))
            return 200, {}
        await asyncio.sleep(float(rest[0]))
        done["delays"].append((came, time.time()))
        return 200, {"delay": rest[0]}

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                status, document = await answer_one(head.split(b" ", 2)[1].decode())
                body = json.dumps(document).encode()
                writer.write(b"HTTP/1.1 %d -\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
                await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", port, backlog=1024)
        await server.serve_forever()

    asyncio.run(run())
